#include "ops/linear.h"

#include <algorithm>
#include <vector>

#include "ops/pack.h"

namespace bertpass::native {
namespace {

// Bytes of activations that one task reads again for each panel: with a panel they fit in a second-level cache of 1 MiB
// (AMD Zen 2 to 5 have 0.5 to 1 MiB, Intel's servers 1 to 2 MiB).
constexpr Index kActivationBytes = 512 * 1024;

// Bytes of one number for each column or each element of the depth.
Index vector_bytes(Index count) { return round_up(count, kPanel) * static_cast<Index>(sizeof(float)); }

void (*gemm_of(const Kernels& kernels, Type type))(const Gemm&) {
  switch (type) {
    case Type::float32: return kernels.gemm_f32;
    case Type::bfloat16: return kernels.gemm_bf16;
    case Type::int8: break;
  }
  return kernels.gemm_i8;
}

}  // namespace

Linear::Linear(Type type, Index columns, Index depth, const void* packed)
    : type_(type), columns_(columns), depth_(depth), bias_(static_cast<const float*>(packed)) {
  const char* next = static_cast<const char*>(packed) + vector_bytes(columns);
  if (type == Type::int8) {
    scales_ = reinterpret_cast<const float*>(next);
    sums_ = reinterpret_cast<const std::int32_t*>(next + vector_bytes(columns));
    factors_ = reinterpret_cast<const float*>(next + 2 * vector_bytes(columns));
    next += 2 * vector_bytes(columns) + vector_bytes(depth);
  }
  panels_ = next;
}

Index Linear::bytes(Type type, Index columns, Index depth) {
  const Index vectors = type == Type::int8 ? 3 * vector_bytes(columns) + vector_bytes(depth) : vector_bytes(columns);
  return vectors + round_up(packed_size(depth, columns, type) * size_of(type), kLine);
}

void Linear::pack(Type type, const float* weight, const float* bias, Index columns, Index depth, void* out,
                  const float* factors) {
  const Linear made(type, columns, depth, out);
  float* biases = static_cast<float*>(out);
  std::fill(biases, biases + round_up(columns, kPanel), 0.0f);
  if (bias) std::copy(bias, bias + columns, biases);
  void* panels = const_cast<void*>(made.panels_);  // within `out`, as the other parts are
  switch (type) {
    case Type::float32: return native::pack(weight, 1, depth, depth, columns, static_cast<float*>(panels));
    case Type::bfloat16: return native::pack(weight, 1, depth, depth, columns, static_cast<bf16*>(panels));
    case Type::int8: break;
  }
  std::vector<float> divided(weight, weight + columns * depth);
  float* const kept = const_cast<float*>(made.factors_);
  std::fill(kept, kept + round_up(depth, kPanel), 1.0f);
  for (Index k = 0; factors && k < depth; ++k) {
    kept[k] = factors[k];
    for (Index j = 0; j < columns; ++j) divided[j * depth + k] /= factors[k];
  }
  native::pack(divided.data(), 1, depth, depth, columns, static_cast<std::int8_t*>(panels),
               const_cast<float*>(made.scales_), const_cast<std::int32_t*>(made.sums_));
}

void Linear::apply(const Kernels& kernels, const Team& team, const Rows& a, Index rows, Activation activation,
                   const Rows& residual, const Rows& out) const {
  const Index panels = (columns_ + kPanel - 1) / kPanel;
  const Index panel_bytes = packed_size(depth_, kPanel, type_) * size_of(type_);
  const Index fitting = kActivationBytes / (depth_ * size_of(type_)) / kernels.tile * kernels.tile;
  const Index block = std::max(fitting, 4 * kernels.tile), blocks = (rows + block - 1) / block;
  const double work = static_cast<double>(rows) * static_cast<double>(columns_) * static_cast<double>(depth_);
  const auto gemm = gemm_of(kernels, type_);
  team.loop(blocks * panels, work, [&](Index task, int) {
    const Index row = task / panels * block, number = task % panels, column = number * kPanel;
    Gemm g{};
    g.a = a.row(row);
    g.a_stride = a.stride;
    g.panels = static_cast<const char*>(panels_) + number * panel_bytes;
    g.rows = std::min(block, rows - row);
    g.columns = std::min(kPanel, columns_ - column);
    g.depth = depth_;
    g.bias = bias_ + column;
    if (type_ == Type::int8) {
      g.row_scales = a.scales + row;
      g.column_scales = scales_ + column;
      g.column_sums = sums_ + column;
    }
    g.residual = residual.data ? residual.floats(row) + column : nullptr;
    g.residual_stride = residual.stride;
    g.activation = activation;
    g.out = out.at(row, column);
    g.out_stride = out.stride;
    g.out_is_bf16 = out.type == Type::bfloat16;
    gemm(g);
  });
}

}  // namespace bertpass::native

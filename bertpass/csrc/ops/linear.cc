#include "ops/linear.h"

#include <algorithm>
#include <vector>

#include "ops/pack.h"

namespace bertpass::native {
namespace {

constexpr Index kMostRows = 512;  // that a task takes at once: kBandRows of the tiles
// Bytes of rows that are worth reading again from beyond the second level: with one of 512 KiB, blocks of 128, 256 and
// 512 KiB took equally long.
constexpr Index kLeastReread = 512 * 1024;
// From so many rows for each thread on, threads share the rows and not the columns: what one writes stays in its cache.
// By columns below, or each thread would read all weights for few rows. At 192 rows a thread both took equally long.
constexpr Index kLeastRows = 160;
// Parts of the columns for each thread: a thread that is held up leaves the last one to another. One or three:
// 2 % slower.
constexpr Index kParts = 2;
// The same where they share rows: a thread that is done takes columns of another's rows. One: 2 % slower at (1, 384) on
// cores whose speeds differ.
constexpr Index kShares = 4;

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

Linear::Linear(Type type, Index columns, Index depth, const void* packed, bool gated)
    : type_(type), gated_(gated), columns_(columns), depth_(depth), bias_(static_cast<const float*>(packed)) {
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

const char* Linear::panel(Index number) const {
  return static_cast<const char*>(panels_) + number * packed_size(depth_, kPanel, type_) * size_of(type_);
}

Index Linear::rows_at_once(const Kernels& kernels) const {
  const auto share = static_cast<Index>(kernels.reread * static_cast<double>(kernels.caches.second));
  const Index most = std::min(std::max(share, kLeastReread) / (depth_ * size_of(type_)), kMostRows);
  return std::max(most / kernels.tile, Index{4}) * kernels.tile;
}

Gemm Linear::gemm(const Kernels& kernels, Index first, Index last) const {
  const Index column = first * kPanel;
  Gemm g{};
  g.caches = kernels.caches;
  g.panels = panel(first);
  g.columns = std::min(last * kPanel, columns_) - column;
  g.depth = depth_;
  g.bias = bias_ + column;
  if (type_ == Type::int8) {
    g.column_scales = scales_ + column;
    g.column_sums = sums_ + column;
  }
  return g;
}

void Linear::apply_panels(const Kernels& kernels, const Rows& a, Index rows, Index first, Index last, const Rows& out,
                          const void* next) const {
  Gemm g = gemm(kernels, first, last);
  g.a_stride = a.stride;
  g.out_stride = out.stride;
  g.out_is_bf16 = out.type == Type::bfloat16;
  const Index most = rows_at_once(kernels);
  for (Index row = 0; row < rows; row += most) {
    g.a = a.row(row);
    g.rows = std::min(most, rows - row);
    g.row_scales = a.scales ? a.scales + row : nullptr;
    g.out = out.row(row);
    g.next = row + most < rows ? panel(first) : next;
    gemm_of(kernels, type_)(g);
  }
}

void Linear::apply(const Kernels& kernels, const Team& team, const Rows& a, Index rows, Activation activation,
                   const Rows& residual, const Rows& out, const Linear* next) const {
  if (rows == 0) return;
  const Index panels = this->panels(), tile = kernels.tile, threads = team.threads(), most = rows_at_once(kernels);
  const bool by_rows = threads > 1 && rows >= threads * kLeastRows;
  const Index wanted = by_rows ? round_up((rows + most - 1) / most, threads) : (rows + most - 1) / most;
  const Index block = round_up((rows + wanted - 1) / wanted, tile), blocks = (rows + block - 1) / block;
  const Index each = threads == 1 ? 1 : std::max<Index>(1, std::min(by_rows ? kShares : kParts, panels / threads));
  const Index ranges = by_rows ? each : std::min(panels, threads * each);
  const double work = static_cast<double>(rows) * static_cast<double>(columns_) * static_cast<double>(depth_);
  team.loop(blocks * ranges, work, [&](Index task, int) {
    const Index row = task / ranges * block, range = task % ranges;
    const Index first = panels * range / ranges, column = first * kPanel;
    Gemm g = gemm(kernels, first, panels * (range + 1) / ranges);
    g.a = a.row(row);
    g.a_stride = a.stride;
    g.rows = std::min(block, rows - row);
    g.row_scales = a.scales ? a.scales + row : nullptr;
    const Linear* const then = row + block < rows && !by_rows ? this : next;
    if (then && (range + 1) % each == 0) g.next = then->start(range / each, by_rows ? 1 : threads);
    g.residual = residual.data ? residual.floats(row) + column : nullptr;
    g.residual_stride = residual.stride;
    g.activation = activation;
    g.gated = gated_;
    g.out = out.at(row, gated_ ? column / 2 : column);
    g.out_stride = out.stride;
    g.out_is_bf16 = out.type == Type::bfloat16;
    gemm_of(kernels, type_)(g);
  });
}

}  // namespace bertpass::native

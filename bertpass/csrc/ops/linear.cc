#include "ops/linear.h"

#include <algorithm>

#include "ops/pack.h"

namespace bertpass::native {
namespace {

// Bytes of activations that one task reads again for each panel: with a panel they fit in a second-level cache of 1 MiB
// (AMD Zen 2 to 5 have 0.5 to 1 MiB, Intel's servers 1 to 2 MiB).
constexpr Index kActivationBytes = 512 * 1024;

}  // namespace

Linear::Linear(const Kernels& kernels, Type type, const float* weight, const float* bias, Index columns, Index depth)
    : kernels_(&kernels),
      type_(type),
      columns_(columns),
      depth_(depth),
      panels_(packed_size(depth, columns, kernels.panel, type) * size_of(type)),
      bias_(columns, 0.0f) {
  if (bias) std::copy(bias, bias + columns, bias_.begin());
  if (type == Type::float32)
    pack(weight, 1, depth, depth, columns, kernels.panel, panels_.as<float>());
  else
    pack(weight, 1, depth, depth, columns, kernels.panel, panels_.as<bf16>());
}

void Linear::apply(const Team& team, const Rows& a, Index rows, Activation activation, const Rows& residual,
                   const Rows& out) const {
  const Index panel = kernels_->panel, tile = kernels_->tile;
  const Index panels = (columns_ + panel - 1) / panel;
  const Index panel_bytes = packed_size(depth_, panel, panel, type_) * size_of(type_);
  const Index fitting = kActivationBytes / (depth_ * size_of(type_)) / tile * tile;
  const Index block = std::max(fitting, 4 * tile), blocks = (rows + block - 1) / block;
  const double work = static_cast<double>(rows) * static_cast<double>(columns_) * static_cast<double>(depth_);
  team.loop(blocks * panels, work, [&](Index task, int) {
    const Index row = task / panels * block, number = task % panels, column = number * panel;
    Gemm g{};
    g.a = a.row(row);
    g.a_stride = a.stride;
    g.panels = panels_.as<char>() + number * panel_bytes;
    g.rows = std::min(block, rows - row);
    g.columns = std::min(panel, columns_ - column);
    g.depth = depth_;
    g.bias = bias_.data() + column;
    g.residual = residual.data ? residual.floats(row) + column : nullptr;
    g.residual_stride = residual.stride;
    g.activation = activation;
    g.out_is_bf16 = out.type == Type::bfloat16;
    g.out = g.out_is_bf16 ? static_cast<void*>(out.halves(row) + column) : static_cast<void*>(out.floats(row) + column);
    g.out_stride = out.stride;
    (type_ == Type::float32 ? kernels_->gemm_f32 : kernels_->gemm_bf16)(g);
  });
}

}  // namespace bertpass::native

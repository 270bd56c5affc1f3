// A dense layer over weights that were packed once.
#pragma once

#include <vector>

#include "ops/rows.h"
#include "ops/team.h"

namespace bertpass::native {

class Linear {
 public:
  Linear() = default;

  // weight: (columns, depth), row after row, as every framework keeps it; bias: (columns) or null. Both are copied.
  Linear(const Kernels& kernels, Type type, const float* weight, const float* bias, Index columns, Index depth);

  // out = activation(a weight^T + bias) + residual. a has the weights' type and `rows` rows; out has either type;
  // residual is float32 or has no data.
  void apply(const Team& team, const Rows& a, Index rows, Activation activation, const Rows& residual,
             const Rows& out) const;

  Index columns() const { return columns_; }
  const float* bias() const { return bias_.data(); }
  Index bytes() const { return panels_.bytes() + static_cast<Index>(bias_.size() * sizeof(float)); }

 private:
  const Kernels* kernels_ = nullptr;
  Type type_ = Type::float32;
  Index columns_ = 0, depth_ = 0;
  Memory panels_;
  std::vector<float> bias_;
};

}  // namespace bertpass::native

#include "ops/norm.h"

#include <algorithm>

namespace bertpass::native {

void Norm::apply(const Kernels& kernels, const Team& team, const Rows& x, Index rows, const Rows& out,
                 const Rows& low) const {
  constexpr Index kBlock = 8;  // rows of a task
  const Index columns = static_cast<Index>(gamma.size());
  // A row takes about as long as 16 multiplications an element in a matrix product.
  team.loop((rows + kBlock - 1) / kBlock, 16.0 * static_cast<double>(rows * columns), [&](Index task, int) {
    for (Index row = task * kBlock; row < std::min(rows, (task + 1) * kBlock); ++row)
      kernels.layer_norm(x.floats(row), gamma.data(), beta.data(), epsilon, columns, out.floats(row),
                         low.data ? low.halves(row) : nullptr);
  });
}

}  // namespace bertpass::native

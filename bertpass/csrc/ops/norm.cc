#include "ops/norm.h"

#include <algorithm>

namespace bertpass::native {
namespace {

// body(row) for every row, a few rows a task. A row takes about as long as 16 multiplications an element in a matrix
// product.
template <class Body>
void each_row(const Team& team, Index rows, Index columns, const Body& body) {
  constexpr Index kBlock = 8;
  team.loop((rows + kBlock - 1) / kBlock, 16.0 * static_cast<double>(rows * columns), [&](Index task, int) {
    for (Index row = task * kBlock; row < std::min(rows, (task + 1) * kBlock); ++row) body(row);
  });
}

}  // namespace

void Norm::apply(const Kernels& kernels, const Rows& x, Index row, const Rows& out, const Rows& low) const {
  const bool halves = low.data && low.type == Type::bfloat16, bytes = low.data && low.type == Type::int8;
  kernels.layer_norm(x.floats(row), gamma, beta, epsilon, columns, out.floats(row), halves ? low.halves(row) : nullptr);
  if (bytes) low.scales[row] = kernels.quantize(out.floats(row), low.factors, columns, low.bytes(row));
}

void Norm::apply(const Kernels& kernels, const Team& team, const Rows& x, Index rows, const Rows& out,
                 const Rows& low) const {
  each_row(team, rows, columns, [&](Index row) { apply(kernels, x, row, out, low); });
}

void quantize(const Kernels& kernels, const Team& team, const Rows& x, Index rows, Index columns, const Rows& out) {
  each_row(team, rows, columns, [&](Index row) {
    out.scales[row] = x.type == Type::bfloat16
                          ? kernels.quantize_bf16(x.halves(row), out.factors, columns, out.bytes(row))
                          : kernels.quantize(x.floats(row), out.factors, columns, out.bytes(row));
  });
}

}  // namespace bertpass::native

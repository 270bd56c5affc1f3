// A dense layer over weights that were packed once.
#pragma once

#include "ops/rows.h"
#include "ops/team.h"

namespace bertpass::native {

// What a product reads: the type of its rows and, for int8, what their columns are multiplied by before they are
// rounded.
struct Reads {
  Type type = Type::float32;
  const float* factors = nullptr;
};

// A view: the memory is of somebody else. In memory the parts follow each other, each on a cache line: bias, for int8
// the scales and the sums of the columns and the factors of the depth, panels (see kernels.h). A gated one gives half as
// many columns as it has.
class Linear {
 public:
  Linear() = default;
  // Of weights that pack() has written to `packed`.
  Linear(Type type, Index columns, Index depth, const void* packed, bool gated = false);

  // Bytes of the packed weights, whole cache lines.
  static Index bytes(Type type, Index columns, Index depth);
  // weight: (columns, depth), row after row, as every framework keeps it; bias: (columns) or null. factors: (depth),
  // what int8 multiplies a's columns by and divides the weights' by, or null for ones; more than zero.
  static void pack(Type type, const float* weight, const float* bias, Index columns, Index depth, void* out,
                   const float* factors = nullptr);

  // out = activation(a weight^T + bias) + residual. a is as reads() says and has `rows` rows; out is float32 or
  // bfloat16; residual is float32 or has no data, and may be out. next: the layer that is applied after this one, whose
  // first weights are fetched towards the end.
  void apply(const Kernels& kernels, const Team& team, const Rows& a, Index rows, Activation activation,
             const Rows& residual, const Rows& out, const Linear* next = nullptr) const;

  // The same in the calling thread for the panels first to last - 1, whose columns begin at column 0 of out.
  void apply_panels(const Kernels& kernels, const Rows& a, Index rows, Index first, Index last, const Rows& out,
                    const void* next) const;
  // What a thread reads first of the weights where `threads` share the columns.
  const void* start(Index thread, Index threads) const { return panel(panels() * thread / threads); }

  const float* bias() const { return bias_; }
  Reads reads() const { return {type_, factors_}; }

 private:
  Index panels() const { return (columns_ + kPanel - 1) / kPanel; }
  const char* panel(Index number) const;
  Index rows_at_once(const Kernels& kernels) const;
  // For the panels first to last - 1: all but what depends on the rows.
  Gemm gemm(const Kernels& kernels, Index first, Index last) const;

  Type type_ = Type::float32;
  bool gated_ = false;
  Index columns_ = 0, depth_ = 0;
  const float* bias_ = nullptr;
  const float* scales_ = nullptr;
  const std::int32_t* sums_ = nullptr;
  const float* factors_ = nullptr;
  const void* panels_ = nullptr;
};

}  // namespace bertpass::native

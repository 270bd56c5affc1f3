// Layer normalisation, and the embedding lookup that ends in one.
#pragma once

#include <vector>

#include "ops/rows.h"
#include "ops/team.h"

namespace bertpass::native {

struct Norm {
  std::vector<float> gamma, beta;
  float epsilon = 0;

  // out = norm(x) for float32 rows; low gets the same in bfloat16 where it has data.
  void apply(const Kernels& kernels, const Team& team, const Rows& x, Index rows, const Rows& out,
             const Rows& low) const;
};

// Embedding tables of float32, row after row.
struct Tables {
  std::vector<float> words, positions, types;  // types is empty where the model has none
  Index units = 0;

  // One token: word + position (+ token type); out is a row of `units`.
  void sum(const Kernels& kernels, Index word, Index position, Index type, float* out) const {
    kernels.add(words.data() + word * units, positions.data() + position * units,
                types.empty() ? nullptr : types.data() + type * units, units, out);
  }
};

}  // namespace bertpass::native

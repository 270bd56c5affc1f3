// What is done to one row after another: layer normalisation, quantisation, and the embedding lookup.
#pragma once

#include <algorithm>

#include "ops/rows.h"
#include "ops/team.h"

namespace bertpass::native {

// A view of gamma and beta.
struct Norm {
  const float *gamma = nullptr, *beta = nullptr;
  Index columns = 0;
  float epsilon = 0;

  // out = norm(x) for float32 rows; low gets the same in bfloat16 or in bytes where it has data.
  void apply(const Kernels& kernels, const Team& team, const Rows& x, Index rows, const Rows& out,
             const Rows& low) const;
  // The same for one row.
  void apply(const Kernels& kernels, const Rows& x, Index row, const Rows& out, const Rows& low) const;
};

// Rows of float32 or bfloat16 in bytes, with their scales.
void quantize(const Kernels& kernels, const Team& team, const Rows& x, Index rows, Index columns, const Rows& out);

// Embedding tables of float32, row after row; views.
struct Tables {
  const float *words = nullptr, *positions = nullptr, *types = nullptr;  // the last two: null where there are none
  Index units = 0;

  // Have a word's row fetched: which comes next, no processor can guess.
  void fetch(Index word) const {
    for (Index i = 0; i < units; i += kLine / 4) __builtin_prefetch(words + word * units + i);
  }

  // One token: word (+ position) (+ token type); out is a row of `units`.
  void sum(const Kernels& kernels, Index word, Index position, Index type, float* out) const {
    const float *of_word = words + word * units, *of_type = types ? types + type * units : nullptr;
    if (positions)
      kernels.add(of_word, positions + position * units, of_type, units, out);
    else if (of_type)
      kernels.add(of_word, of_type, nullptr, units, out);
    else
      std::copy_n(of_word, units, out);
  }
};

}  // namespace bertpass::native

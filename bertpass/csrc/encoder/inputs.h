// A batch as a caller gives it, and what must hold of it.
#pragma once

#include <stdexcept>

#include "encoder/ragged.h"

namespace bertpass::native {

// Inputs that the model cannot compute; the text is a sentence.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Padded to one length.
struct Inputs {
  const std::int32_t* ids = nullptr;      // (sequences, length)
  const std::int32_t* types = nullptr;    // the same, or null
  const std::int32_t* lengths = nullptr;  // (sequences)
  Index sequences = 0, length = 0;

  void lay(Ragged& ragged) const { ragged.set(lengths, sequences, length); }
};

// One row after the other.
struct RowInputs {
  const std::int32_t* ids = nullptr;      // (tokens)
  const std::int32_t* types = nullptr;    // the same, or null
  const std::int64_t* offsets = nullptr;  // (sequences + 1): where each sequence begins, and the end of the last one
  Index sequences = 0, tokens = 0;
  const std::int64_t* keys = nullptr;     // (sequences): how many of its first tokens are attended to; null: all

  void lay(Ragged& ragged) const { ragged.set(offsets, sequences, keys); }
};

// What a model has room for.
struct Limits {
  Index vocabulary = 0, token_types = 0, positions = 0;
  Index least_length = 1;  // tokens of a sequence
  Index window = 0;        // how far a token attends, in the layer with the least of it; 0: to all
};

// Throws InputError where a token within a sequence's length has an id or a type that the tables do not hold, or a
// length is out of range. What lies past the lengths may be anything.
void check(const Inputs& inputs, const Limits& limits);
// The same, and where the offsets do not cut the tokens into sequences.
void check(const RowInputs& inputs, const Limits& limits);

}  // namespace bertpass::native

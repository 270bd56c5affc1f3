#include "encoder/inputs.h"

#include <string>

namespace bertpass::native {
namespace {

void require(const char* what, std::int64_t value, Index low, Index high) {
  if (value < low || value > high)
    throw InputError(std::string(what) + " must be from " + std::to_string(low) + " to " + std::to_string(high) +
                     ", not " + std::to_string(value) + ".");
}

void require_positions(Index length, const Limits& limits) {
  if (length > limits.positions)
    throw InputError("a sequence of " + std::to_string(length) + " tokens is longer than the model's " +
                     std::to_string(limits.positions) + " positions.");
}

// Tokens first to last - 1 of the arrays.
void require_tokens(const std::int32_t* ids, const std::int32_t* types, Index first, Index last, const Limits& limits) {
  for (Index at = first; at < last; ++at) {
    require("input_ids", ids[at], 0, limits.vocabulary - 1);
    if (types && limits.token_types) require("token_types", types[at], 0, limits.token_types - 1);
  }
}

}  // namespace

void check(const Inputs& inputs, const Limits& limits) {
  require_positions(inputs.length, limits);
  for (Index s = 0; s < inputs.sequences; ++s) {
    require("valid_length", inputs.lengths[s], limits.least_length, inputs.length);
    const Index first = s * inputs.length;
    require_tokens(inputs.ids, inputs.types, first, first + inputs.lengths[s], limits);
  }
}

void check(const RowInputs& inputs, const Limits& limits) {
  const std::int64_t* offsets = inputs.offsets;
  if (inputs.sequences < 1) throw InputError("a batch has at least one row.");
  if (offsets[0] != 0) throw InputError("offsets must begin with 0, not " + std::to_string(offsets[0]) + ".");
  for (Index s = 0; s < inputs.sequences; ++s) {
    const std::int64_t first = offsets[s], end = offsets[s + 1];
    // Written so that nothing overflows: all before are from 0 to the number of tokens.
    if (end > inputs.tokens || end < first + limits.least_length)
      throw InputError("offsets must rise by at least " + std::to_string(limits.least_length) +
                       " token per row, up to the number of tokens, " + std::to_string(inputs.tokens) + "; after " +
                       std::to_string(first) + " comes " + std::to_string(end) + ".");
    require_positions(end - first, limits);
    if (!inputs.keys) continue;
    require("the tokens that are attended to", inputs.keys[s], 1, end - first);
    if (limits.window && inputs.keys[s] < end - first && end - first > limits.window + 1)
      throw InputError("in this model a token attends to " + std::to_string(limits.window) +
                       " others on either side, so a row of which a part is attended to has at most " +
                       std::to_string(limits.window + 1) + " tokens, not " + std::to_string(end - first) + ".");
  }
  if (offsets[inputs.sequences] != inputs.tokens)
    throw InputError("offsets must end with the number of tokens, " + std::to_string(inputs.tokens) + ", not " +
                     std::to_string(offsets[inputs.sequences]) + ".");
  require_tokens(inputs.ids, inputs.types, 0, inputs.tokens, limits);
}

}  // namespace bertpass::native

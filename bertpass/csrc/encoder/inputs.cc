#include "encoder/inputs.h"

#include <string>

namespace bertpass::native {
namespace {

void require(const char* what, std::int32_t value, Index low, Index high) {
  if (value < low || value > high)
    throw InputError(std::string(what) + " must be from " + std::to_string(low) + " to " + std::to_string(high) +
                     ", not " + std::to_string(value) + ".");
}

}  // namespace

void check(const Inputs& inputs, const Limits& limits) {
  if (inputs.length > limits.positions)
    throw InputError("a sequence of " + std::to_string(inputs.length) + " tokens is longer than the model's " +
                     std::to_string(limits.positions) + " positions.");
  for (Index s = 0; s < inputs.sequences; ++s) {
    require("valid_length", inputs.lengths[s], limits.least_length, inputs.length);
    const Index first = s * inputs.length;
    for (Index at = first; at < first + inputs.lengths[s]; ++at) {
      require("input_ids", inputs.ids[at], 0, limits.vocabulary - 1);
      if (inputs.types && limits.token_types) require("token_types", inputs.types[at], 0, limits.token_types - 1);
    }
  }
}

}  // namespace bertpass::native

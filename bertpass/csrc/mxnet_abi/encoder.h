// The operator bertpass_encoder (passes/encoder_operator.h) on the arrays that MXNet hands over.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace bertpass::abi {

using Attributes = std::map<std::string, std::string>;

// Computes one call. `shapes`, `data` and `types` (mshadow's type flags) are those of the inputs; `out` is (batch,
// length, units) float32. Safe in several threads at once. Throws std::exception with a sentence for ids or lengths that
// are out of range and for packed weights of another version.
void compute_encoder(const Attributes& attributes, const std::int64_t* const* shapes, void* const* data,
                     const int* types, float* out);

}  // namespace bertpass::abi

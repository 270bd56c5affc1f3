// The weights of bertpass_encoder in the form for GPUs: a header, then the tensors that the CUDA engine takes, float32,
// one after the other in the order of encoder_tensors().
//
// The header holds a fingerprint of all that follows. By it the operator knows, from a few bytes, whether the weights in
// a call are those that it has loaded: an address does not say it, because memory is used again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "passes/encoder_match.h"
#include "passes/encoder_operator.h"

namespace bertpass {

inline constexpr std::int64_t kHeaderFloats = 16;

struct EncoderTensor {
  std::string name;  // of bertpass/model/parameters.py, as the CUDA engine knows it
  std::int64_t size = 0;
};

// Those of an operator of the unpacked form.
std::vector<EncoderTensor> encoder_tensors(const EncoderOperator& op);

// Of header and tensors.
std::int64_t unpacked_floats(const EncoderOperator& op);

// Writes unpacked_floats(op) floats.
void write_unpacked(const EncoderOperator& op, const EncoderMatch& match, float* out);

// What the header says; PassError where it is none.
std::uint64_t fingerprint_of(const float* header);

// Throws PassError unless the weights are whole: as many as the operator says, and those of which the header has the
// fingerprint.
void check_unpacked(const EncoderOperator& op, const float* weights);

}  // namespace bertpass

// The operator that native_encoder puts into a graph and the library for MXNet computes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/attributes.h"

namespace bertpass {

inline constexpr const char* kEncoderOperator = "bertpass_encoder";

// One node of it: ids in, the states of all tokens out. Its inputs, those of token types only where token_types > 0:
//
//   input_ids, token_types (batch, length); valid_length (batch): numbers of any kind
//   words (vocabulary, units), positions (positions, units), types (token_types, units), gamma and beta (units)
//     of the embeddings; packed (packed): float32. The last is what encoder/packed.h writes.
//
// Its output: float32 (batch, length, units), zero past the valid length.
struct EncoderOperator {
  std::int64_t units = 0, vocabulary = 0, positions = 0, token_types = 0;
  std::int64_t packed = 0;  // floats, of which four bytes each count and not the value
  std::string epsilon;      // of the embeddings' normalisation
  std::int64_t threads = 0;  // 0: OMP_NUM_THREADS, else what the process may use

  // From a node's attributes; PassError where one is missing or out of range. Others are ignored: they are for people.
  static EncoderOperator read(const std::map<std::string, std::string>& attributes);

  std::map<std::string, std::string> attributes() const;

  // Inputs before the parameters: ids, types, valid length.
  int data_inputs() const { return token_types ? 3 : 2; }
  int inputs() const { return token_types ? 9 : 7; }

  // Shapes of the parameters, in the order of the inputs after data_inputs().
  std::vector<Shape> parameter_shapes() const;
};

}  // namespace bertpass

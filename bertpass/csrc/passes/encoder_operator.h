// The operator that native_encoder puts into a graph and the library for MXNet computes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "graph/attributes.h"
#include "schema/config.h"

namespace bertpass {

inline constexpr const char* kEncoderOperator = "bertpass_encoder";

// How the weights are held: as the CPU engine reads them (encoder/packed.h), or as the CUDA engine takes them
// (encoder_weights.h).
enum class EncoderForm { packed, unpacked };

// One node of it: ids in, the states of all tokens out. Its inputs, those of token types only where token_types > 0:
//
//   input_ids, token_types (batch, length); valid_length (batch): numbers of any kind
//   packed form: words (vocabulary, units), positions (positions, units), types (token_types, units), gamma and beta
//     (units) of the embeddings, packed (floats): float32
//   unpacked form: weights (floats): float32; the embeddings are in it
//
// Its output: float32 (batch, length, units), zero past the valid length.
struct EncoderOperator {
  EncoderForm form = EncoderForm::packed;
  std::int64_t units = 0, vocabulary = 0, positions = 0, token_types = 0;
  std::int64_t packed = 0;     // floats of the last parameter, of which the packed form uses the bytes and not the value
  std::string epsilon;         // of the normalisation
  std::int64_t threads = 0;    // of the packed form; 0: OMP_NUM_THREADS, else what the process may use
  std::int64_t layers = 0, hidden = 0, heads = 0;  // of the packed form for people, who find them in the graph
  std::string activation, dtype;                   // the same: "gelu", "gelu_tanh", "relu"; "float32", ...

  // From a node's attributes; PassError where one that the form needs is missing or out of range. Others are ignored.
  static EncoderOperator read(const std::map<std::string, std::string>& attributes);

  std::map<std::string, std::string> attributes() const;

  // Of the unpacked form: the network that the weights are of.
  native::ModelConfig config() const;

  // Inputs before the parameters: ids, types, valid length.
  int data_inputs() const { return token_types ? 3 : 2; }
  int inputs() const { return data_inputs() + static_cast<int>(parameter_shapes().size()); }

  // Shapes of the parameters, in the order of the inputs after data_inputs().
  std::vector<Shape> parameter_shapes() const;
};

}  // namespace bertpass

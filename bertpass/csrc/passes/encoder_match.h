// Whole encoders in an exported graph, found by structure: what GluonNLP's BERTEncoder and its embeddings export.
//
//   x = LayerNorm(T + expand_dims(Embedding(arange_like(T)))),  T = transpose(Embedding(ids) [+ Embedding(types)])
//   each layer:
//     y = LayerNorm(x + FullyConnected(valatt(p, softmax(qk(p), lengths)))),  p = FullyConnected(x)
//     x = LayerNorm(y + FullyConnected(activation(FullyConnected(y))))
//   transpose(SequenceMask(x, valid_length))
//
// with lengths the valid length of every query of every head, interleaved weights of p that are still joined in the
// graph or already folded (see interleave_qkv), activation GELU, GELU by tanh or ReLU, and nodes that do nothing at
// inference anywhere between. Everything from the embeddings' sum to the mask must serve nothing else.
#pragma once

#include <list>
#include <optional>
#include <string>
#include <vector>

#include "encoder/packed.h"
#include "graph/match.h"
#include "passes/parameters.h"

namespace bertpass {

struct EncoderMatch {
  Entry ids, valid_length;
  std::optional<Entry> types;
  std::vector<Entry> parameters;     // words, positions, types where there are any, gamma, beta of the embeddings,
  std::vector<const float*> tables;  // and their values, in the memory of the parameters or in `converted`
  Number number = Number::float32;   // of all parameters, and so of the states
  std::int64_t vocabulary = 0, positions = 0, token_types = 0;
  std::string epsilon;                        // as the graph writes it
  native::LayersShape shape;                  // all but its types
  std::vector<native::LayerWeights> weights;  // in the memory of the parameters or in `converted`
  std::list<std::vector<float>> converted;    // from float16; weights of query, key and value, taken apart
};

// The encoder that ends in node `output`, a transpose; nothing where there is none or it is not sure. All its parameters
// are float32, or with `half` all of them may be float16.
std::optional<EncoderMatch> match_encoder(const Graph& graph, const Uses& uses, const Parameters& parameters,
                                          std::size_t output, bool half);

}  // namespace bertpass

// What each kind of head is made of. The same table for Python is bertpass/model/heads.py; a test compares the two.
#pragma once

#include <string>
#include <vector>

#include "schema/config.h"

namespace bertpass::native {

// NAME.weight (outputs, inputs) and NAME.bias (outputs), float32, then an activation function.
struct DenseLayer {
  std::string name;
  Index outputs, inputs;
  Activation activation;
};

// Which states the layers are computed from: every token's, the first one's, the mean over the tokens.
enum class Takes { nothing, tokens, first, mean };

struct Output {
  bool per_token;  // else per sequence
  Index width;
};

struct HeadLayout {
  bool states = false;             // the token states are an output, the first one
  Takes takes = Takes::nothing;    // of the other output, where there is one
  std::vector<DenseLayer> layers = {};  // each on the results of the one before
  bool normalize = false;          // what they are computed from, to Euclidean length 1
  std::vector<Output> outputs = {};     // in the order of bertpass/model/config.py
};

HeadLayout head_layout(const ModelConfig& config);

// Of the outputs for a batch padded to `length`.
std::vector<std::vector<Index>> output_shapes(const std::vector<Output>& outputs, Index sequences, Index length);

}  // namespace bertpass::native

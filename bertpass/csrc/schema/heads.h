// What each kind of head is made of. The same table for Python is bertpass/model/heads.py; a test compares the two.
#pragma once

#include <string>
#include <vector>

#include "schema/config.h"

namespace bertpass::native {

// NAME.weight (outputs, inputs) and NAME.bias (outputs), float32, then an activation function, then a normalisation; a
// bare one has neither that bias nor the normalisation's beta.
struct DenseLayer {
  std::string name;
  Index outputs, inputs;
  Activation activation;
  std::string norm = {};   // NORM.gamma and NORM.beta (outputs); empty: none
  std::string table = {};  // an array of the embeddings in place of NAME.weight; empty: none
  bool bare = false;
  std::string weight() const { return table.empty() ? name + ".weight" : table; }
};

// Which states the layers are computed from: every token's, the first one's, the mean over the tokens.
enum class Takes { nothing, tokens, first, mean };

// What becomes of the results of a sequence's tokens: nothing, their largest, their sum.
enum class Over { nothing, max, sum };

struct Output {
  bool per_token;  // else per sequence
  Index width;
};

struct HeadLayout {
  bool states = false;             // the token states are an output, the first one
  Takes takes = Takes::nothing;    // of the other output, where there is one
  std::vector<DenseLayer> layers = {};  // each on the results of the one before
  bool normalize = false;          // what they are computed from, to Euclidean length 1
  // Where results of tokens become a vector per sequence, it is over log(1 + max(x, 0)), with so many logarithms.
  Over over = Over::nothing;
  int logs = 0;
  std::vector<Output> outputs = {};     // in the order of bertpass/model/config.py
};

HeadLayout head_layout(const ModelConfig& config);

// Of the outputs for a batch padded to `length`.
std::vector<std::vector<Index>> output_shapes(const std::vector<Output>& outputs, Index sequences, Index length);

}  // namespace bertpass::native

// From packed token states to a model's outputs. Heads are computed in float32 whatever the encoder's precision is.
#pragma once

#include <vector>

#include "model/weights.h"

namespace bertpass::native {

class Head {
 public:
  Head(const Weights& weights, const Kernels& kernels, const ModelConfig& config);

  struct Output {
    bool per_token;  // else per sequence
    Index width;
  };
  // In the order of bertpass/model/config.py.
  std::vector<Output> outputs() const;

  // states: (tokens, units) float32. Every element of the outputs is written. Of padded ones past a sequence's end
  // token states are zero, and logits of tokens are what they are for zero states, as the exported graph has them: the
  // bias.
  // scratch is the caller's and only grows.
  void forward(const Team& team, const Rows& states, const Ragged& ragged, float* const* outputs,
               Memory& scratch) const;

 private:
  // Logits of every token: answers, tags.
  void write_tokens(const Team& team, const Rows& states, const Ragged& ragged, float* out, Memory& scratch) const;
  void write_vectors(const Team& team, const Rows& states, const Ragged& ragged, float* out) const;
  void write_first(const Team& team, const Rows& states, const Ragged& ragged, float* out, Memory& scratch) const;

  const Kernels* kernels_;
  HeadKind kind_;
  Pooling pooling_;
  bool normalize_;
  Index units_, labels_;
  Memory first_memory_, last_memory_;
  Linear first_layer_;  // of the pooler, or of a classifier of two layers
  Activation first_activation_ = Activation::tanh;
  Linear last_layer_;
};

}  // namespace bertpass::native

// From packed token states to a model's outputs. Heads are computed in float32 whatever the encoder's precision is.
#pragma once

#include <vector>

#include "model/weights.h"

namespace bertpass::native {

class Head {
 public:
  Head(const Weights& weights, const Kernels& kernels, const ModelConfig& config);

  const std::vector<Output>& outputs() const { return layout_.outputs; }

  // states: (tokens, units) float32. Every element of the outputs is written. Of padded ones past a sequence's end
  // token states are zero, and results of tokens are what they are for zero states, as the exported graph has them: of
  // one layer the bias.
  // scratch is the caller's and only grows.
  void forward(const Team& team, const Rows& states, const Ragged& ragged, float* const* outputs,
               Memory& scratch) const;

 private:
  // All layers but the last on `count` rows; gives where the results are. between: of between_bytes(count).
  Rows inside(const Team& team, const Rows& rows, Index count, float* between) const;
  // All layers; out: (count, width of the last layer).
  void through(const Team& team, const Rows& rows, Index count, float* out, float* between) const;
  Index between_bytes(Index count) const { return layers_.size() < 2 ? 0 : 2 * count * stride_ * 4; }
  // Results of every token: answers, tags.
  void write_tokens(const Team& team, const Rows& states, const Ragged& ragged, float* out, Memory& scratch) const;
  // Of each sequence the largest or the sum of its tokens' logarithms, by ranges of columns: no thread has more results
  // at once than kBlock tokens have there.
  void write_over(const Team& team, const Rows& states, const Ragged& ragged, float* out, Memory& scratch) const;
  // Results of every sequence.
  void write_vectors(const Team& team, const Rows& states, const Ragged& ragged, float* out, Memory& scratch) const;

  const Kernels* kernels_;
  Index units_, stride_;  // the stride of rows of the widest layer but the last
  HeadLayout layout_;
  std::vector<Memory> memory_;  // of the layers
  std::vector<Linear> layers_;
  std::vector<Norm> norms_;  // of each layer
  std::vector<float> past_;  // results of a zero state
};

}  // namespace bertpass::native

// A whole model: ids in, outputs of its head out. Safe to call from several threads at once.
#pragma once

#include <string>
#include <vector>

#include "encoder/inputs.h"
#include "model/head.h"
#include "ops/pool.h"

namespace bertpass::native {

class Model {
 public:
  // Packs the weights; tensors without an owner can go afterwards. `plan` as in layer/types.h, kernels
  // as of select_kernels. Throws WeightError, PackedError and PlanError.
  Model(const ModelConfig& config, const Weights& weights, const std::string& plan, int threads,
        const Kernels& kernels);

  // ids and types: (sequences, length); types may be null and are ignored by families that have none. lengths:
  // (sequences), from 1 to length. outputs: float32 memory of output_shapes(). No allocation where no batch was larger
  // in tokens, in sequences or in its longest sequence before. Throws InputError before anything is written.
  // stages, where given, gets the times of this call added; without it no clock is read.
  void forward(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
               Index length, float* const* outputs, Stages* stages = nullptr) const;

  // Rows one after the other. outputs: per token (tokens, width) in the order of the ids, else (sequences, width), as
  // outputs() says. All else as above, and the same bits.
  // keys: (sequences), how many of a row's first tokens are attended to; null: all.
  void rows(const std::int32_t* ids, const std::int32_t* types, const std::int64_t* offsets, Index sequences,
            Index tokens, float* const* outputs, Stages* stages = nullptr, const std::int64_t* keys = nullptr) const;

  // The encoder's token states, (sequences, length, units), whatever the head is; zero past a sequence's end. As
  // forward otherwise.
  void states(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
              Index length, float* out) const;

  const std::vector<Output>& outputs() const { return head_.outputs(); }
  // Of a padded batch.
  std::vector<std::vector<Index>> output_shapes(Index sequences, Index length) const {
    return native::output_shapes(outputs(), sequences, length);
  }

  const char* instruction_set() const { return kernels_.name; }
  int threads() const { return team_.threads(); }
  Index units() const { return config_.units; }

 private:
  // What one forward needs to itself.
  struct Arena {
    Ragged ragged;
    Workspace work;
    Memory head;
  };
  // Check the inputs, compute the token states and give the arena that holds them to `use`, the stage of the head.
  template <class Given, class Use>
  void run(Given given, Stages* stages, const Use& use) const;

  // How far a token attends in the layer where that is least; 0: to all.
  Index least_window() const;

  const Kernels kernels_;
  ModelConfig config_;
  Team team_;
  OwnedEncoder owned_;
  Head head_;
  mutable Pool<Arena> arenas_;
};

}  // namespace bertpass::native

#include "model/model.h"

namespace bertpass::native {

Model::Model(const ModelConfig& config, const Weights& weights, const std::string& plan, int threads,
             const Kernels& kernels)
    : kernels_(kernels),
      config_(config),
      team_(threads),
      owned_(read_encoder(weights, team_, plan, config)),
      head_(weights, kernels_, config) {}

template <class Use>
void Model::run(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                Index length, Stages* stages, const Use& use) const {
  if (config_.family != Family::bert) types = nullptr;
  check({ids, types, lengths, sequences, length}, {config_.vocabulary, config_.token_types, config_.max_length});
  const Pool<Arena>::Lease lease(arenas_);
  Arena& arena = *lease;
  arena.ragged.set(lengths, sequences);
  arena.work.stages = stages;
  if (stages) stages->start();
  owned_.encoder.forward(kernels_, team_, ids, types, length, arena.ragged, arena.work);
  use(arena);
  arena.work.lap(Stage::head);
}

void Model::forward(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                    Index length, float* const* outputs, Stages* stages) const {
  run(ids, types, lengths, sequences, length, stages, [&](Arena& arena) {
    head_.forward(team_, arena.work.stream, arena.ragged, length, outputs, arena.head);
  });
}

void Model::states(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                   Index length, float* out) const {
  run(ids, types, lengths, sequences, length, nullptr,
      [&](Arena& arena) { unpack(team_, arena.work.stream, arena.ragged, length, config_.units, out); });
}

}  // namespace bertpass::native

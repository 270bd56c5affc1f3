#include "model/model.h"

namespace bertpass::native {

Model::Model(const ModelConfig& config, const Weights& weights, const std::string& plan, int threads,
             const Kernels& kernels)
    : kernels_(kernels),
      config_(config),
      team_(threads),
      owned_(read_encoder(weights, kernels_, team_, plan, config)),
      head_(weights, kernels_, config) {}

template <class Given, class Use>
void Model::run(Given given, Stages* stages, const Use& use) const {
  if (!takes_types(config_)) given.types = nullptr;
  check(given, {config_.vocabulary, config_.token_types, config_.max_length});
  const Pool<Arena>::Lease lease(arenas_);
  Arena& arena = *lease;
  given.lay(arena.ragged);
  arena.work.stages = stages;
  if (stages) stages->start();
  owned_.encoder.forward(kernels_, team_, given.ids, given.types, arena.ragged, arena.work);
  use(arena);
  arena.work.lap(Stage::head);
}

void Model::forward(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                    Index length, float* const* outputs, Stages* stages) const {
  run(Inputs{ids, types, lengths, sequences, length}, stages,
      [&](Arena& arena) { head_.forward(team_, arena.work.stream, arena.ragged, outputs, arena.head); });
}

void Model::rows(const std::int32_t* ids, const std::int32_t* types, const std::int64_t* offsets, Index sequences,
                 Index tokens, float* const* outputs, Stages* stages) const {
  run(RowInputs{ids, types, offsets, sequences, tokens}, stages,
      [&](Arena& arena) { head_.forward(team_, arena.work.stream, arena.ragged, outputs, arena.head); });
}

void Model::states(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                   Index length, float* out) const {
  run(Inputs{ids, types, lengths, sequences, length}, nullptr,
      [&](Arena& arena) { unpack(team_, arena.work.stream, arena.ragged, config_.units, out); });
}

}  // namespace bertpass::native

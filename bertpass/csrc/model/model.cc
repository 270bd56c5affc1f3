#include "model/model.h"

namespace bertpass::native {

Model::Model(const ModelConfig& config, const Weights& weights, const std::string& plan, int threads,
             const Kernels& kernels)
    : kernels_(kernels),
      config_(config),
      team_(threads),
      owned_(read_encoder(weights, kernels_, team_, plan, config)),
      head_(weights, kernels_, config) {}

Index Model::least_window() const {
  Index least = 0;
  for (const AttentionForm& form : owned_.encoder.attention)
    if (form.window && (!least || form.window < least)) least = form.window;
  return least;
}

template <class Given, class Use>
void Model::run(Given given, Stages* stages, const Use& use) const {
  if (!takes_types(config_)) given.types = nullptr;
  check(given, {config_.vocabulary, config_.token_types, config_.max_length, 1, least_window()});
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
                 Index tokens, float* const* outputs, Stages* stages, const std::int64_t* keys) const {
  const std::vector<AttentionForm>& forms = owned_.encoder.attention;
  if (keys && !forms.empty() && forms.front().relative)
    throw InputError("a model with embeddings of distances computes no rows of which a part is attended to.");
  run(RowInputs{ids, types, offsets, sequences, tokens, keys}, stages,
      [&](Arena& arena) { head_.forward(team_, arena.work.stream, arena.ragged, outputs, arena.head); });
}

void Model::states(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                   Index length, float* out) const {
  run(Inputs{ids, types, lengths, sequences, length}, nullptr,
      [&](Arena& arena) { unpack(team_, arena.work.stream, arena.ragged, config_.units, out); });
}

}  // namespace bertpass::native

#include "model/model.h"

#include "kernels/select.h"

namespace bertpass::native {

// An arena for the time of one forward: an idle one, or a new one where all are in use.
class Model::Lease {
 public:
  explicit Lease(const Model& model) : model_(model) {
    const std::lock_guard<std::mutex> lock(model_.mutex_);
    if (model_.idle_.empty()) {
      arena_ = std::make_unique<Arena>();
    } else {
      arena_ = std::move(model_.idle_.back());
      model_.idle_.pop_back();
    }
  }

  ~Lease() {
    const std::lock_guard<std::mutex> lock(model_.mutex_);
    model_.idle_.push_back(std::move(arena_));
  }

  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  Arena& operator*() const { return *arena_; }

 private:
  const Model& model_;
  std::unique_ptr<Arena> arena_;
};

Model::Model(const ModelConfig& config, const Weights& weights, Type type, int threads, const std::string& isa)
    : kernels_(select_kernels(isa)),
      config_(config),
      team_(threads),
      owned_(read_encoder(weights, team_, type, config)),
      head_(weights, kernels_, config) {}

template <class Use>
void Model::run(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                Index length, const Use& use) const {
  if (config_.family != Family::bert) types = nullptr;
  check(ids, types, lengths, sequences, length);
  const Lease lease(*this);
  Arena& arena = *lease;
  arena.ragged.set(lengths, sequences);
  owned_.encoder.forward(kernels_, team_, ids, types, length, arena.ragged, arena.work);
  use(arena);
}

void Model::forward(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                    Index length, float* const* outputs) const {
  run(ids, types, lengths, sequences, length, [&](Arena& arena) {
    head_.forward(team_, arena.work.stream, arena.ragged, length, outputs, arena.head);
  });
}

void Model::states(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                   Index length, float* out) const {
  run(ids, types, lengths, sequences, length,
      [&](Arena& arena) { head_.write_states(team_, arena.work.stream, arena.ragged, length, out); });
}

void Model::check(const std::int32_t* ids, const std::int32_t* types, const std::int32_t* lengths, Index sequences,
                  Index length) const {
  if (length > config_.max_length)
    throw InputError("a sequence of " + std::to_string(length) + " tokens is longer than the model's " +
                     std::to_string(config_.max_length) + " positions.");
  const auto outside = [](std::int32_t value, Index low, Index high) { return value < low || value > high; };
  const auto refuse = [](const char* what, std::int32_t value, Index low, Index high) {
    throw InputError(std::string(what) + " must be from " + std::to_string(low) + " to " + std::to_string(high) +
                     ", not " + std::to_string(value) + ".");
  };
  const Index last_type = config_.token_types ? config_.token_types - 1 : 0;
  for (Index s = 0; s < sequences; ++s) {
    if (outside(lengths[s], 1, length)) refuse("valid_length", lengths[s], 1, length);
    for (Index at = s * length; at < s * length + lengths[s]; ++at) {
      if (outside(ids[at], 0, config_.vocabulary - 1)) refuse("input_ids", ids[at], 0, config_.vocabulary - 1);
      if (types && config_.token_types && outside(types[at], 0, last_type))
        refuse("token_types", types[at], 0, last_type);
    }
  }
}

}  // namespace bertpass::native

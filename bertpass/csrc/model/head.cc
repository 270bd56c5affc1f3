#include "model/head.h"

#include <algorithm>
#include <cstring>

namespace bertpass::native {

Head::Head(const Weights& weights, const Kernels& kernels, const ModelConfig& config)
    : kernels_(&kernels),
      kind_(config.head),
      pooling_(config.pooling),
      normalize_(config.normalize),
      units_(config.units),
      labels_(config.head == HeadKind::qa ? 2 : config.labels) {
  const auto read = [&](const std::string& name, Index columns, Memory& memory) {
    return read_linear(weights, name, columns, units_, memory);
  };
  const bool classifies = kind_ == HeadKind::classifier;
  if (kind_ == HeadKind::qa) last_layer_ = read("span_classifier", labels_, last_memory_);
  if (kind_ == HeadKind::tokens) last_layer_ = read("tag_classifier", labels_, last_memory_);
  if (kind_ == HeadKind::pooled || classifies) {
    const char* pooler = config.family == Family::roberta ? "roberta.pooler" : "bert.pooler";
    const char* first = config.family == Family::roberta ? "classifier.1" : "pre_classifier";
    first_layer_ = read(kind_ == HeadKind::pooled || config.family == Family::bert ? pooler : first, units_,
                        first_memory_);
    if (classifies && config.family == Family::distilbert) first_activation_ = Activation::relu;
  }
  if (classifies)
    last_layer_ = read(config.family == Family::roberta ? "classifier.3" : "classifier.1", labels_, last_memory_);
}

std::vector<Head::Output> Head::outputs() const {
  switch (kind_) {
    case HeadKind::states: return {{true, units_}};
    case HeadKind::pooled: return {{true, units_}, {false, units_}};
    case HeadKind::classifier: return {{false, labels_}};
    case HeadKind::qa:
    case HeadKind::tokens: return {{true, labels_}};
    case HeadKind::embedding: return {{false, units_}};
  }
  return {};
}

void Head::forward(const Team& team, const Rows& states, const Ragged& ragged, float* const* outputs,
                   Memory& scratch) const {
  switch (kind_) {
    case HeadKind::states: return unpack(team, states, ragged, units_, outputs[0]);
    case HeadKind::pooled:
      unpack(team, states, ragged, units_, outputs[0]);
      return write_first(team, states, ragged, outputs[1], scratch);
    case HeadKind::classifier: return write_first(team, states, ragged, outputs[0], scratch);
    case HeadKind::qa:
    case HeadKind::tokens: return write_tokens(team, states, ragged, outputs[0], scratch);
    case HeadKind::embedding: return write_vectors(team, states, ragged, outputs[0]);
  }
}

void Head::write_tokens(const Team& team, const Rows& states, const Ragged& ragged, float* out,
                        Memory& scratch) const {
  const auto compute = [&](float* to) {
    last_layer_.apply(*kernels_, team, states, ragged.tokens(), Activation::none, {},
                      {to, labels_, Type::float32, nullptr});
  };
  if (!ragged.padded()) return compute(out);
  scratch.grow(ragged.tokens() * labels_ * 4);
  const float *logits = scratch.as<float>(), *bias = last_layer_.bias();
  compute(scratch.as<float>());
  for (Index s = 0; s < ragged.sequences(); ++s) {
    float* to = out + ragged.place(s) * labels_;
    to = std::copy(logits + ragged.start(s) * labels_, logits + ragged.start(s + 1) * labels_, to);
    for (Index t = ragged.length(s); t < ragged.room(s); ++t) to = std::copy(bias, bias + labels_, to);
  }
}

void Head::write_vectors(const Team& team, const Rows& states, const Ragged& ragged, float* out) const {
  const double work = static_cast<double>(ragged.tokens() * units_);
  team.loop(ragged.sequences(), work, [&](Index s, int) {
    const Index rows = pooling_ == Pooling::mean ? ragged.length(s) : 1;
    kernels_->mean(states.floats(ragged.start(s)), states.stride, rows, units_, out + s * units_);
    if (normalize_) kernels_->normalize(out + s * units_, units_);
  });
}

void Head::write_first(const Team& team, const Rows& states, const Ragged& ragged, float* out,
                       Memory& scratch) const {
  const Index rows = ragged.sequences(), stride = stride_of(units_, sizeof(float));
  scratch.grow(2 * rows * stride * 4);
  const Rows first{scratch.as<float>(), stride, Type::float32, nullptr};
  const Rows between{scratch.as<float>() + rows * stride, stride, Type::float32, nullptr};
  for (Index s = 0; s < rows; ++s)
    std::memcpy(first.floats(s), states.floats(ragged.start(s)), units_ * sizeof(float));
  if (kind_ == HeadKind::pooled)
    return first_layer_.apply(*kernels_, team, first, rows, first_activation_, {}, {out, units_, Type::float32, nullptr});
  first_layer_.apply(*kernels_, team, first, rows, first_activation_, {}, between);
  last_layer_.apply(*kernels_, team, between, rows, Activation::none, {}, {out, labels_, Type::float32, nullptr});
}

}  // namespace bertpass::native

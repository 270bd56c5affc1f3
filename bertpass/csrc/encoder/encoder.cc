#include "encoder/encoder.h"

#include <algorithm>
#include <cstring>

namespace bertpass::native {
namespace {

// Tokens that go through a layer together: enough for its weights to be read once for much work, few enough for what
// lives within the layer to stay in a shared cache (BERT-base in float32: 24 MB).
constexpr Index kGroupTokens = 1024;

}  // namespace

void Encoder::forward(const Kernels& kernels, const Team& team, const std::int32_t* ids, const std::int32_t* types,
                      Index length, const Ragged& ragged, Workspace& work) const {
  const Index group = std::min(ragged.tokens(), std::max(kGroupTokens, ragged.longest()));
  const Widths& widths = layers.shape().widths;
  work.shape(kernels, widths, layers.shape().types, ragged.tokens(), group, ragged.longest(), team.threads());
  const double amount = 4.0 * static_cast<double>(ragged.tokens() * widths.units);
  team.loop(ragged.sequences(), amount, [&](Index s, int) {
    for (Index t = 0; t < ragged.length(s); ++t) {
      const Index at = s * length + t;
      tables.sum(kernels, ids[at], t, types ? types[at] : 0, work.stream.floats(ragged.start(s) + t));
    }
  });
  embedding_norm.apply(kernels, team, work.stream, ragged.tokens(), work.stream,
                       work.lowered(layers.layers().front().reads(), 0));
  work.lap(Stage::embedding);
  for (const Layer& layer : layers.layers()) {
    for (Index first = 0, last; first < ragged.sequences(); first = last) {
      last = ragged.group_end(first, kGroupTokens);
      layer.forward(kernels, team, widths, ragged.offsets(first), last - first, work);
    }
  }
}

void unpack(const Team& team, const Rows& states, const Ragged& ragged, Index length, Index units, float* out) {
  const double work = static_cast<double>(ragged.sequences() * length * units);
  team.loop(ragged.sequences(), work, [&](Index s, int) {
    float* to = out + s * length * units;
    for (Index t = 0; t < ragged.length(s); ++t)
      std::memcpy(to + t * units, states.floats(ragged.start(s) + t), units * sizeof(float));
    std::fill(to + ragged.length(s) * units, to + length * units, 0.0f);
  });
}

}  // namespace bertpass::native

#include "encoder/encoder.h"

namespace bertpass::native {

void Encoder::forward(const Kernels& kernels, const Team& team, const std::int32_t* ids, const std::int32_t* types,
                      Index length, const Ragged& ragged, Workspace& work) const {
  work.shape(kernels, widths, type, ragged.tokens(), ragged.longest(), team.threads());
  const double amount = 4.0 * static_cast<double>(ragged.tokens() * widths.units);
  team.loop(ragged.sequences(), amount, [&](Index s, int) {
    for (Index t = 0; t < ragged.length(s); ++t) {
      const Index at = s * length + t;
      tables.sum(kernels, ids[at], t, types ? types[at] : 0, work.sum.floats(ragged.start(s) + t));
    }
  });
  embedding_norm.apply(kernels, team, work.sum, ragged.tokens(), work.stream, work.low);
  for (const Layer& layer : layers)
    layer.forward(kernels, team, widths, ragged.offsets(), ragged.sequences(), work);
}

}  // namespace bertpass::native

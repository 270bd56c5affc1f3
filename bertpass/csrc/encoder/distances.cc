#include "encoder/distances.h"

#include "schema/distances.h"
#include "schema/parameters.h"

namespace bertpass::native {

OwnedDistanceBias::OwnedDistanceBias(const float* table, Index heads, Index length)
    : values(heads * (2 * length - 1 + kPanel)), view{values.data() + length - 1, 2 * length - 1 + kPanel} {
  bias_by_distance(table, heads, length, view.stride, values.data() + length - 1);
}

OwnedRotary::OwnedRotary(double base, double factor, Index size, Index length)
    : cosines(length * (size / 2)), sines(cosines.size()), view{cosines.data(), sines.data(), size / 2} {
  rotary_angles(base, factor, size, length, cosines.data(), sines.data());
}

OwnedRelativeKeys::OwnedRelativeKeys(const Kernels& kernels, const Team& team, const ModelConfig& config,
                                     const PackedLayers& packed, const float* table, const Norm& norm) {
  for (Index distance = 1 - config.max_length; distance < config.max_length; ++distance)
    rows_.push_back(static_cast<std::int32_t>(relative_row(-distance, config.buckets, config.relative)));
  Widths widths = packed.shape().widths;
  widths.distances = relative_rows(config);
  for (const Layer& layer : packed.layers()) {
    const Index bytes = layer.related_bytes(kernels, widths);
    memory_.emplace_back(2 * bytes);
    char* const keys = memory_.back().as<char>();
    layer.relate(kernels, team, widths, table, norm, keys, keys + bytes);
    const std::int32_t* const row = rows_.data() + config.max_length - 1;
    layers.push_back({keys, keys + bytes, bytes / widths.heads, widths.distances, row});
  }
}

}  // namespace bertpass::native

#include "encoder/distances.h"

#include <algorithm>
#include <cmath>

#include "schema/parameters.h"

namespace bertpass::native {

Index bucket_of_distance(Index distance) {
  constexpr Index kSide = kDistanceBuckets / 2, kExact = kSide / 2;
  const Index side = distance > 0 ? kSide : 0, far = distance > 0 ? distance : -distance;
  if (far < kExact) return side + far;
  Index bucket = kExact;
  for (Index square = 2 * kExact * kExact; bucket < kSide - 1 && far * far >= square; square *= 2) ++bucket;
  return side + bucket;
}

Index relative_row(Index distance, Index buckets, Index most) {
  const Index span = buckets ? buckets : most, middle = buckets / 2, far = distance < 0 ? -distance : distance;
  Index bucket = far;
  if (buckets && far > middle) {
    const auto log = [&](Index distance) {
      return std::log(static_cast<double>(distance) / static_cast<double>(middle));
    };
    bucket = static_cast<Index>(std::ceil(log(far) / log(most - 1) * static_cast<double>(middle - 1))) + middle;
  }
  return std::clamp<Index>(span + (distance < 0 ? -bucket : bucket), 0, 2 * span - 1);
}

OwnedDistanceBias::OwnedDistanceBias(const float* table, Index heads, Index length)
    : values(heads * (2 * length - 1 + kPanel)), view{values.data() + length - 1, 2 * length - 1 + kPanel} {
  for (Index distance = 1 - length; distance < length; ++distance) {
    const float* const row = table + bucket_of_distance(distance) * heads;
    for (Index head = 0; head < heads; ++head) values[head * view.stride + distance + length - 1] = row[head];
  }
}

namespace {

// Powers of 2^(-8 / n) for n the largest power of two within `heads`, then every second one of those for 2 n.
float slope_of(Index head, Index heads) {
  Index power = 1;
  while (2 * power <= heads) power *= 2;
  const double exponent = head < power ? -8.0 * (head + 1) / power : -4.0 * (2 * (head - power) + 1) / power;
  return static_cast<float>(std::exp2(exponent));
}

}  // namespace

OwnedDistanceBias::OwnedDistanceBias(Index heads, Index length)
    : values(heads * (2 * length - 1 + kPanel)), view{values.data() + length - 1, 2 * length - 1 + kPanel} {
  for (Index head = 0; head < heads; ++head)
    for (Index distance = 1 - length; distance < length; ++distance)
      values[head * view.stride + distance + length - 1] =
          -slope_of(head, heads) * static_cast<float>(distance < 0 ? -distance : distance);
}

OwnedRotary::OwnedRotary(double base, double factor, Index size, Index length)
    : cosines(length * (size / 2)), sines(cosines.size()), view{cosines.data(), sines.data(), size / 2} {
  for (Index i = 0; i < view.half; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(size);
    const double stretched = std::pow(factor, 2.0 / static_cast<double>(size));
    const float inverse = static_cast<float>(1 / std::pow(base * factor, exponent) / stretched);
    for (Index place = 0; place < length; ++place) {
      const float angle = static_cast<float>(place) * inverse;
      cosines[place * view.half + i] = std::cos(angle);
      sines[place * view.half + i] = std::sin(angle);
    }
  }
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

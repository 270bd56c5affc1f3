#include "schema/distances.h"

#include <algorithm>
#include <cmath>

#include "schema/parameters.h"

namespace bertpass::native {
namespace {

// Powers of 2^(-8 / n) for n the largest power of two within `heads`, then every second one of those for 2 n.
float slope_of(Index head, Index heads) {
  Index power = 1;
  while (2 * power <= heads) power *= 2;
  const double exponent = head < power ? -8.0 * (head + 1) / power : -4.0 * (2 * (head - power) + 1) / power;
  return static_cast<float>(std::exp2(exponent));
}

}  // namespace

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

void bias_by_distance(const float* table, Index heads, Index length, Index stride, float* out) {
  for (Index distance = 1 - length; distance < length; ++distance)
    for (Index head = 0; head < heads; ++head)
      out[head * stride + distance] = table ? table[bucket_of_distance(distance) * heads + head]
                                            : -slope_of(head, heads) * static_cast<float>(std::abs(distance));
}

void rotary_angles(double base, double factor, Index size, Index length, float* cosines, float* sines) {
  const Index half = size / 2;
  for (Index i = 0; i < half; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(size);
    const double stretched = std::pow(factor, 2.0 / static_cast<double>(size));
    const float inverse = static_cast<float>(1 / std::pow(base * factor, exponent) / stretched);
    for (Index place = 0; place < length; ++place) {
      const float angle = static_cast<float>(place) * inverse;
      cosines[place * half + i] = std::cos(angle);
      sines[place * half + i] = std::sin(angle);
    }
  }
}

}  // namespace bertpass::native

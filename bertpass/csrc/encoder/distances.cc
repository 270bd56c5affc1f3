#include "encoder/distances.h"

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

OwnedDistanceBias::OwnedDistanceBias(const float* table, Index heads, Index length)
    : values(heads * (2 * length - 1 + kPanel)), view{values.data() + length - 1, 2 * length - 1 + kPanel} {
  for (Index distance = 1 - length; distance < length; ++distance) {
    const float* const row = table + bucket_of_distance(distance) * heads;
    for (Index head = 0; head < heads; ++head) values[head * view.stride + distance + length - 1] = row[head];
  }
}

}  // namespace bertpass::native

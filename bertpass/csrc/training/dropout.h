// The dropout of a training step: a rate, and a stream of random bits for each place that drops something.
#pragma once

#include <cmath>

#include "kernels/kernels.h"

namespace bertpass::native {

class Drops {
 public:
  // rate: 0 to below 1, the share that is dropped; seed: two words of the step; place: which operator of the network.
  Drops(float rate, const std::int32_t* seed, std::uint32_t place)
      : limit_(static_cast<std::int32_t>(std::lround(static_cast<double>(rate) * 4294967295.0) - 2147483648.0)),
        scale_(1 / (1 - rate)),
        first_(mix(static_cast<std::uint32_t>(seed[0]) + mix(place))),
        second_(mix(static_cast<std::uint32_t>(seed[1]) ^ first_)) {}

  // The stream of one part of the operator, such as a head of a sequence.
  Dropout stream(Index part) const {
    const std::uint32_t key = mix(first_ + mix(static_cast<std::uint32_t>(part)));
    return {key, mix(second_ ^ key), limit_, scale_};
  }

 private:
  static std::uint32_t mix(std::uint32_t x) {
    x += 0x9e3779b9u;  // zero is no fixed point then
    x = (x ^ x >> 16) * kMixFirst;
    x = (x ^ x >> 15) * kMixSecond;
    return x ^ x >> 16;
  }

  std::int32_t limit_;
  float scale_;
  std::uint32_t first_, second_;
};

}  // namespace bertpass::native

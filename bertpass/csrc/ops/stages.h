// Where the time of one forward goes, as the thread that calls it sees it.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>

namespace bertpass::native {

// The parts of a forward, over all layers. A product's stage holds its epilogue: bias, the sum with the residual stream
// (projection, down), the activation function (up). norm: both normalisations of a layer, and what they round to the
// type of the weights; quantize: what int8 rounds between two products.
enum class Stage { embedding, qkv, attention, projection, norm, up, down, quantize, head };
inline constexpr std::array kStageNames = {"embedding", "qkv",  "attention", "projection", "norm",
                                           "up",        "down", "quantize",  "head"};

class Stages {
 public:
  void start() { last_ = Clock::now(); }

  // What has passed since the last lap, or since the start, belongs to this stage.
  void lap(Stage stage) {
    const Clock::time_point now = Clock::now();
    spent_[static_cast<std::size_t>(stage)] += now - last_;
    last_ = now;
  }

  double seconds(std::size_t stage) const { return std::chrono::duration<double>(spent_[stage]).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  std::array<Clock::duration, kStageNames.size()> spent_{};
  Clock::time_point last_{};
};

}  // namespace bertpass::native

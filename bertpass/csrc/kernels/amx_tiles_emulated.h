// The tiles of amx_tiles.h in plain loops, so that what is built on them can be tested on any processor.
#pragma once

#include <cstring>

#include "kernels/bf16.h"
#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

struct Tiles {
  struct Tile {
    std::uint8_t bytes[16][64];
  };
  struct State {
    Index rows;  // 0: not configured
    Tile tile[8];
  };
  static State& state() {
    thread_local State one{};
    return one;
  }
  // Using a tile that is not configured would be an illegal instruction.
  static State& configured() {
    if (state().rows == 0) __builtin_trap();
    return state();
  }

  static void configure(Index rows) {
    state() = State{};
    state().rows = rows;
  }
  static void release() { state().rows = 0; }

  static void clear() {
    for (int tile = 0; tile < 4; ++tile) configured().tile[tile] = Tile{};
  }
  static void load(Tile& tile, const void* from, Index stride, Index rows) {
    for (Index row = 0; row < rows; ++row) std::memcpy(tile.bytes[row], static_cast<const char*>(from) + row * stride, 64);
  }
  static void load_b(const void* b, Index stride) {
    load(configured().tile[6], b, stride, 16);
    load(configured().tile[7], static_cast<const char*>(b) + 64, stride, 16);
  }
  template <int half>
  static void load_a(const void* a, Index stride) {
    load(configured().tile[4 + half], a, stride, configured().rows);
  }

  template <class T>
  static T get(const Tile& tile, Index row, Index column) {
    T value;
    std::memcpy(&value, tile.bytes[row] + column * static_cast<Index>(sizeof(T)), sizeof value);
    return value;
  }
  template <class Sum, class A, class B, class Value>
  static void accumulate(int half, const Value& value) {
    constexpr Index group = 4 / sizeof(A);
    State& s = configured();
    const Tile& a = s.tile[4 + half];
    for (int right = 0; right < 2; ++right) {
      Tile& sums = s.tile[2 * half + right];
      const Tile& b = s.tile[6 + right];
      for (Index row = 0; row < s.rows; ++row)
        for (Index k = 0; k < 16; ++k)
          for (Index column = 0; column < 16; ++column) {
            Sum sum = get<Sum>(sums, row, column);
            for (Index i = 0; i < group; ++i)
              sum += value(get<A>(a, row, k * group + i)) * value(get<B>(b, k, column * group + i));
            std::memcpy(sums.bytes[row] + column * 4, &sum, sizeof sum);
          }
    }
  }
  template <int half>
  static void multiply(const bf16*) {
    accumulate<float, bf16, bf16>(half, [](bf16 x) { return widen(x); });
  }
  template <int half>
  static void multiply(const std::uint8_t*) {
    accumulate<std::int32_t, std::uint8_t, std::int8_t>(half, [](auto x) { return std::int32_t{x}; });
  }
  template <int half>
  static void store(void* left, void* right, Index stride) {
    const State& s = configured();
    for (Index row = 0; row < s.rows; ++row) {
      std::memcpy(static_cast<char*>(left) + row * stride, s.tile[2 * half].bytes[row], 64);
      std::memcpy(static_cast<char*>(right) + row * stride, s.tile[2 * half + 1].bytes[row], 64);
    }
  }
};

}  // namespace
}  // namespace bertpass::native

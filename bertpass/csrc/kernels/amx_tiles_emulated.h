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

  static Index rows_of(int tile) { return tile < 6 ? configured().rows : 16; }

  template <int tile>
  static void clear() {
    configured().tile[tile] = Tile{};
  }
  template <int tile>
  static void load(const void* from, Index stride) {
    for (Index row = 0; row < rows_of(tile); ++row)
      std::memcpy(state().tile[tile].bytes[row], static_cast<const char*>(from) + row * stride, 64);
  }
  template <int tile>
  static void stream(const void* from, Index stride) {
    load<tile>(from, stride);
  }
  template <int tile>
  static void store(void* to, Index stride) {
    for (Index row = 0; row < rows_of(tile); ++row)
      std::memcpy(static_cast<char*>(to) + row * stride, state().tile[tile].bytes[row], 64);
  }

  template <class T>
  static T get(const Tile& tile, Index row, Index column) {
    T value;
    std::memcpy(&value, tile.bytes[row] + column * static_cast<Index>(sizeof(T)), sizeof value);
    return value;
  }
  template <class Sum, class A, class B, class Value>
  static void accumulate(Tile& sums, const Tile& a, const Tile& b, const Value& value) {
    constexpr Index group = 4 / sizeof(A);
    for (Index row = 0; row < configured().rows; ++row)
      for (Index k = 0; k < 16; ++k)
        for (Index column = 0; column < 16; ++column) {
          Sum sum = get<Sum>(sums, row, column);
          for (Index i = 0; i < group; ++i)
            sum += value(get<A>(a, row, k * group + i)) * value(get<B>(b, k, column * group + i));
          std::memcpy(sums.bytes[row] + column * 4, &sum, sizeof sum);
        }
  }
  template <int sums, int a, int b>
  static void multiply(const bf16*) {
    Tile* tile = configured().tile;
    accumulate<float, bf16, bf16>(tile[sums], tile[a], tile[b], [](bf16 x) { return widen(x); });
  }
  template <int sums, int a, int b>
  static void multiply(const std::uint8_t*) {
    Tile* tile = configured().tile;
    accumulate<std::int32_t, std::uint8_t, std::int8_t>(tile[sums], tile[a], tile[b],
                                                        [](auto x) { return std::int32_t{x}; });
  }
};

}  // namespace
}  // namespace bertpass::native

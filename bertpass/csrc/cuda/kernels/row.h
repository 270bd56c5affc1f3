// A row of activations in the registers of a warp: lane l holds the groups l, l + 32 and so on of eight numbers.
#pragma once

#include <type_traits>

#include "cuda/device/types.h"

namespace bertpass::cuda {

// The token of this warp, where each warp of the grid has one.
BP_DEVICE int row_of_warp() { return block_x() * (threads() / kWarp) + warp(); }

// The sequence that has a packed token: offsets[sequence] <= token < offsets[sequence + 1].
BP_DEVICE int sequence_of(const std::int32_t* offsets, int sequences, int token) {
  int sequence = 0, end = sequences;
  while (end - sequence > 1) {
    const int middle = (sequence + end) / 2;
    if (offsets[middle] <= token) sequence = middle;
    else end = middle;
  }
  return sequence;
}

template <int kGroups>
struct Row {
  float x[kGroups][8];

  // Of this lane's groups, those that the row has.
  BP_DEVICE static bool has(int group, int units) { return (lane() + group * kWarp) * 8 < units; }
  BP_DEVICE static int column(int group) { return (lane() + group * kWarp) * 8; }
};

template <class T, int kGroups>
BP_DEVICE void read_row(const T* from, int units, Row<kGroups>& row) {
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
    if (row.has(g, units)) load8(from + row.column(g), row.x[g]);
}

template <class T, int kGroups>
BP_DEVICE void add_row(const T* from, int units, Row<kGroups>& row) {
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
    if (row.has(g, units)) {
      float y[8];
      load8(from + row.column(g), y);
#pragma unroll
      for (int i = 0; i < 8; ++i) row.x[g][i] += y[i];
    }
}

// The row normalised, in two passes over the registers.
template <class T, int kGroups>
BP_DEVICE void write_normalised(const Row<kGroups>& row, int units, const float* gamma, const float* beta, float epsilon,
                                T* out) {
  float sum = 0;
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
    if (row.has(g, units))
#pragma unroll
      for (int i = 0; i < 8; ++i) sum += row.x[g][i];
  const float mean = warp_sum(sum) / static_cast<float>(units);
  float squares = 0;
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
    if (row.has(g, units))
#pragma unroll
      for (int i = 0; i < 8; ++i) squares += (row.x[g][i] - mean) * (row.x[g][i] - mean);
  const float scale = inverse_root(warp_sum(squares) / static_cast<float>(units) + epsilon);
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
    if (row.has(g, units)) {
      float factor[8], shift[8], y[8];
      load8(gamma + row.column(g), factor);
      load8(beta + row.column(g), shift);
#pragma unroll
      for (int i = 0; i < 8; ++i) y[i] = (row.x[g][i] - mean) * scale * factor[i] + shift[i];
      store8(out + row.column(g), y);
    }
}

// Calls work(std::integral_constant<int, N>) for the least N whose groups hold a row of `units`.
template <class Work>
void with_groups(int units, const Work& work) {
  if (units <= 256) return work(std::integral_constant<int, 1>{});
  if (units <= 512) return work(std::integral_constant<int, 2>{});
  if (units <= 768) return work(std::integral_constant<int, 3>{});
  if (units <= 1024) return work(std::integral_constant<int, 4>{});
  return work(std::integral_constant<int, 8>{});
}

}  // namespace bertpass::cuda

#include "ops/pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/bf16.h"

namespace bertpass::native {
namespace {

Index group_of(Type type) { return 4 / size_of(type); }

// One panel, `used` columns of it; convert(element, column) makes what is stored. A few rows at a time, so that reads
// and writes both stay in the cache where the columns lie apart.
template <Index group, class From, class To, class Convert>
void pack_panel(const From* b, Index depth_stride, Index column_stride, Index depth, Index used, To* out,
                const Convert& convert) {
  constexpr Index kRows = 16;
  for (Index first = 0; first < depth; first += kRows) {
    const Index last = std::min(depth, first + kRows);
    for (Index j = 0; j < used; ++j)
      for (Index k = first; k < last; ++k)
        out[(k / group * kPanel + j) * group + k % group] = convert(b[k * depth_stride + j * column_stride], j);
  }
  const auto clear = [&](Index k, Index j) { out[(k / group * kPanel + j) * group + k % group] = To{0}; };
  const Index whole = round_up(depth, group);
  for (Index k = 0; k < whole; ++k)
    for (Index j = k < depth ? used : 0; j < kPanel; ++j) clear(k, j);
}

template <Index group, class From, class To, class Convert>
void pack_panels(const From* b, Index depth_stride, Index column_stride, Index depth, Index columns, To* out,
                 const Convert& convert) {
  for (Index column = 0; column < columns; column += kPanel, out += round_up(depth, group) * kPanel)
    pack_panel<group>(b + column * column_stride, depth_stride, column_stride, depth, std::min(kPanel, columns - column),
                      out, [&](From x, Index j) { return convert(x, column + j); });
}

}  // namespace

Index packed_size(Index depth, Index columns, Type type) {
  return round_up(columns, kPanel) * round_up(depth, group_of(type));
}

void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, float* out) {
  if (column_stride != 1)
    return pack_panels<1>(b, depth_stride, column_stride, depth, columns, out, [](float x, Index) { return x; });
  for (Index column = 0; column < columns; column += kPanel)
    for (Index k = 0; k < depth; ++k, out += kPanel) {
      const Index used = std::min(kPanel, columns - column);
      std::memcpy(out, b + k * depth_stride + column, used * sizeof(float));
      std::fill(out + used, out + kPanel, 0.0f);
    }
}

void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, bf16* out) {
  pack_panels<2>(b, depth_stride, column_stride, depth, columns, out, [](float x, Index) { return narrow(x); });
}

void pack(const bf16* b, Index depth_stride, Index column_stride, Index depth, Index columns, bf16* out) {
  pack_panels<2>(b, depth_stride, column_stride, depth, columns, out, [](bf16 x, Index) { return x; });
}

void pack(const float* b, Index depth_stride, Index column_stride, Index depth, Index columns, std::int8_t* out,
          float* scales, std::int32_t* sums) {
  std::fill(scales, scales + round_up(columns, kPanel), 0.0f);
  std::fill(sums, sums + round_up(columns, kPanel), 0);
  for (Index j = 0; j < columns; ++j) {
    double most = 0;
    for (Index k = 0; k < depth; k += 2) {
      const float* const at = b + k * depth_stride + j * column_stride;
      const double even = at[0], odd = k + 1 < depth ? at[depth_stride] : 0;
      most = std::max({most, std::abs(even), std::abs(odd), std::abs(even + odd)});
    }
    scales[j] = static_cast<float>(most / 127);
  }
  pack_panels<4>(b, depth_stride, column_stride, depth, columns, out, [&](float x, Index j) {
    const float scaled = scales[j] > 0 ? std::nearbyint(x / scales[j]) : 0;
    const auto byte = static_cast<std::int8_t>(std::min(127.0f, std::max(-127.0f, scaled)));
    sums[j] += byte;
    return byte;
  });
}

}  // namespace bertpass::native

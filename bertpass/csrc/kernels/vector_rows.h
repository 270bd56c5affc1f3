// Kernels of single rows in vectors: softmax, layer normalisation, quantisation, sums; included by vectorised.h.
#pragma once

#include "kernels/vector_functions.h"

namespace bertpass::native {
namespace {

void softmax(float* x, Index stride, Index rows, Index columns, bf16* low, Index low_stride, float* inverse) {
  for (Index i = 0; i < rows; ++i, x += stride) {
    V most = Vector::set(x[0]);
    Index j = 0;
    for (; j + W <= columns; j += W) most = Vector::max(most, Vector::load(x + j));
    float top = Vector::largest(most);
    for (; j < columns; ++j) top = x[j] > top ? x[j] : top;
    const V shift = Vector::set(top);
    V total = Vector::zero();
    for (j = 0; j < columns; j += W) {
      const Index left = columns - j;
      V e = exponential(Vector::sub(load_some(x + j, left), shift));
      if (left < W) e = Vector::first(e, left);  // zeros past the row
      if (low)
        store_some(low + i * low_stride + j, e, left);
      else
        store_some(x + j, e, left);
      total = Vector::add(total, e);
    }
    inverse[i] = 1 / Vector::sum(total);
  }
}

// The sum of value(column, columns) over a row in vectors: in several chains, since one would wait for itself.
template <class Value>
V row_sum(Index columns, const Value& value) {
  constexpr Index kChains = 4;
  V sum[kChains];
  for (Index i = 0; i < kChains; ++i) sum[i] = Vector::zero();
  Index j = 0;
  for (; j + kChains * W <= columns; j += kChains * W)
#pragma GCC unroll 4
    for (Index i = 0; i < kChains; ++i) sum[i] = Vector::add(sum[i], value(j + i * W, W));
  for (; j < columns; j += W) sum[0] = Vector::add(sum[0], value(j, columns - j));
  return Vector::add(Vector::add(sum[0], sum[1]), Vector::add(sum[2], sum[3]));
}

void layer_norm(const float* x, const float* gamma, const float* beta, float epsilon, Index columns, float* out,
                bf16* low) {
  const float mean = Vector::sum(row_sum(columns, [&](Index j, Index n) { return load_some(x + j, n); })) /
                     static_cast<float>(columns);
  const V centre = Vector::set(mean);
  const float square = Vector::sum(row_sum(columns, [&](Index j, Index n) {
    V d = Vector::sub(load_some(x + j, n), centre);
    if (n < W) d = Vector::first(d, n);
    return Vector::mul(d, d);
  }));
  const V scale = Vector::set(1.0f / __builtin_sqrtf(square / static_cast<float>(columns) + epsilon));
  const auto one = [&](Index j, Index left) __attribute__((always_inline)) {
    const V d = Vector::mul(Vector::sub(load_some(x + j, left), centre), scale);
    const V y = Vector::fma(d, load_some(gamma + j, left), load_some(beta + j, left));
    store_some(out + j, y, left);
    if (low) store_some(low + j, y, left);
  };
  Index j = 0;
  for (; j + W <= columns; j += W) one(j, W);
  if (j < columns) one(j, columns - j);
}

template <class T>
RowScale quantize(const T* x, const float* factors, Index columns, std::uint8_t* out) {
  const auto at = [&](Index j, Index n) {  // zeros past the row
    const V v = load_some(x + j, n);
    return factors ? Vector::mul(v, load_some(factors + j, n)) : v;
  };
  constexpr Index kChains = 4;  // one would wait for itself
  V low[kChains], high[kChains];
  for (Index i = 0; i < kChains; ++i) low[i] = high[i] = Vector::zero();
  Index j = 0;
  for (; j + kChains * W <= columns; j += kChains * W)
#pragma GCC unroll 4
    for (Index i = 0; i < kChains; ++i) {
      const V v = at(j + i * W, W);
      low[i] = Vector::min(v, low[i]);
      high[i] = Vector::max(v, high[i]);
    }
  for (; j < columns; j += W) {
    const V v = at(j, columns - j);
    low[0] = Vector::min(v, low[0]);
    high[0] = Vector::max(v, high[0]);
  }
  for (Index i = 1; i < kChains; ++i) {
    low[0] = Vector::min(low[i], low[0]);
    high[0] = Vector::max(high[i], high[0]);
  }
  const float least = -Vector::largest(Vector::sub(Vector::zero(), low[0])), range = Vector::largest(high[0]) - least;
  const bool finite = range <= 3.4028234663852886e38f;
  const float scale = !finite ? __builtin_nanf("") : range > kNothing ? range / 255 : 1;
  const float zero = finite ? __builtin_nearbyintf(-least * (1 / scale)) : 0;
  const V factor = Vector::set(1 / scale);
  const auto level = static_cast<std::int32_t>(zero);
  for (j = 0; j + W <= columns; j += W) Vector::store_levels(out + j, Vector::mul(at(j, W), factor), level, W);
  if (j < columns) Vector::store_levels(out + j, Vector::mul(at(j, columns - j), factor), level, columns - j);
  return {scale, level};
}

void add(const float* a, const float* b, const float* c, Index columns, float* out) {
  for (Index j = 0; j < columns; j += W) {
    const Index left = columns - j;
    V x = Vector::add(load_some(a + j, left), load_some(b + j, left));
    if (c) x = Vector::add(x, load_some(c + j, left));
    store_some(out + j, x, left);
  }
}

void mean(const float* x, Index stride, Index rows, Index columns, float* out) {
  const V count = Vector::set(static_cast<float>(rows));
  for (Index j = 0; j < columns; j += W) {
    const Index left = columns - j;
    V total = Vector::zero();
    for (Index i = 0; i < rows; ++i) total = Vector::add(total, load_some(x + i * stride + j, left));
    store_some(out + j, Vector::div(total, count), left);
  }
}

template <class T>
void rotate(T* row, const float* cosines, const float* sines, Index half) {
  for (Index i = 0; i < half; i += W) {
    const Index left = half - i;
    const V x = load_some(row + i, left), y = load_some(row + half + i, left);
    const V cosine = load_some(cosines + i, left), sine = load_some(sines + i, left);
    store_some(row + i, Vector::sub(Vector::mul(x, cosine), Vector::mul(y, sine)), left);
    store_some(row + half + i, Vector::fma(x, sine, Vector::mul(y, cosine)), left);
  }
}

void normalize(float* x, Index columns) {
  V squares = Vector::zero();
  for (Index j = 0; j < columns; j += W) {
    const V v = load_some(x + j, columns - j);
    squares = Vector::fma(v, v, squares);
  }
  const float length = __builtin_sqrtf(Vector::sum(squares));
  const V divisor = Vector::set(length > 1e-12f ? length : 1e-12f);
  for (Index j = 0; j < columns; j += W)
    store_some(x + j, Vector::div(load_some(x + j, columns - j), divisor), columns - j);
}

}  // namespace
}  // namespace bertpass::native

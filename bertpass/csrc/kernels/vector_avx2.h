// Vectors of 8 floats for vectorised.h: AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

struct Vector {
  using V = __m256;
  static constexpr int width = 8;
  // Rows that a product takes at once: twelve sums, and what they read.
  static constexpr int tile_rows = 3;
  static constexpr bool fast_bf16 = false;

  static __m256i mask(Index n) {  // n < 8
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  static V load(const float* p) { return _mm256_loadu_ps(p); }
  static V load(const float* p, Index n) { return _mm256_maskload_ps(p, mask(n)); }
  static void store(float* p, V x) { _mm256_storeu_ps(p, x); }
  static void store(float* p, V x, Index n) { _mm256_maskstore_ps(p, mask(n), x); }
  static V set(float x) { return _mm256_set1_ps(x); }
  static V zero() { return _mm256_setzero_ps(); }
  static V add(V x, V y) { return _mm256_add_ps(x, y); }
  static V sub(V x, V y) { return _mm256_sub_ps(x, y); }
  static V mul(V x, V y) { return _mm256_mul_ps(x, y); }
  static V div(V x, V y) { return _mm256_div_ps(x, y); }
  static V fma(V x, V y, V z) { return _mm256_fmadd_ps(x, y, z); }
  static V max(V x, V y) { return _mm256_max_ps(x, y); }
  static V min(V x, V y) { return _mm256_min_ps(x, y); }
  static V sqrt(V x) { return _mm256_sqrt_ps(x); }
  static V abs(V x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
  static V round(V x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // x 2^n for whole n from -126 to 127
  static V scale(V x, V n) {
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(x, _mm256_castsi256_ps(power));
  }
  // y where x < limit, else z
  static V where_less(V x, V limit, V y, V z) { return _mm256_blendv_ps(z, y, _mm256_cmp_ps(x, limit, _CMP_LT_OQ)); }
  static V first(V x, Index n) { return _mm256_and_ps(x, _mm256_castsi256_ps(mask(n))); }  // the others zero
  static float sum(V x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float largest(V x) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }

  // Four vectors: each becomes its largest element or its sum, in all places.
  static void largest4(V (&x)[4]) {
    for (V& one : x) one = set(largest(one));
  }
  static void sum4(V (&x)[4]) {
    for (V& one : x) one = set(sum(one));
  }

  static __m128i narrow8(V x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
  }
  static V load_bf16(const bf16* p) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
  static void store_bf16(bf16* p, V x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow8(x)); }
  static void store_bf16(bf16* p, V x, Index n) {
    bf16 all[8];
    store_bf16(all, x);
    std::memcpy(p, all, static_cast<std::size_t>(n) * sizeof(bf16));
  }

  // Pairs of bfloat16: 8 of them beside each other, or one for all.
  using Pairs = __m256i;
  static Pairs load_pairs(const bf16* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Pairs set_pair(std::uint32_t pair) { return _mm256_set1_epi32(static_cast<int>(pair)); }
  // sum + x[0] y[0] + x[1] y[1]
  static V dot(V sum, Pairs x, Pairs y) {
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    sum = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(x, 16)),
                          _mm256_castsi256_ps(_mm256_slli_epi32(y, 16)), sum);
    return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(x, upper)),
                           _mm256_castsi256_ps(_mm256_and_si256(y, upper)), sum);
  }

  // Whole numbers of 32 bits, and groups of four bytes: 8 of them beside each other, or one for all.
  using I = __m256i;
  static constexpr std::int32_t byte_shift = 0;  // what rows of bytes are less in Quads
  using Quads = I;
  using Weights = I;
  static I whole_zero() { return _mm256_setzero_si256(); }
  static I load_whole(const std::int32_t* p, Index n) {
    return n >= width ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)) : _mm256_maskload_epi32(p, mask(n));
  }
  static void store_whole(std::int32_t* p, I x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  static V to_float(I x) { return _mm256_cvtepi32_ps(x); }
  static I minus_product(I x, std::int32_t y, I z) {
    return _mm256_sub_epi32(x, _mm256_mullo_epi32(_mm256_set1_epi32(y), z));
  }
  static I whole(std::uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
  static I count() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
  static I add(I x, I y) { return _mm256_add_epi32(x, y); }
  static I multiply(I x, I y) { return _mm256_mullo_epi32(x, y); }
  static I exclusive_or(I x, I y) { return _mm256_xor_si256(x, y); }
  template <int n>
  static I shifted(I x) {
    return _mm256_srli_epi32(x, n);
  }
  // y where x >= least, else zero
  static V where_least(I x, std::int32_t least, V y) {
    return _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(least), x)), y);
  }
  static Weights load_weights(const std::int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Quads set_quad(std::uint32_t quad) { return whole(quad); }
  // The sums of two products keep within 16 bits: see Gemm about the pairs of weights.
  static I dot(I sum, Quads x, Weights y) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), _mm256_set1_epi16(1)));
  }
  // Numbers from 0 to 255.
  static void store_bytes(std::uint8_t* p, V x, Index n) {
    const __m256i whole = _mm256_cvtps_epi32(x);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    const __m128i bytes = _mm_packus_epi16(words, words);
    if (n >= width) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
    } else {
      std::uint8_t all[16];
      _mm_storeu_si128(reinterpret_cast<__m128i*>(all), bytes);
      std::memcpy(p, all, static_cast<std::size_t>(n));
    }
  }
  // x rounded to whole numbers, plus zero, between 0 and 255.
  static void store_levels(std::uint8_t* p, V x, std::int32_t zero, Index n) {
    const V u = add(round(x), set(static_cast<float>(zero)));
    store_bytes(p, min(max(u, Vector::zero()), set(255)), n);
  }

  // 8 x 8 words: rows become columns.
  static void transpose(const std::uint32_t* from, Index stride, std::uint32_t* to, Index to_stride) {
    __m256i a[8], b[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i * stride));
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
      b[i] = _mm256_unpacklo_epi32(a[i], a[i + 1]);
      b[i + 1] = _mm256_unpackhi_epi32(a[i], a[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {  // a[i + n]: column n of each half, of the rows i to i + 3
      a[i] = _mm256_unpacklo_epi64(b[i], b[i + 2]);
      a[i + 1] = _mm256_unpackhi_epi64(b[i], b[i + 2]);
      a[i + 2] = _mm256_unpacklo_epi64(b[i + 1], b[i + 3]);
      a[i + 3] = _mm256_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) {  // columns n and n + 4
      const auto at = [&](int row) { return reinterpret_cast<__m256i*>(to + row * to_stride); };
      _mm256_storeu_si256(at(n), _mm256_permute2x128_si256(a[n], a[n + 4], 0x20));
      _mm256_storeu_si256(at(n + 4), _mm256_permute2x128_si256(a[n], a[n + 4], 0x31));
    }
  }
  // out = x[0] y[0] x[1] y[1] ... for 16 elements each.
  static void interleave(const bf16* x, const bf16* y, bf16* out) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(y));
    const __m256i low = _mm256_unpacklo_epi16(a, b), high = _mm256_unpackhi_epi16(a, b);  // by halves of 128 bits
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16), _mm256_permute2x128_si256(low, high, 0x31));
  }
};

}  // namespace
}  // namespace bertpass::native

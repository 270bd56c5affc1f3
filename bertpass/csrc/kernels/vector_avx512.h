// Vectors of 16 floats for vectorised.h: AVX-512 F, BW, DQ and VL. With AVX512_BF16 the conversion and the products of
// bfloat16 pairs are single instructions.
#pragma once

#include <immintrin.h>

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

struct Vector {
  using V = __m512;
  static constexpr int width = 16;
  static constexpr int tile_rows = 12;
#ifdef __AVX512BF16__
  static constexpr bool fast_bf16 = true;
#else
  static constexpr bool fast_bf16 = false;
#endif

  static __mmask16 mask(Index n) { return static_cast<__mmask16>((1u << n) - 1); }  // n < 16

  static V load(const float* p) { return _mm512_loadu_ps(p); }
  static V load(const float* p, Index n) { return _mm512_maskz_loadu_ps(mask(n), p); }
  static void store(float* p, V x) { _mm512_storeu_ps(p, x); }
  static void store(float* p, V x, Index n) { _mm512_mask_storeu_ps(p, mask(n), x); }
  static V set(float x) { return _mm512_set1_ps(x); }
  static V zero() { return _mm512_setzero_ps(); }
  static V add(V x, V y) { return _mm512_add_ps(x, y); }
  static V sub(V x, V y) { return _mm512_sub_ps(x, y); }
  static V mul(V x, V y) { return _mm512_mul_ps(x, y); }
  static V div(V x, V y) { return _mm512_div_ps(x, y); }
  static V fma(V x, V y, V z) { return _mm512_fmadd_ps(x, y, z); }
  static V max(V x, V y) { return _mm512_max_ps(x, y); }
  static V min(V x, V y) { return _mm512_min_ps(x, y); }
  static V sqrt(V x) { return _mm512_sqrt_ps(x); }
  static V abs(V x) { return _mm512_abs_ps(x); }
  static V round(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static V scale(V x, V n) { return _mm512_scalef_ps(x, n); }  // x 2^n for whole n
  // y where x < limit, else z
  static V where_less(V x, V limit, V y, V z) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, limit, _CMP_LT_OQ), z, y);
  }
  static V first(V x, Index n) { return _mm512_maskz_mov_ps(mask(n), x); }  // the others zero
  static float sum(V x) { return _mm512_reduce_add_ps(x); }
  static float largest(V x) { return _mm512_reduce_max_ps(x); }
  // Four vectors at once: each becomes its largest element or its sum, in all places.
  template <class Join>
  static void join4(V (&x)[4], const Join& join) {
    const V ab = join(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
    const V cd = join(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
    const __m512d p = _mm512_castps_pd(ab), q = _mm512_castps_pd(cd);
    V all = join(_mm512_castpd_ps(_mm512_unpacklo_pd(p, q)), _mm512_castpd_ps(_mm512_unpackhi_pd(p, q)));
    all = join(all, _mm512_shuffle_f32x4(all, all, 0x4e));
    all = join(all, _mm512_shuffle_f32x4(all, all, 0xb1));
    x[0] = _mm512_permute_ps(all, 0x00);
    x[1] = _mm512_permute_ps(all, 0x55);
    x[2] = _mm512_permute_ps(all, 0xaa);
    x[3] = _mm512_permute_ps(all, 0xff);
  }
  static void largest4(V (&x)[4]) {
    join4(x, [](V a, V b) { return max(a, b); });
  }
  static void sum4(V (&x)[4]) {
    join4(x, [](V a, V b) { return add(a, b); });
  }

  static __m256i narrow16(V x) {
#ifdef __AVX512BF16__
    return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
#else
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    const __m512i chosen = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(chosen, 16));
#endif
  }
  static V load_bf16(const bf16* p) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
  static void store_bf16(bf16* p, V x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow16(x)); }
  static void store_bf16(bf16* p, V x, Index n) { _mm256_mask_storeu_epi16(p, mask(n), narrow16(x)); }

  // Pairs of bfloat16: 16 of them beside each other, or one for all.
  using Pairs = __m512i;
  static Pairs load_pairs(const bf16* p) { return _mm512_loadu_si512(p); }
  static Pairs set_pair(std::uint32_t pair) { return _mm512_set1_epi32(static_cast<int>(pair)); }
  // sum + x[0] y[0] + x[1] y[1]
  static V dot(V sum, Pairs x, Pairs y) {
#ifdef __AVX512BF16__
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(y));
#else
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    sum = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)),
                          _mm512_castsi512_ps(_mm512_slli_epi32(y, 16)), sum);
    return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(x, upper)),
                           _mm512_castsi512_ps(_mm512_and_si512(y, upper)), sum);
#endif
  }

  // Whole numbers of 32 bits, and groups of four bytes: 16 of them beside each other, or one for all.
  using I = __m512i;
  static constexpr std::int32_t byte_shift = 0;  // what rows of bytes are less in Quads
  using Quads = __m512i;
  using Weights = __m512i;
  static I whole_zero() { return _mm512_setzero_si512(); }
  static I load_whole(const std::int32_t* p, Index n) {
    return n >= width ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32(mask(n), p);
  }
  static void store_whole(std::int32_t* p, I x) { _mm512_storeu_si512(p, x); }
  static V to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static I minus_product(I x, std::int32_t y, I z) {
    return _mm512_sub_epi32(x, _mm512_mullo_epi32(_mm512_set1_epi32(y), z));
  }
  static I whole(std::uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
  static I count() { return _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
  static I add(I x, I y) { return _mm512_add_epi32(x, y); }
  static I multiply(I x, I y) { return _mm512_mullo_epi32(x, y); }
  static I exclusive_or(I x, I y) { return _mm512_xor_si512(x, y); }
  template <int n>
  static I shifted(I x) {
    return _mm512_srli_epi32(x, n);
  }
  // y where x >= least, else zero
  static V where_least(I x, std::int32_t least, V y) {
    return _mm512_maskz_mov_ps(_mm512_cmpge_epi32_mask(x, _mm512_set1_epi32(least)), y);
  }
  static Weights load_weights(const std::int8_t* p) { return _mm512_loadu_si512(p); }
  static Quads set_quad(std::uint32_t quad) { return _mm512_set1_epi32(static_cast<int>(quad)); }
  static I dot(I sum, Quads x, Weights y) { return _mm512_dpbusd_epi32(sum, x, y); }
  // x rounded to whole numbers, plus zero, between 0 and 255.
  static void store_levels(std::uint8_t* p, V x, std::int32_t zero, Index n) {
    const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(zero));
    const __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(whole, _mm512_setzero_si512()));
    if (n >= width)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
    else
      _mm_mask_storeu_epi8(p, mask(n), bytes);
  }

  // 16 x 16 words: rows become columns.
  static void transpose(const std::uint32_t* from, Index stride, std::uint32_t* to, Index to_stride) {
    __m512i a[16], b[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(from + i * stride);
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
      b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
      b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {  // a[i + n]: column n of each quarter, of the rows i to i + 3
      a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
      a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
      a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
      a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) {  // columns n, n + 4, n + 8, n + 12
      const __m512i low01 = _mm512_shuffle_i32x4(a[n], a[n + 4], 0x88), low23 = _mm512_shuffle_i32x4(a[n], a[n + 4], 0xdd);
      const __m512i high01 = _mm512_shuffle_i32x4(a[n + 8], a[n + 12], 0x88);
      const __m512i high23 = _mm512_shuffle_i32x4(a[n + 8], a[n + 12], 0xdd);
      _mm512_storeu_si512(to + n * to_stride, _mm512_shuffle_i32x4(low01, high01, 0x88));
      _mm512_storeu_si512(to + (n + 4) * to_stride, _mm512_shuffle_i32x4(low23, high23, 0x88));
      _mm512_storeu_si512(to + (n + 8) * to_stride, _mm512_shuffle_i32x4(low01, high01, 0xdd));
      _mm512_storeu_si512(to + (n + 12) * to_stride, _mm512_shuffle_i32x4(low23, high23, 0xdd));
    }
  }
  // out = x[0] y[0] x[1] y[1] ... for 32 elements each.
  static void interleave(const bf16* x, const bf16* y, bf16* out) {
    const __m512i a = _mm512_loadu_si512(x), b = _mm512_loadu_si512(y);
    const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);  // by quarters of 128 bits
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    _mm512_storeu_si512(out, _mm512_permutex2var_epi64(low, first, high));
    _mm512_storeu_si512(out + 32, _mm512_permutex2var_epi64(low, second, high));
  }
};

}  // namespace
}  // namespace bertpass::native

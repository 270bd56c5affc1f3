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
  static constexpr int tile_rows = 6;

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
  static V abs(V x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
  static V round(V x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // x 2^n for whole n from -126 to 127
  static V scale(V x, V n) {
    const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(x, _mm256_castsi256_ps(power));
  }
  // y where x < limit, else z
  static V where_less(V x, V limit, V y, V z) { return _mm256_blendv_ps(z, y, _mm256_cmp_ps(x, limit, _CMP_LT_OQ)); }
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

  static __m128i narrow8(V x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i upper = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1));
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
};

}  // namespace
}  // namespace bertpass::native

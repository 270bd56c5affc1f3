// Vectors of 4 floats for vectorised.h: NEON of ARMv8-A. With dot products (FEAT_DotProd) four bytes are multiplied by
// one instruction, and with FEAT_BF16 the conversion and the products of bfloat16 pairs are one each.
// Instructions: Arm Architecture Reference Manual for A-profile; intrinsics: Arm C Language Extensions.
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "kernels/kernels.h"

namespace bertpass::native {
namespace {

struct Vector {
  using V = float32x4_t;
  static constexpr int width = 4;
  // Rows that a product takes at once: sixteen sums, and eight vectors of a panel; there are 32 registers.
  static constexpr int tile_rows = 2;
#ifdef __ARM_FEATURE_BF16_VECTOR_ARITHMETIC
  static constexpr bool fast_bf16 = true;
#else
  static constexpr bool fast_bf16 = false;
#endif

  static uint32x4_t mask(Index n) {  // n < 4
    constexpr std::int32_t kPlaces[4] = {0, 1, 2, 3};
    return vcltq_s32(vld1q_s32(kPlaces), vdupq_n_s32(static_cast<std::int32_t>(n)));
  }

  static V load(const float* p) { return vld1q_f32(p); }
  static V load(const float* p, Index n) {
    V x = zero();
    if (n > 0) x = vld1q_lane_f32(p, x, 0);
    if (n > 1) x = vld1q_lane_f32(p + 1, x, 1);
    if (n > 2) x = vld1q_lane_f32(p + 2, x, 2);
    return x;
  }
  static void store(float* p, V x) { vst1q_f32(p, x); }
  static void store(float* p, V x, Index n) {
    if (n > 0) vst1q_lane_f32(p, x, 0);
    if (n > 1) vst1q_lane_f32(p + 1, x, 1);
    if (n > 2) vst1q_lane_f32(p + 2, x, 2);
  }
  static V set(float x) { return vdupq_n_f32(x); }
  static V zero() { return vdupq_n_f32(0); }
  static V add(V x, V y) { return vaddq_f32(x, y); }
  static V sub(V x, V y) { return vsubq_f32(x, y); }
  static V mul(V x, V y) { return vmulq_f32(x, y); }
  static V div(V x, V y) { return vdivq_f32(x, y); }
  static V fma(V x, V y, V z) { return vfmaq_f32(z, x, y); }
  // Where one of them is no number the second, as the kernels want it; FMAX and FMIN would give NaN.
  static V max(V x, V y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
  static V min(V x, V y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
  static V sqrt(V x) { return vsqrtq_f32(x); }
  static V abs(V x) { return vabsq_f32(x); }
  static V round(V x) { return vrndnq_f32(x); }
  // x 2^n for whole n from -126 to 127
  static V scale(V x, V n) {
    const int32x4_t power = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    return vmulq_f32(x, vreinterpretq_f32_s32(power));
  }
  // y where x < limit, else z
  static V where_less(V x, V limit, V y, V z) { return vbslq_f32(vcltq_f32(x, limit), y, z); }
  static V first(V x, Index n) {  // the others zero
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), mask(n)));
  }
  static float sum(V x) { return vaddvq_f32(x); }
  static float largest(V x) { return vmaxvq_f32(x); }

  static uint16x4_t narrow4(V x) {
#ifdef __ARM_FEATURE_BF16_VECTOR_ARITHMETIC
    return vreinterpret_u16_bf16(vcvt_bf16_f32(x));
#else
    const uint32x4_t bits = vreinterpretq_u32_f32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    return vshrn_n_u32(vbslq_u32(vceqq_f32(x, x), rounded, quiet), 16);
#endif
  }
  static V load_bf16(const bf16* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
  static void store_bf16(bf16* p, V x) { vst1_u16(p, narrow4(x)); }
  static void store_bf16(bf16* p, V x, Index n) {
    const uint16x4_t halves = narrow4(x);
    if (n > 0) vst1_lane_u16(p, halves, 0);
    if (n > 1) vst1_lane_u16(p + 1, halves, 1);
    if (n > 2) vst1_lane_u16(p + 2, halves, 2);
  }

  // Pairs of bfloat16: 4 of them beside each other, or one for all.
  using Pairs = uint32x4_t;
  static Pairs load_pairs(const bf16* p) { return vreinterpretq_u32_u16(vld1q_u16(p)); }
  static Pairs set_pair(std::uint32_t pair) { return vdupq_n_u32(pair); }
  // sum + x[0] y[0] + x[1] y[1]
  static V dot(V sum, Pairs x, Pairs y) {
#ifdef __ARM_FEATURE_BF16_VECTOR_ARITHMETIC
    return vbfdotq_f32(sum, vreinterpretq_bf16_u32(x), vreinterpretq_bf16_u32(y));
#else
    const uint32x4_t upper = vdupq_n_u32(0xffff0000u);
    sum = vfmaq_f32(sum, vreinterpretq_f32_u32(vshlq_n_u32(x, 16)), vreinterpretq_f32_u32(vshlq_n_u32(y, 16)));
    return vfmaq_f32(sum, vreinterpretq_f32_u32(vandq_u32(x, upper)), vreinterpretq_f32_u32(vandq_u32(y, upper)));
#endif
  }

  // Whole numbers of 32 bits, and groups of four bytes: 4 of them beside each other, or one for all.
  using I = int32x4_t;
  using Quads = int8x16_t;  // less byte_shift
  using Weights = int8x16_t;
  static I whole_zero() { return vdupq_n_s32(0); }
  static I load_whole(const std::int32_t* p, Index n) {
    if (n >= width) return vld1q_s32(p);
    I x = whole_zero();
    if (n > 0) x = vld1q_lane_s32(p, x, 0);
    if (n > 1) x = vld1q_lane_s32(p + 1, x, 1);
    if (n > 2) x = vld1q_lane_s32(p + 2, x, 2);
    return x;
  }
  static void store_whole(std::int32_t* p, I x) { vst1q_s32(p, x); }
  static V to_float(I x) { return vcvtq_f32_s32(x); }
  static I minus_product(I x, std::int32_t y, I z) { return vmlsq_n_s32(x, z, y); }
  static I whole(std::uint32_t x) { return vreinterpretq_s32_u32(vdupq_n_u32(x)); }
  static I count() {
    constexpr std::int32_t kPlaces[4] = {0, 1, 2, 3};
    return vld1q_s32(kPlaces);
  }
  static I add(I x, I y) { return vaddq_s32(x, y); }
  static I multiply(I x, I y) { return vmulq_s32(x, y); }
  static I exclusive_or(I x, I y) { return veorq_s32(x, y); }
  template <int n>
  static I shifted(I x) {
    return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(x), n));
  }
  // y where x >= least, else zero
  static V where_least(I x, std::int32_t least, V y) {
    return vreinterpretq_f32_u32(vandq_u32(vcgeq_s32(x, vdupq_n_s32(least)), vreinterpretq_u32_f32(y)));
  }
  // The instructions multiply bytes with a sign by such: rows are taken less 128, and the zero points as well.
  static constexpr std::int32_t byte_shift = 128;
  static Weights load_weights(const std::int8_t* p) { return vld1q_s8(p); }
  static Quads set_quad(std::uint32_t quad) { return vreinterpretq_s8_u32(vdupq_n_u32(quad ^ 0x80808080u)); }
  static I dot(I sum, Quads x, Weights y) {
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_s32(sum, x, y);
#else
    // The sum of two products is at most 2 x 128 x 127, which fits into 16 bits.
    const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y)), high = vmull_high_s8(x, y);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
#endif
  }
  // x rounded to whole numbers, plus zero, between 0 and 255.
  static void store_levels(std::uint8_t* p, V x, std::int32_t zero, Index n) {
    const V u = min(max(add(round(x), set(static_cast<float>(zero))), Vector::zero()), set(255));
    const uint16x4_t words = vmovn_u32(vcvtq_u32_f32(u));
    const std::uint32_t bytes = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(words, words))), 0);
    if (n >= width)
      std::memcpy(p, &bytes, sizeof bytes);
    else
      std::memcpy(p, &bytes, static_cast<std::size_t>(n));
  }

  // 4 x 4 words: rows become columns.
  static void transpose(const std::uint32_t* from, Index stride, std::uint32_t* to, Index to_stride) {
    const uint32x4_t a = vld1q_u32(from), b = vld1q_u32(from + stride);
    const uint32x4_t c = vld1q_u32(from + 2 * stride), d = vld1q_u32(from + 3 * stride);
    // Columns 0 and 2 of two rows, then columns 1 and 3.
    const uint64x2_t even = vreinterpretq_u64_u32(vtrn1q_u32(a, b)), odd = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
    const uint64x2_t even2 = vreinterpretq_u64_u32(vtrn1q_u32(c, d)), odd2 = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
    vst1q_u32(to, vreinterpretq_u32_u64(vtrn1q_u64(even, even2)));
    vst1q_u32(to + to_stride, vreinterpretq_u32_u64(vtrn1q_u64(odd, odd2)));
    vst1q_u32(to + 2 * to_stride, vreinterpretq_u32_u64(vtrn2q_u64(even, even2)));
    vst1q_u32(to + 3 * to_stride, vreinterpretq_u32_u64(vtrn2q_u64(odd, odd2)));
  }
  // out = x[0] y[0] x[1] y[1] ... for 8 elements each.
  static void interleave(const bf16* x, const bf16* y, bf16* out) {
    const uint16x8_t a = vld1q_u16(x), b = vld1q_u16(y);
    vst1q_u16(out, vzip1q_u16(a, b));
    vst1q_u16(out + 8, vzip2q_u16(a, b));
  }
};

}  // namespace
}  // namespace bertpass::native

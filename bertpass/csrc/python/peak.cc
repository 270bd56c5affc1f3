#include "python/peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/select.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/amx_tiles.h"
#endif

namespace bertpass::native {
namespace {

constexpr int kSteps = 20000;  // of one call: some tens of microseconds
constexpr int kChains = 12;    // independent sums: more than two units times their latency
constexpr int kParts = 5;

// A loop of kSteps x kChains operations; gives something that depends on all of them, so that none is left out.
using Loop = float (*)(const float* start);

struct Fastest {
  Loop loop;
  double operations;  // of one call
};

// sum[i] += x * y in every chain: STEP says how, LANES how many multiplications that is.
#define BERTPASS_LOOP(NAME, TARGET, VECTOR, LOAD, STEP)                                          \
  __attribute__((target(TARGET))) float NAME(const float* start) {                               \
    VECTOR sums[kChains];                                                                        \
    for (int i = 0; i < kChains; ++i) sums[i] = LOAD(start + i);                                 \
    const VECTOR x = LOAD(start + kChains), y = LOAD(start + kChains + 1);                       \
    for (int step = 0; step < kSteps; ++step)                                                    \
      for (int i = 0; i < kChains; ++i) sums[i] = STEP(sums[i], x, y);                           \
    float out[sizeof(VECTOR) / 4], total = 0;                                                    \
    for (const VECTOR& sum : sums) {                                                             \
      std::memcpy(out, &sum, sizeof(VECTOR));                                                    \
      for (const float one : out) total += one;                                                  \
    }                                                                                            \
    return total;                                                                                \
  }

float portable_loop(const float* start) {
  constexpr int kLanes = 4 * kChains;
  float sums[kLanes];
  std::copy(start, start + kLanes, sums);
  const float x = start[kLanes];
  for (int step = 0; step < kSteps; ++step)
    for (float& sum : sums) sum = sum * x + x;
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}
const Fastest kPortable{portable_loop, 2.0 * kSteps * 4 * kChains};

#if defined(__x86_64__)
#define BERTPASS_AVX512 "avx512f,avx512bw,avx512vl,avx512vnni"
#define BERTPASS_LOAD8(p) _mm256_loadu_ps(p)
#define BERTPASS_LOAD8I(p) _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
#define BERTPASS_LOAD16(p) _mm512_loadu_ps(p)
#define BERTPASS_LOAD16I(p) _mm512_loadu_si512(p)
#define BERTPASS_FMA8(s, x, y) _mm256_fmadd_ps(x, y, s)
#define BERTPASS_FMA16(s, x, y) _mm512_fmadd_ps(x, y, s)
#define BERTPASS_BF16(s, x, y) _mm512_dpbf16_ps(s, (__m512bh)x, (__m512bh)y)
#define BERTPASS_BYTES16(s, x, y) _mm512_dpbusd_epi32(s, x, y)
// Bytes in AVX2: products in pairs of 16 bits, then of 32. The compiler may not know that x is the same in every step, or
// the pairs would be made once.
#define BERTPASS_BYTES8(s, x, y) avx2_bytes_step(s, x, y)
__attribute__((target("avx2"), always_inline)) inline __m256i avx2_bytes_step(__m256i sum, __m256i x, __m256i y) {
  __asm__("" : "+x"(x));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), y));
}

BERTPASS_LOOP(avx2_float, "avx2,fma", __m256, BERTPASS_LOAD8, BERTPASS_FMA8)
BERTPASS_LOOP(avx2_bytes, "avx2,fma", __m256i, BERTPASS_LOAD8I, BERTPASS_BYTES8)
BERTPASS_LOOP(avx512_float, BERTPASS_AVX512, __m512, BERTPASS_LOAD16, BERTPASS_FMA16)
BERTPASS_LOOP(avx512_bytes, BERTPASS_AVX512, __m512i, BERTPASS_LOAD16I, BERTPASS_BYTES16)
BERTPASS_LOOP(avx512_halves, BERTPASS_AVX512 ",avx512bf16", __m512, BERTPASS_LOAD16, BERTPASS_BF16)

// Four tiles of sums, each a chain of products; T: bf16 or std::uint8_t.
template <class T>
float tile_loop(const float*) {
  Tiles::configure(16);
  const T* const type = nullptr;
  for (int step = 0; step < kSteps; ++step) {
    Tiles::multiply<0, 4, 6>(type);
    Tiles::multiply<1, 4, 7>(type);
    Tiles::multiply<2, 5, 6>(type);
    Tiles::multiply<3, 5, 7>(type);
  }
  Tiles::release();
  return 0;
}
#endif

// The set whose instructions are measured: the emulated tiles are written for AVX2.
std::string measured_set(const std::string& isa) {
  const std::string name = select_kernels(isa).name;
  return name == "amx_emulated" ? "avx2" : name;
}

Fastest fastest(const std::string& isa, Type type) {
  const std::string name = measured_set(isa);
#if defined(__x86_64__)
  constexpr double kOne = 2.0 * kSteps * kChains;  // per lane of 32 bits
  if (name == "avx2") return type == Type::int8 ? Fastest{avx2_bytes, kOne * 32} : Fastest{avx2_float, kOne * 8};
  if (name == "amx" && type != Type::float32) {
    constexpr double kTiles = 2.0 * kSteps * 4 * 16 * 16 * 64;  // bytes multiplied
    return type == Type::int8 ? Fastest{tile_loop<std::uint8_t>, kTiles} : Fastest{tile_loop<bf16>, kTiles / 2};
  }
  if (name != "portable") {
    if (type == Type::int8) return {avx512_bytes, kOne * 64};
    if (type == Type::bfloat16 && name != "avx512") return {avx512_halves, kOne * 32};
    return {avx512_float, kOne * 16};
  }
#endif
  static_cast<void>(type);
  return kPortable;
}

// Reads whole vectors of aligned memory; the sum keeps the reads.
#define BERTPASS_READ(NAME, ATTRIBUTES, BYTES)                                            \
  ATTRIBUTES std::uint64_t NAME(const char* data, Index bytes) {                          \
    typedef std::uint64_t Vector __attribute__((vector_size(BYTES), may_alias));          \
    const Vector *at = reinterpret_cast<const Vector*>(data), *end = at + bytes / BYTES;  \
    Vector sums[8] = {};                                                                  \
    for (; at + 8 <= end; at += 8)                                                        \
      for (int i = 0; i < 8; ++i) sums[i] ^= at[i];                                       \
    for (int i = 1; i < 8; ++i) sums[0] ^= sums[i];                                       \
    return sums[0][0];                                                                    \
  }
BERTPASS_READ(portable_read, , 16)
#if defined(__x86_64__)
BERTPASS_READ(avx2_read, __attribute__((target("avx2"))), 32)
BERTPASS_READ(avx512_read, __attribute__((target(BERTPASS_AVX512))), 64)
#endif

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Runs body(thread) -> amount of work in every thread again and again for `seconds`; the amount a second of all.
template <class Body>
double rate(int threads, double seconds, const Body& body) {
  std::vector<double> rates(threads);
  std::vector<std::thread> team;
  const auto work = [&](int thread) {
    double amount = 0, spent = 0;
    for (const auto start = Clock::now(); spent < seconds; spent = since(start)) amount += body(thread);
    rates[thread] = amount / spent;
  };
  for (int thread = 1; thread < threads; ++thread) team.emplace_back(work, thread);
  work(0);
  for (std::thread& one : team) one.join();
  double total = 0;
  for (const double one : rates) total += one;
  return total;
}

template <class Body>
double best_rate(int threads, double seconds, const Body& body) {
  double best = 0;
  for (int part = 0; part < kParts; ++part) best = std::max(best, rate(threads, seconds / kParts, body));
  return best;
}

volatile double sink;  // what the loops give goes here

}  // namespace

double peak(const std::string& isa, Type type, int threads, double seconds) {
  const Fastest found = fastest(isa, type);
  std::vector<float> start(128);
  for (std::size_t i = 0; i < start.size(); ++i) start[i] = 1.0f / (3 + i);
  return best_rate(threads, seconds, [&](int) {
    sink = found.loop(start.data());
    return found.operations;
  });
}

double read_bandwidth(const std::string& isa, Index bytes, int threads, double seconds) {
  const std::string name = measured_set(isa);
  auto read = portable_read;
#if defined(__x86_64__)
  if (name != "portable") read = name == "avx2" ? avx2_read : avx512_read;
#endif
  constexpr Index kAtLeast = 1 << 20;  // bytes between two looks at the clock
  const Index part = std::max<Index>(round_up(bytes / threads, 512), 512);
  const Memory memory(part * threads);
  std::memset(memory.as<char>(), 1, part * threads);
  return best_rate(threads, seconds, [&](int thread) {
    Index done = 0;
    for (; done < kAtLeast; done += part) sink = read(memory.as<char>() + thread * part, part);
    return static_cast<double>(done);
  });
}

}  // namespace bertpass::native

#include "kernels/select.h"

#include <cstdlib>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "kernels/caches.h"

namespace bertpass::native {
namespace {

struct Features {
  bool avx2 = false, avx512 = false, avx512_bf16 = false, amx = false;
  bool neon = false, neon_dot = false, neon_bf16 = false;
};

#if defined(__x86_64__)
// Linux gives a process the 8 KiB of the tiles' registers only when it asks: Documentation/arch/x86/xstate.rst of the
// kernel. For all threads, once is enough.
bool may_use_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

// Bits: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID leaves 1 and 7; XCR0 (volume 1,
// chapter 13) says which registers the system saves.
Features detect() {
  Features found;
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  const bool fma = c >> 12 & 1, saved = c >> 27 & 1, avx = c >> 28 & 1, f16c = c >> 29 & 1;
  if (!saved || !avx) return found;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const bool ymm = (low & 0x6) == 0x6, zmm = (low & 0xe6) == 0xe6;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  found.avx2 = ymm && fma && f16c && (b >> 5 & 1);
  constexpr unsigned kWanted = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  found.avx512 = found.avx2 && zmm && (b & kWanted) == kWanted && (c >> 11 & 1);  // VNNI
  constexpr unsigned kTiles = 1u << 22 | 1u << 24 | 1u << 25;  // AMX: BF16, TILE, INT8
  const bool tiles = (d & kTiles) == kTiles && (low & 0x60000) == 0x60000;
  if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) found.avx512_bf16 = found.avx512 && (a >> 5 & 1);
  found.amx = found.avx512_bf16 && tiles && may_use_tiles();
#elif defined(__aarch64__)
  found.neon = true;
#if defined(__linux__)
  // Bits of AT_HWCAP and AT_HWCAP2: Documentation/arch/arm64/elf_hwcaps.rst of the kernel. Old headers lack their names.
  constexpr unsigned long kDotProducts = 1ul << 20, kBfloat16 = 1ul << 14;  // ASIMDDP, BF16
  found.neon_dot = getauxval(AT_HWCAP) & kDotProducts;
  found.neon_bf16 = found.neon_dot && (getauxval(AT_HWCAP2) & kBfloat16);
#endif
#endif
  return found;
}

const std::string kEmulated = "amx_emulated";

struct Entry {
  Entry(std::string name, const Kernels* table, bool runs) : name(std::move(name)), here(table && runs) {
    if (!here) return;
    kernels = *table;
    kernels.caches = caches_of_processor();
  }

  std::string name;
  bool here;  // compiled, and this processor can run it
  Kernels kernels{};
};

// Slowest first. The emulated tiles are there for tests and are never chosen or named unasked.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = [] {
    const Features f = detect();
    return std::vector<Entry>{{kEmulated, amx_emulated_kernels(), f.avx2},
                              {"portable", portable_kernels(), true},
                              {"avx2", avx2_kernels(), f.avx2},
                              {"avx512", avx512_kernels(), f.avx512},
                              {"avx512_bf16", avx512_bf16_kernels(), f.avx512_bf16},
                              {"amx", amx_kernels(), f.amx},
                              {"neon", neon_kernels(), f.neon},
                              {"neon_dot", neon_dot_kernels(), f.neon_dot},
                              {"neon_bf16", neon_bf16_kernels(), f.neon_bf16}};
  }();
  return all;
}

}  // namespace

std::vector<std::string> available_instruction_sets() {
  std::vector<std::string> names;
  for (const Entry& entry : entries())
    if (entry.here && entry.name != kEmulated) names.push_back(entry.name);
  return names;
}

const Kernels& select_kernels(const std::string& asked) {
  std::string name = asked, source = "the instruction set";
  if (name.empty()) {
    const char* forced = std::getenv("BERTPASS_ISA");
    if (forced) name = forced;
    source = "BERTPASS_ISA:";
  }
  const std::vector<std::string> here = available_instruction_sets();
  if (name.empty()) name = here.back();
  std::string usable;
  for (const std::string& one : here) usable += (usable.empty() ? "" : ", ") + one;
  for (const Entry& entry : entries()) {
    if (name != entry.name) continue;
    if (entry.here) return entry.kernels;
    throw InstructionSetError(source + " '" + name + "' is not there on this processor; use one of " + usable + ".");
  }
  throw InstructionSetError(source + " '" + name + "' is not known; use one of " + usable + ".");
}

}  // namespace bertpass::native

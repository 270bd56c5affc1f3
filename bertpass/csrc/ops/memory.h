// Memory on cache lines, and large memory on huge pages where the system has them.
#pragma once

#if defined(_WIN32)
#include <malloc.h>
#else
#include <sys/mman.h>
#endif

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "kernels/kernels.h"

namespace bertpass::native {

constexpr Index kLine = 64;         // bytes of a cache line
constexpr Index kHugePage = 1 << 21;  // bytes; of x86-64, and of AArch64 with pages of 4 KiB

inline Index round_up(Index n, Index multiple) { return (n + multiple - 1) / multiple * multiple; }

// Bytes on a cache line, uninitialised, that only grow.
class Memory {
 public:
  explicit Memory(Index bytes = 0) { grow(bytes); }

  // At least `bytes`; what was there is lost when it grows. Throws std::bad_alloc.
  void grow(Index bytes) {
    if (bytes <= bytes_) return;
    bytes_ = 0;
    data_.reset();
    const Index unit = bytes < 2 * kHugePage ? kLine : kHugePage, whole = round_up(bytes, unit);
#if defined(_WIN32)
    data_.reset(_aligned_malloc(static_cast<std::size_t>(whole), static_cast<std::size_t>(unit)));
#else
    data_.reset(std::aligned_alloc(static_cast<std::size_t>(unit), static_cast<std::size_t>(whole)));
#endif
    if (!data_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    // Weights are read once a forward from end to end: with small pages their addresses fall out of the processor's
    // table.
    if (unit == kHugePage) madvise(data_.get(), static_cast<std::size_t>(whole), MADV_HUGEPAGE);  // advice: may fail
#endif
    bytes_ = bytes;
  }

  Index bytes() const { return bytes_; }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_.get());
  }

 private:
  struct Free {
#if defined(_WIN32)
    void operator()(void* p) const { _aligned_free(p); }
#else
    void operator()(void* p) const { std::free(p); }
#endif
  };
  std::unique_ptr<void, Free> data_;
  Index bytes_ = 0;
};

// Elements from row to row of a matrix of activations: whole cache lines and an odd number of them, so that the rows of
// one column are spread over all sets of a cache.
inline Index stride_of(Index columns, Index element_bytes) {
  const Index lines = round_up(columns * element_bytes, kLine) / kLine;
  return (lines | 1) * (kLine / element_bytes);
}

}  // namespace bertpass::native

// Memory on cache lines.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "kernels/kernels.h"

namespace bertpass::native {

constexpr Index kLine = 64;  // bytes of a cache line

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
    data_.reset(std::aligned_alloc(kLine, static_cast<std::size_t>(round_up(bytes, kLine))));
    if (!data_) throw std::bad_alloc();
    bytes_ = bytes;
  }

  Index bytes() const { return bytes_; }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_.get());
  }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
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

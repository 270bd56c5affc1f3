#include "cuda/encoder/fetch.h"

#include <cstring>

namespace bertpass::cuda {
namespace {

constexpr std::size_t kMostStaged = 4 << 20;  // bytes; more than this goes straight to the caller's memory

// Pinned memory of this thread, of at least this size: copies into it do not wait for one another.
char* staging(std::size_t bytes) {
  thread_local PinnedMemory memory;
  thread_local std::size_t room = 0;
  if (bytes > room) {
    const OutsideCaptures guard;
    memory = pinned_memory(bytes);
    room = bytes;
  }
  return static_cast<char*>(memory.get());
}

}  // namespace

void fetch(const std::vector<Copy>& copies, int device, cudaStream_t stream) {
  const OnDevice current(device);
  std::size_t bytes = 0;
  for (const Copy& copy : copies) bytes += copy.bytes;
  char* const staged = bytes <= kMostStaged ? staging(bytes) : nullptr;
  std::size_t at = 0;
  for (const Copy& copy : copies) {
    void* const to = staged ? staged + at : copy.to;
    check(cudaMemcpyAsync(to, copy.from, copy.bytes, cudaMemcpyDeviceToHost, stream), "copying from the device");
    at += copy.bytes;
  }
  check(cudaStreamSynchronize(stream), "copying from the device");
  if (!staged) return;
  at = 0;
  for (const Copy& copy : copies) {
    std::memcpy(copy.to, staged + at, copy.bytes);
    at += copy.bytes;
  }
}

}  // namespace bertpass::cuda

// A block of CUDA threads on one CPU thread, for the twins: each thread is a fiber that runs until it waits for others.
//
// Stricter than a GPU: shared memory is filled with NaN before each block, a barrier that a thread of the block or warp
// does not reach ends the program, and asynchronous copies arrive when they are waited for and no sooner. Fibers run in
// the order of their numbers, or the other way round (reverse_order), so that a missing barrier shows.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>

namespace bertpass::cuda::twin {

int thread();
int threads();
int block_x();
int block_y();
void* shared_memory();
void sync_block();
void sync_warp();

// What all lanes of the warp gave, lane after lane, kSlot bytes apart; waits for all of them.
constexpr int kSlot = 64;
const unsigned char* exchange(const void* own, int bytes);

template <class T>
T exchanged(T own, int lane) {
  T value;
  std::memcpy(&value, exchange(&own, sizeof own) + lane * kSlot, sizeof value);
  return value;
}

void copy16_later(void* to, const void* from, bool valid);
void copies_commit();
void wait_for_copies(int open);
template <int kOpen>
void copies_wait() {
  wait_for_copies(kOpen);
}

// Runs `body` once for each thread of each block.
void run(int blocks_x, int blocks_y, int threads, int shared_bytes, const std::function<void()>& body);

void reverse_order(bool reverse);

}  // namespace bertpass::cuda::twin

#include "cuda/twin/block.h"

#include <ucontext.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace bertpass::cuda::twin {
namespace {

constexpr int kLanes = 32;
constexpr std::size_t kStack = 256 << 10;
constexpr int kShared = 227 << 10;  // most that a block has on any GPU

std::atomic<bool> reversed{false};

[[noreturn]] void fail(const char* sentence) {
  std::fprintf(stderr, "error: a kernel's twin: %s\n", sentence);
  std::abort();
}

// A barrier of `expected` threads; a thread that has arrived may go on when `round` is no longer what it was.
struct Barrier {
  int expected = 0, arrived = 0;
  std::uint64_t round = 0;
};

struct Copy {
  void* to;
  const void* from;
  bool valid;
  std::uint64_t group;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStack);
  const Barrier* waits = nullptr;
  std::uint64_t round = 0, exchanges = 0, group = 0;
  std::vector<Copy> copies;
  bool done = false;
};

struct Warp {
  Barrier barrier;
  alignas(16) unsigned char slots[2][kLanes * kSlot];
};

// What one CPU thread emulates.
struct Machine {
  ucontext_t home;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<unsigned char> memory = std::vector<unsigned char>(kShared + 16);
  Barrier block;
  const std::function<void()>* body = nullptr;
  int current = 0, count = 0, x = 0, y = 0, shared_bytes = 0;

  Fiber& own() { return fibers[current]; }
  unsigned char* shared() {
    return memory.data() + (16 - reinterpret_cast<std::uintptr_t>(memory.data()) % 16) % 16;
  }
};

Machine& machine() {
  thread_local Machine made;
  return made;
}

void yield() {
  Machine& m = machine();
  if (swapcontext(&m.own().context, &m.home)) fail("swapcontext failed.");
}

void arrive(Barrier& barrier) {
  Fiber& fiber = machine().own();
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.round;
    return;
  }
  fiber.waits = &barrier;
  fiber.round = barrier.round;
  yield();
  fiber.waits = nullptr;
}

void start() {
  Machine& m = machine();
  (*m.body)();
  if (!m.own().copies.empty()) fail("a thread ended with copies that it had not waited for.");
  m.own().done = true;
  yield();
  fail("a thread went on after its end.");
}

void run_block(Machine& m) {
  std::memset(m.shared(), 0xff, kShared);
  m.block = {m.count, 0, 0};
  for (int w = 0; w < static_cast<int>(m.warps.size()); ++w)
    m.warps[w].barrier = {std::min(kLanes, m.count - w * kLanes), 0, 0};
  for (int t = 0; t < m.count; ++t) {
    Fiber& fiber = m.fibers[t];
    fiber.done = false;
    fiber.waits = nullptr;
    fiber.exchanges = fiber.group = 0;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, start, 0);
  }
  const bool reverse = reversed;
  for (int left = m.count; left;) {
    bool moved = false;
    for (int i = 0; i < m.count; ++i) {
      m.current = reverse ? m.count - 1 - i : i;
      Fiber& fiber = m.own();
      if (fiber.done || (fiber.waits && fiber.waits->round == fiber.round)) continue;
      swapcontext(&m.home, &fiber.context);
      moved = true;
      left -= fiber.done;
    }
    if (!moved) fail("not all threads reach a barrier.");
  }
}

}  // namespace

int thread() { return machine().current; }
int threads() { return machine().count; }
int block_x() { return machine().x; }
int block_y() { return machine().y; }
void* shared_memory() { return machine().shared(); }
void sync_block() { arrive(machine().block); }
void sync_warp() { arrive(machine().warps[machine().current / kLanes].barrier); }

const unsigned char* exchange(const void* own, int bytes) {
  Machine& m = machine();
  Warp& warp = m.warps[m.current / kLanes];
  if (warp.barrier.expected != kLanes) fail("an exchange in a warp that is not full.");
  unsigned char* slots = warp.slots[m.own().exchanges++ % 2];  // the other half may still be read
  std::memcpy(slots + m.current % kLanes * kSlot, own, bytes);
  arrive(warp.barrier);
  return slots;
}

void copy16_later(void* to, const void* from, bool valid) {
  Machine& m = machine();
  const auto at = static_cast<unsigned char*>(to) - m.shared();
  if (at < 0 || at + 16 > m.shared_bytes || at % 16) fail("a copy outside of shared memory or not on 16 bytes.");
  if (valid && reinterpret_cast<std::uintptr_t>(from) % 16) fail("a copy from an address that 16 does not divide.");
  m.own().copies.push_back({to, from, valid, m.own().group});
}

void copies_commit() { ++machine().own().group; }

void wait_for_copies(int open) {
  Fiber& fiber = machine().own();
  std::vector<Copy> later;
  for (const Copy& copy : fiber.copies) {
    if (copy.group + open >= fiber.group) later.push_back(copy);
    else if (copy.valid) std::memcpy(copy.to, copy.from, 16);
    else std::memset(copy.to, 0, 16);
  }
  fiber.copies.swap(later);
}

void run(int blocks_x, int blocks_y, int threads, int shared_bytes, const std::function<void()>& body) {
  Machine& m = machine();
  if (threads < 1 || threads > 1024 || shared_bytes < 0 || shared_bytes > kShared || blocks_x < 1 || blocks_y < 1 ||
      blocks_y > 65535)
    fail("a launch that no GPU takes.");
  m.count = threads;
  m.shared_bytes = shared_bytes;
  if (static_cast<int>(m.fibers.size()) < threads) m.fibers.resize(threads);
  m.warps.resize((threads + kLanes - 1) / kLanes);
  m.body = &body;
  for (m.y = 0; m.y < blocks_y; ++m.y)
    for (m.x = 0; m.x < blocks_x; ++m.x) run_block(m);
}

void reverse_order(bool reverse) { reversed = reverse; }

}  // namespace bertpass::cuda::twin

// The threads of the process. Not OpenMP: libgomp gives each calling thread a team of its own, whose members spin while
// they wait, so that with several callers the processors spin more than they compute.
#include "ops/team.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bertpass::native {
namespace {

constexpr double kGrain = 1 << 18;  // multiplications that take about as long as handing out a thread's share

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// How long a thread of the pool looks for work before it sleeps: longer than the pauses within a forward, much shorter
// than anybody would notice. OMP_WAIT_POLICY=passive, which asks for it of OpenMP programs, makes it zero.
std::chrono::microseconds patience() {
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  const std::string_view asked = policy ? policy : "";
  const bool passive = asked == "passive" || asked == "PASSIVE";
  return std::chrono::microseconds(passive ? 0 : 100);
}

// One loop, on the stack of its caller. Each thread has a queue of tasks that follow each other, the same ones in every
// loop of as many tasks: what it has written stays in its cache. A thread that is done takes from the other queues.
struct Loop {
  static constexpr int kMostQueues = 32;
  struct alignas(64) Queue {
    std::atomic<Index> next;
    Index end;
  };

  Index chunk;
  int threads, count;
  Team::Call call;
  const void* body;
  std::atomic<int> joined{1};  // threads that have a number; the caller's is 0
  Queue queues[kMostQueues];

  Loop(Index tasks, int wanted, Team::Call call, const void* body)
      : chunk(std::max<Index>(1, tasks / (8 * std::max(wanted, 1)))),
        threads(wanted),
        count(std::clamp(wanted, 1, kMostQueues)),
        call(call),
        body(body) {
    for (int i = 0; i < count; ++i) {
      queues[i].next.store(tasks * i / count, std::memory_order_relaxed);
      queues[i].end = tasks * (i + 1) / count;
    }
  }

  void work(int thread) {
    for (int i = 0; i < count; ++i) {
      Queue& queue = queues[(thread + i) % count];
      for (;;) {
        if (queue.next.load(std::memory_order_relaxed) >= queue.end) break;
        const Index first = queue.next.fetch_add(chunk, std::memory_order_relaxed);
        for (Index task = first; task < std::min(queue.end, first + chunk); ++task) call(body, task, thread);
        if (first >= queue.end) break;
      }
    }
  }
  bool wants_help() const {
    if (joined.load(std::memory_order_relaxed) >= threads) return false;
    for (int i = 0; i < count; ++i)
      if (queues[i].next.load(std::memory_order_relaxed) < queues[i].end) return true;
    return false;
  }
};

class Pool {
 public:
  void grow(int threads) {
    if (threads_.load(std::memory_order_relaxed) >= threads) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    try {
      for (; threads_ < threads; ++threads_) std::thread([this] { serve(); }).detach();
    } catch (const std::system_error&) {
      // no thread to be had now: the next loop asks again
    }
  }

  void run(Loop& loop) {
    Slot* slot = acquire();
    if (!slot) return loop.work(0);  // more callers than slots: alone
    slot->loop.store(&loop);
    published_.fetch_add(1);
    if (sleeping_.load() > 0) {
      { const std::lock_guard<std::mutex> lock(mutex_); }  // who is about to sleep sees the new count or the signal
      if (loop.threads > 2)
        wake_.notify_all();
      else
        wake_.notify_one();
    }
    loop.work(0);
    slot->loop.store(nullptr);
    for (int turn = 0; slot->helpers.load() > 0; ++turn) turn < 4096 ? relax() : std::this_thread::yield();
    slot->taken.store(false);
  }

 private:
  // Where a caller shows its loop. A helper says so before it looks, and the caller takes the loop away before it counts
  // helpers: whoever is second sees the other, so no helper touches a loop that is gone.
  struct alignas(64) Slot {
    std::atomic<bool> taken{false};
    std::atomic<Loop*> loop{nullptr};
    std::atomic<int> helpers{0};
  };

  Slot* acquire() {
    for (Slot& slot : slots_)
      if (!slot.taken.load(std::memory_order_relaxed) && !slot.taken.exchange(true)) return &slot;
    return nullptr;
  }

  bool help() {
    bool helped = false;
    for (Slot& slot : slots_) {
      if (!slot.loop.load(std::memory_order_relaxed)) continue;
      slot.helpers.fetch_add(1);
      Loop* loop = slot.loop.load();
      if (loop && loop->wants_help()) {
        const int thread = loop->joined.fetch_add(1);
        if (thread < loop->threads) loop->work(thread);
        helped = true;
      }
      slot.helpers.fetch_sub(1);
    }
    return helped;
  }

  [[noreturn]] void serve() {
    using Clock = std::chrono::steady_clock;
    const auto patience = native::patience();
    for (;;) {
      const std::uint64_t seen = published_.load();
      if (help()) continue;
      const auto until = Clock::now() + patience;
      while (published_.load() == seen && Clock::now() < until)
        for (int i = 0; i < 32 && published_.load(std::memory_order_relaxed) == seen; ++i) relax();
      if (published_.load() != seen) continue;
      std::unique_lock<std::mutex> lock(mutex_);
      sleeping_.fetch_add(1);
      wake_.wait(lock, [&] { return published_.load() != seen; });
      sleeping_.fetch_sub(1);
    }
  }

  std::array<Slot, 64> slots_;
  std::atomic<std::uint64_t> published_{0};  // loops so far
  std::atomic<int> sleeping_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int> threads_{0};
};

// Never destroyed: its threads run until the process ends. A child after fork() has none of them and starts anew.
std::atomic<Pool*>& pool() {
  static std::atomic<Pool*> one{[] {
#if !defined(_WIN32)
    pthread_atfork(nullptr, nullptr, [] { pool().store(new Pool); });
#endif
    return new Pool;
  }()};
  return one;
}

}  // namespace

Team::Team(int threads) : threads_(threads) { pool().load()->grow(threads - 1); }

void Team::run(Index tasks, double work, Call call, const void* body) const {
  const double worth = std::min({static_cast<double>(threads_), static_cast<double>(tasks), 1 + work / kGrain});
  const int threads = static_cast<int>(worth);
  if (threads <= 1) {
    for (Index task = 0; task < tasks; ++task) call(body, task, 0);
    return;
  }
  Loop loop(tasks, threads, call, body);
  pool().load()->grow(threads_ - 1);  // again after fork()
  pool().load()->run(loop);
}

}  // namespace bertpass::native

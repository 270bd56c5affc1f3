// Loops in several threads. Only team.cc knows about OpenMP.
#pragma once

#include "kernels/kernels.h"

namespace bertpass::native {

class Team {
 public:
  explicit Team(int threads) : threads_(threads) {}

  int threads() const { return threads_; }

  // body(task, thread) for every task from 0; thread is from 0 to threads() - 1. `work`, in multiplications or the
  // like, decides how many threads are worth their start. body must not throw.
  template <class Body>
  void loop(Index tasks, double work, const Body& body) const {
    const Call call = [](const void* b, Index task, int thread) { (*static_cast<const Body*>(b))(task, thread); };
    run(tasks, work, call, &body);
  }

 private:
  using Call = void (*)(const void* body, Index task, int thread);
  void run(Index tasks, double work, Call call, const void* body) const;

  int threads_;
};

}  // namespace bertpass::native

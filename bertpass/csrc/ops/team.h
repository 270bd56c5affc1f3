// Loops in several threads.
#pragma once

#include "kernels/kernels.h"

namespace bertpass::native {

// How many threads a loop may take. The threads themselves are shared by the whole process (team.cc): the one that
// calls does its part, and threads of the pool help where they are free. So any number of callers at once keeps no more
// processors busy than there are callers and pool threads, and none of them waits for a thread that is not there.
class Team {
 public:
  // Makes the pool large enough. Where the system starts no further thread (a limit on processes or memory), loops run
  // in those that there are, at least in the caller's, with the same results.
  explicit Team(int threads);

  int threads() const { return threads_; }

  // body(task, thread) for every task from 0; thread is from 0 to threads() - 1, and two that run at once differ.
  // `work`, in multiplications or the like, decides how many threads are worth waking. body must not throw.
  template <class Body>
  void loop(Index tasks, double work, const Body& body) const {
    const Call call = [](const void* b, Index task, int thread) { (*static_cast<const Body*>(b))(task, thread); };
    run(tasks, work, call, &body);
  }

  using Call = void (*)(const void* body, Index task, int thread);

 private:
  void run(Index tasks, double work, Call call, const void* body) const;

  int threads_;
};

}  // namespace bertpass::native

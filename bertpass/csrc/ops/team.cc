#include "ops/team.h"

#include <omp.h>

#include <algorithm>

namespace bertpass::native {
namespace {
constexpr double kGrain = 1 << 18;  // multiplications that take about as long as starting a thread's share
}

void Team::run(Index tasks, double work, Call call, const void* body) const {
  const double worth = std::min({static_cast<double>(threads_), static_cast<double>(tasks), 1 + work / kGrain});
  const int threads = static_cast<int>(worth);
  if (threads <= 1) {
    for (Index task = 0; task < tasks; ++task) call(body, task, 0);
    return;
  }
  const Index chunk = std::max<Index>(1, tasks / (8 * threads));
#pragma omp parallel for num_threads(threads) schedule(dynamic, chunk)
  for (Index task = 0; task < tasks; ++task) call(body, task, omp_get_thread_num());
}

}  // namespace bertpass::native

#include "ops/processors.h"

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <thread>

namespace bertpass::native {
namespace {

constexpr double kNoQuota = std::numeric_limits<double>::infinity();
const std::string kRoot = "/sys/fs/cgroup";

double first_number(const std::string& path) {
  std::ifstream file(path);
  double value = -1;
  return file >> value ? value : -1;
}

// cpu.max of a cgroup v2 group ("quota period" or "max period") and of those above it (Linux kernel documentation,
// cgroup-v2).
double quota_v2(std::string group) {
  double best = kNoQuota;
  for (;;) {
    std::ifstream file(kRoot + group + "/cpu.max");
    std::string quota;
    double period = 0;
    if (file >> quota >> period && quota != "max" && period > 0) best = std::min(best, std::atof(quota.c_str()) / period);
    const std::size_t last = group.rfind('/');
    if (last == std::string::npos) return best;
    group.resize(last);
  }
}

// cpu.cfs_quota_us and cpu.cfs_period_us of version 1 (sched-bwc).
double quota_v1(const std::string& group) {
  for (const std::string& folder : {kRoot + "/cpu" + group, kRoot + "/cpu"}) {
    const double quota = first_number(folder + "/cpu.cfs_quota_us"), period = first_number(folder + "/cpu.cfs_period_us");
    if (period < 0) continue;
    return quota > 0 && period > 0 ? quota / period : kNoQuota;
  }
  return kNoQuota;
}

double cgroup_quota() {
  double best = quota_v2("");
  std::ifstream membership("/proc/self/cgroup");
  for (std::string line; std::getline(membership, line);) {  // number:controllers:/group
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string group = line.substr(second + 1);
    if (group == "/") group.clear();
    if (controllers == ",,")
      best = std::min(best, quota_v2(group));
    else if (controllers.find(",cpu,") != std::string::npos)
      best = std::min(best, quota_v1(group));
  }
  return best;
}

}  // namespace

int default_threads() {
  if (const char* asked = std::getenv("OMP_NUM_THREADS")) {
    const int threads = std::atoi(asked);
    if (threads > 0) return threads;
  }
  double processors = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) processors = CPU_COUNT(&mask);
#endif
  return static_cast<int>(std::max(1.0, std::min(processors, std::ceil(cgroup_quota()))));
}

}  // namespace bertpass::native

// How many threads a process should take.
#pragma once

namespace bertpass::native {

// OMP_NUM_THREADS (its first number) where it is set, else the processors of the affinity mask, cut by the quotas of the
// process's cgroups (rounded up), at least 1. The same as threads() of bertpass/machine.py.
int default_threads();

}  // namespace bertpass::native

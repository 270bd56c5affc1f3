// The machine's ceilings, measured.
#pragma once

#include <string>

#include "ops/rows.h"

namespace bertpass::native {

// Operations a second (a multiplication and an addition are two) of `threads` threads that do nothing but multiply and
// add in registers, with the fastest instructions of the set for this type: where it has none for bfloat16, those of
// float32. The best of five parts of `seconds`. Throws as select_kernels() does.
double peak(const std::string& isa, Type type, int threads, double seconds);

// Bytes a second that `threads` threads read, each again and again its own part of `bytes`.
double read_bandwidth(const std::string& isa, Index bytes, int threads, double seconds);

}  // namespace bertpass::native

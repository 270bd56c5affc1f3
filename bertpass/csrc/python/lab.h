// Kernels alone, for their tests and for measuring, and the machine's ceilings.
#pragma once

#include <pybind11/pybind11.h>

namespace bertpass::native {

void add_laboratory(pybind11::module_& module);

}  // namespace bertpass::native

// Names of Python's side as values of ours.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "model/names.h"

namespace bertpass::native {

// A precision; ValueError for one that is not known.
inline Type dtype_of(const std::string& name) {
  const auto type = type_of(name);
  if (!type) throw pybind11::value_error("unknown dtype '" + name + "'");
  return *type;
}

}  // namespace bertpass::native

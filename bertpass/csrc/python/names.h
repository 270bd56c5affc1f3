// Names of Python's side as values of ours.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <utility>

#include "kernels/select.h"
#include "schema/names.h"

namespace bertpass::native {

// A precision; ValueError for one that is not known.
inline Type dtype_of(const std::string& name) {
  const auto type = type_of(name);
  if (!type) throw pybind11::value_error("unknown dtype '" + name + "'");
  return *type;
}

// First and second level, in bytes, in place of this processor's.
using GivenCaches = std::optional<std::pair<Index, Index>>;

// As select_kernels; ValueError for caches of nothing.
inline Kernels kernels_of(const std::string& isa, const GivenCaches& caches) {
  Kernels kernels = select_kernels(isa);
  if (!caches) return kernels;
  if (caches->first < 1 || caches->second < 1) throw pybind11::value_error("a cache has at least one byte");
  kernels.caches = {caches->first, caches->second};
  return kernels;
}

}  // namespace bertpass::native

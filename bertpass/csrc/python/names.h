// Names of Python's side as values of ours.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <utility>

#include "kernels/kernels.h"
#include "ops/rows.h"

namespace bertpass::native {

// The value that belongs to a name; ValueError for one that is not known.
template <class T>
T choose(const std::string& name, std::initializer_list<std::pair<const char*, T>> known) {
  for (const auto& [key, value] : known)
    if (name == key) return value;
  throw pybind11::value_error("unknown value '" + name + "'");
}

inline Type dtype_of(const std::string& name) {
  const auto type = type_of(name);
  if (!type) throw pybind11::value_error("unknown dtype '" + name + "'");
  return *type;
}

inline Activation activation_of(const std::string& name) {
  return choose<Activation>(name, {{"none", Activation::none}, {"gelu", Activation::gelu}, {"relu", Activation::relu},
                                   {"gelu_tanh", Activation::gelu_tanh}, {"tanh", Activation::tanh},
                                   {"gelu_coarse", Activation::gelu_coarse}});
}

}  // namespace bertpass::native

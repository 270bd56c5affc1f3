// Errors of the native level. Both derive from std::runtime_error, because a std::exception is what MXNet hands on to
// its caller with its text, on every version; the Python module maps each to the class of the same name in
// bertpass.errors.
#pragma once

#include <stdexcept>

namespace bertpass {

// A pass is unknown, was asked for something it cannot do, or failed.
struct PassError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A symbol's text is not a graph, or a graph does not verify.
struct GraphError : PassError {
  using PassError::PassError;
};

}  // namespace bertpass

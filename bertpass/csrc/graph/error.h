// Errors of the native level. Both derive from std::runtime_error, because a std::exception is what MXNet hands on to
// its caller with its text, on every version; the Python module maps each to the class of the same name in
// bertpass.errors.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bertpass {

// A pass is unknown, was asked for something it cannot do, or failed.
struct PassError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline std::string joined(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

// A name that is none of the known ones. The message in Python also says which of them is nearest.
struct UnknownName : PassError {
  UnknownName(std::string thing, std::string given, std::vector<std::string> names)
      : PassError("unknown " + thing + " '" + given + "'. Known: " + joined(names) + "."),
        kind(std::move(thing)), name(std::move(given)), known(std::move(names)) {}

  std::string kind;
  std::string name;
  std::vector<std::string> known;
};

// A symbol's text is not a graph, or a graph does not verify.
struct GraphError : PassError {
  using PassError::PassError;
};

}  // namespace bertpass

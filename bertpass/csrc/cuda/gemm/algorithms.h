// Which algorithm is fastest for a product, measured once and kept in a file.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "cuda/gemm/cublaslt.h"

namespace bertpass::cuda {

// Safe in several threads; processes that write the same file replace it as a whole, and the last one wins.
class Algorithms {
 public:
  // path: of a JSON file, made when the first measurement comes; empty keeps them in memory. A file that is no such file
  // is ignored, and replaced. prefix: what a measurement holds for, as device and library; begins every key.
  Algorithms(std::string path, std::string prefix);

  std::optional<lt::Algorithm> find(const std::string& key) const;
  // Keeps and writes; that the file cannot be written is no error, the next process measures again.
  void add(const std::string& key, const lt::Algorithm& algorithm, float milliseconds);

 private:
  struct Measured {
    lt::Algorithm algorithm;
    float milliseconds;
  };
  void read();
  void write() const;

  std::string path_, prefix_;
  mutable std::mutex mutex_;
  std::map<std::string, Measured> measured_;
};

}  // namespace bertpass::cuda

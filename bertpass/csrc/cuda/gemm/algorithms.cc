#include "cuda/gemm/algorithms.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <fstream>

namespace bertpass::cuda {
namespace {

constexpr const char* kFormat = "bertpass cuda algorithms 1";
constexpr int kWords = 8;
constexpr int kDigits = 16 * kWords;

std::string hexadecimal(const lt::Algorithm& algorithm) {
  std::string text;
  for (const std::uint64_t word : algorithm.data) {
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016" PRIx64, word);
    text += digits;
  }
  return text;
}

// Keys hold names of devices; what JSON would have to escape becomes a space.
std::string plain(std::string text) {
  for (char& c : text)
    if (c < ' ' || c > '~' || c == '"' || c == '\\') c = ' ';
  return text;
}

}  // namespace

Algorithms::Algorithms(std::string path, std::string prefix) : path_(std::move(path)), prefix_(plain(std::move(prefix))) {
  const std::lock_guard<std::mutex> lock(mutex_);
  read();
}

std::optional<lt::Algorithm> Algorithms::find(const std::string& key) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = measured_.find(prefix_ + key);
  if (found == measured_.end()) return std::nullopt;
  return found->second.algorithm;
}

void Algorithms::add(const std::string& key, const lt::Algorithm& algorithm, float milliseconds) {
  const std::lock_guard<std::mutex> lock(mutex_);
  read();  // what other processes added meanwhile
  measured_[prefix_ + key] = {algorithm, milliseconds};
  write();
}

// Takes an entry where a line is one, as `write` writes them: "KEY": {"algorithm": "HEX", "milliseconds": N}.
void Algorithms::read() {
  std::ifstream file(path_);
  std::string line;
  if (!std::getline(file, line) || !std::getline(file, line) || line.find(kFormat) == std::string::npos) return;
  while (std::getline(file, line)) {
    char key[512], digits[kDigits + 1];
    Measured measured;
    if (std::sscanf(line.c_str(), " \"%511[^\"]\": {\"algorithm\": \"%128[0-9a-f]\", \"milliseconds\": %f}", key, digits,
                    &measured.milliseconds) != 3)
      continue;
    const std::string hex = digits;
    if (hex.size() != kDigits) continue;
    for (int word = 0; word < kWords; ++word)
      measured.algorithm.data[word] = std::stoull(hex.substr(16 * word, 16), nullptr, 16);
    measured_.emplace(key, measured);
  }
}

void Algorithms::write() const {
  if (path_.empty()) return;
  const std::string partial = path_ + "." + std::to_string(getpid()) + ".tmp";
  {
    std::ofstream file(partial);
    file << "{\n\"format\": \"" << kFormat << "\"";
    for (const auto& [key, measured] : measured_)
      file << ",\n\"" << key << "\": {\"algorithm\": \"" << hexadecimal(measured.algorithm)
           << "\", \"milliseconds\": " << measured.milliseconds << "}";
    file << "\n}\n";
    if (!file.flush()) {
      std::remove(partial.c_str());
      return;
    }
  }
  if (std::rename(partial.c_str(), path_.c_str())) std::remove(partial.c_str());
}

}  // namespace bertpass::cuda

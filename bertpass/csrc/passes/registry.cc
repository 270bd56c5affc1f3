#include <algorithm>
#include <cctype>
#include <sstream>

#include "graph/error.h"
#include "passes/pass.h"

namespace bertpass {
namespace {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      const bool same = std::tolower(static_cast<unsigned char>(a[i - 1])) ==
                        std::tolower(static_cast<unsigned char>(b[j - 1]));
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (same ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

bool is_gpu(const std::string& device) {
  if (device != "cpu" && device != "gpu") throw PassError("the option device is '" + device + "'; give cpu or gpu.");
  return device == "gpu";
}

}  // namespace

const std::vector<const Pass*>& all_passes() {
  static const std::vector<const Pass*> passes = {&kNativeEncoder, &kRemoveNoops, &kInterleaveQkv, &kBiasGelu};
  return passes;
}

const std::vector<Published>& published_passes() {
  static const std::vector<Published> passes = {
      {"AddBiasGelu", &kBiasGelu}, {"MHAInterleave", &kInterleaveQkv}, {"MaskSoftmax", &kMaskSoftmax}};
  return passes;
}

const Pass& find_pass(const std::string& name) {
  std::vector<Published> all;
  for (const Pass* pass : all_passes()) all.push_back({pass->name, pass});
  all.insert(all.end(), published_passes().begin(), published_passes().end());
  std::string known, nearest;
  std::size_t least = name.size() / 2 + 1;  // further away than this is no hint
  for (const auto& [other, pass] : all) {
    if (name == other) return *pass;
    known += (known.empty() ? "" : ", ") + std::string(other);
    const std::size_t distance = name.size() > 100 ? least : edit_distance(name, other);
    if (distance < least) {
      least = distance;
      nearest = other;
    }
  }
  throw PassError("unknown pass '" + name.substr(0, 100) + "'." +
                  (nearest.empty() ? "" : " Did you mean '" + nearest + "'?") + " Known: " + known + ".");
}

PassOptions options_of(const Pass& pass, const std::map<std::string, std::string>& given) {
  PassOptions options;
  for (const auto& [key, value] : given) {
    if (&pass == &kNativeEncoder && key == "dtype")
      options.dtype = value;
    else if (&pass == &kNativeEncoder && key == "device")
      options.gpu = is_gpu(value);
    else
      throw PassError("the pass '" + std::string(pass.name) + "' takes no option '" + key + "'.");
  }
  return options;
}

Selection select_passes(const std::map<std::string, std::string>& given, bool cuda_engine) {
  std::string names = "auto";
  Selection selection;
  for (const auto& [key, value] : given) {
    if (key == "device")
      selection.options.gpu = is_gpu(value);
    else if (key == "passes")
      names = value;
    else if (key == "dtype")
      selection.options.dtype = value;
    else
      throw PassError("unknown option '" + key + "' for the passes. Known: device, passes, dtype.");
  }
  const bool gpu = selection.options.gpu;
  if (names == "auto") {
    for (const Pass* pass : all_passes())
      if (gpu ? pass->on_gpu && (pass != &kNativeEncoder || cuda_engine) : pass->on_cpu) selection.passes.push_back(pass);
    return selection;
  }
  std::istringstream list(names);
  for (std::string name; std::getline(list, name, ',');) selection.passes.push_back(&find_pass(name));
  return selection;
}

}  // namespace bertpass

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

}  // namespace

const std::vector<const Pass*>& all_passes() {
  static const std::vector<const Pass*> passes = {&kNativeEncoder, &kRemoveNoops, &kInterleaveQkv, &kBiasGelu};
  return passes;
}

const Pass& find_pass(const std::string& name) {
  std::string known;
  const Pass* nearest = nullptr;
  std::size_t least = name.size() / 2 + 1;  // further away than this is no hint
  for (const Pass* pass : all_passes()) {
    if (name == pass->name) return *pass;
    known += (known.empty() ? "" : ", ") + std::string(pass->name);
    const std::size_t distance = name.size() > 100 ? least : edit_distance(name, pass->name);
    if (distance < least) {
      least = distance;
      nearest = pass;
    }
  }
  throw PassError("unknown pass '" + name.substr(0, 100) + "'." +
                  (nearest ? " Did you mean '" + std::string(nearest->name) + "'?" : "") + " Known: " + known + ".");
}

PassOptions options_of(const Pass& pass, const std::map<std::string, std::string>& given) {
  PassOptions options;
  for (const auto& [key, value] : given) {
    if (&pass != &kNativeEncoder || key != "dtype")
      throw PassError("the pass '" + std::string(pass.name) + "' takes no option '" + key + "'.");
    options.dtype = value;
  }
  return options;
}

Selection select_passes(const std::map<std::string, std::string>& given) {
  std::string device = "cpu", names = "auto";
  Selection selection;
  for (const auto& [key, value] : given) {
    if (key == "device")
      device = value;
    else if (key == "passes")
      names = value;
    else if (key == "dtype")
      selection.options.dtype = value;
    else
      throw PassError("unknown option '" + key + "' for the passes. Known: device, passes, dtype.");
  }
  if (device != "cpu" && device != "gpu") throw PassError("the option device is '" + device + "'; give cpu or gpu.");
  if (names == "auto") {
    for (const Pass* pass : all_passes())
      if (device == "gpu" ? pass->on_gpu : pass->on_cpu) selection.passes.push_back(pass);
    return selection;
  }
  std::istringstream list(names);
  for (std::string name; std::getline(list, name, ',');) {
    const Pass& pass = find_pass(name);
    if (&pass == &kNativeEncoder && device == "gpu")
      throw PassError("the pass 'native_encoder' is for CPUs; leave it out on a GPU.");
    selection.passes.push_back(&pass);
  }
  return selection;
}

}  // namespace bertpass

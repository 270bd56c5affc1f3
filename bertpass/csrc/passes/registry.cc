// The list of passes, and the choice among them: for Python, and for the pass "bertpass" of MXNet's library.
#include <algorithm>
#include <set>
#include <sstream>

#include "graph/error.h"
#include "passes/pass.h"

namespace bertpass {
namespace {

const Pass kMkldnn = {"mkldnn", "MXNet's own subgraph backend: oneDNN operators with their neighbours fused; the saved "
                      "files then run on CPUs only", /*on_cpu=*/true, /*on_gpu=*/false, nullptr};

// All names, our own first.
const std::vector<Published>& named() {
  static const std::vector<Published> names = [] {
    std::vector<Published> all;
    for (const Pass* pass : all_passes()) all.push_back({pass->name, pass});
    all.insert(all.end(), published_passes().begin(), published_passes().end());
    return all;
  }();
  return names;
}

const Published& find_name(const std::string& name) {
  std::vector<std::string> known;
  for (const Published& one : named()) {
    if (name == one.name) return one;
    known.push_back(one.name);
  }
  throw UnknownName("pass", name.substr(0, 100), known);
}

// The names in words of one or several, with commas and spaces between them.
std::vector<std::string> split(const std::vector<std::string>& words) {
  std::vector<std::string> names;
  for (std::string word : words) {
    std::replace(word.begin(), word.end(), ',', ' ');
    std::istringstream list(word);
    for (std::string name; list >> name;) names.push_back(name);
  }
  if (names.empty() && !words.empty()) throw PassError("no pass is named; give auto, none or names.");
  return names;
}

bool by_default(const Pass& pass, bool gpu, const Installed& installed) {
  if (gpu) return pass.on_gpu && (installed.cuda_engine || !pass.needs_cuda_engine);
  return pass.on_cpu && (installed.mxnet || pass.run);
}

void check_dtype(const Selection& selection, const PassOptions& options) {
  const auto takes = [](const Pass* pass) { return pass->takes("dtype"); };
  if (!options.lowers() || std::any_of(selection.passes.begin(), selection.passes.end(), takes)) return;
  std::vector<std::string> takers;
  for (const Pass* pass : all_passes())
    if (takes(pass)) takers.push_back(pass->name);
  throw PassError("dtype " + options.dtype + ": only the pass " + joined(takers) + " computes in it and it is not among "
                  "the passes; add it or leave dtype at float32.");
}

}  // namespace

bool Pass::takes(const std::string& option) const {
  return std::any_of(options.begin(), options.end(), [&](const PassOption& one) { return option == one.name; });
}

const std::vector<const Pass*>& all_passes() {
  static const std::vector<const Pass*> passes = {&kNativeEncoder, &kRemoveNoops, &kInterleaveQkv, &kBiasGelu,
                                                  &kMkldnn};
  return passes;
}

const std::vector<Published>& published_passes() {
  // GluonNLP's MaskSoftmax computes the mask of the attention once for all layers, as a sum before a softmax without
  // lengths, which oneDNN has an operator for. The results are those of the softmax with lengths.
  static const std::vector<Published> passes = {
      {"AddBiasGelu", &kBiasGelu},
      {"MHAInterleave", &kInterleaveQkv},
      {"MaskSoftmax", nullptr, "changes nothing here: the softmax is over the valid tokens anyway"}};
  return passes;
}

const Pass& find_pass(const std::string& name) {
  const Published& found = find_name(name);
  if (!found.pass) throw PassError("the pass " + name + " " + found.note + ".");
  return *found.pass;
}

PassOptions options_of(const GivenOptions& given) {
  PassOptions options;
  for (const auto& [key, value] : given) {
    if (key == "dtype") {
      options.dtype = value;
    } else if (key == "device") {
      if (value != "cpu" && value != "gpu") throw UnknownName("device", value, {"cpu", "gpu"});
      options.gpu = value == "gpu";
    } else {
      throw UnknownName("option", key, {"device", "passes", "dtype"});  // of the pass "bertpass"
    }
  }
  return options;
}

PassOptions options_of(const Pass& pass, const GivenOptions& given) {
  for (const auto& [key, value] : given)
    if (!pass.takes(key)) throw PassError("the pass '" + std::string(pass.name) + "' takes no option '" + key + "'.");
  return options_of(given);
}

Selection select_passes(const std::vector<std::string>& asked, const PassOptions& options, const Installed& installed) {
  const std::vector<std::string> names = split(asked);
  Selection selection;
  if (names == std::vector<std::string>{"auto"}) {
    for (const Pass* pass : all_passes())
      if (by_default(*pass, options.gpu, installed)) selection.passes.push_back(pass);
  } else if (names != std::vector<std::string>{"none"}) {
    std::set<std::string> given;
    for (const std::string& name : names) {
      if (name == "auto" || name == "none")
        throw PassError("'" + name + "' stands alone: give it, or names of passes.");
      const Published& found = find_name(name);
      const std::string own = found.pass ? found.pass->name : found.name;
      if (!given.insert(own).second) throw PassError("the pass '" + own + "' is given twice; name each pass once.");
      if (found.pass)
        selection.passes.push_back(found.pass);
      else
        selection.notes.push_back("the pass " + own + " " + found.note);
    }
    std::stable_partition(selection.passes.begin(), selection.passes.end(), [](const Pass* pass) { return pass->run; });
  }
  check_dtype(selection, options);
  return selection;
}

}  // namespace bertpass

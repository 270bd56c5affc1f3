// The interface of a graph pass, the list of passes, the choice among them, and the one way to run them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "passes/parameters.h"

namespace bertpass {

using GivenOptions = std::map<std::string, std::string>;

// What a caller may ask of a pass.
struct PassOptions {
  // Of the encoder that a pass puts in: on a CPU a precision plan (layer/types.h), float32 where it is empty; on a GPU
  // float32, float16 or bfloat16, that of the parameters where it is empty.
  std::string dtype;
  bool gpu = false;  // the device that the graph is to run on

  bool lowers() const { return !dtype.empty() && dtype != "float32"; }
};

// An option that a pass takes, and for people its values.
struct PassOption {
  const char* name;
  const char* allowed;
};

// A row of the list: everything that is special about a pass is said here, and nothing else asks for its name.
struct Pass {
  const char* name;
  const char* documentation;  // one line
  bool on_cpu;                // part of the list that runs by default for this device
  bool on_gpu;
  // Rewrites `graph` and gives the number of places rewritten. It may leave dead nodes behind and append nodes in any
  // order: run_pass() puts the graph in order. It leaves doubtful places alone. nullptr: MXNet has the pass.
  std::size_t (*run)(Graph& graph, Parameters& parameters, const PassOptions& options);
  std::vector<PassOption> options = {};
  bool takes_encoder = false;      // where it rewrites, an encoder is gone, and with it what other passes look for
  bool needs_cuda_engine = false;  // the CUDA engine computes what it puts into a graph for a GPU
  bool reads_factors = false;      // of calibration: parameters that no graph uses

  bool takes(const std::string& option) const;
};

// One definition a file; the order is the order in which they run.
extern const Pass kNativeEncoder;
extern const Pass kRemoveNoops;
extern const Pass kInterleaveQkv;
extern const Pass kBiasGelu;

const std::vector<const Pass*>& all_passes();

// A name by which GluonNLP's scripts call a pass, and the pass that does the same here: nullptr where nothing has to be
// done, for the reason in `note`.
struct Published {
  const char* name;
  const Pass* pass;
  const char* note = "";
};
const std::vector<Published>& published_passes();

// The pass of this name. Throws UnknownName.
const Pass& find_pass(const std::string& name);

// The options of one pass, or of several. Throws PassError for one that is unknown or that the pass does not take.
PassOptions options_of(const GivenOptions& given);
PassOptions options_of(const Pass& pass, const GivenOptions& given);

// What is installed that computes rewritten graphs, or runs passes of its own.
struct Installed {
  bool mxnet = false;
  bool cuda_engine = false;
};

struct Selection {
  std::vector<const Pass*> passes;
  std::vector<std::string> notes;  // sentences for the person who asked
};

// The one choice of passes: "auto", for those that run by default for the device and whose needs are installed; "none";
// or names, published ones too, each word of `asked` one or several with commas. They run in the order given, MXNet's own
// last: these hide from the others what they have taken. Throws PassError for an unknown name, one given twice, and a
// dtype below float32 that no chosen pass takes.
Selection select_passes(const std::vector<std::string>& asked, const PassOptions& options, const Installed& installed);

struct PassResult {
  std::string name;
  std::size_t rewrites = 0;
  std::vector<std::string> added;    // arguments that the graph has now and had not before
  std::vector<std::string> removed;  // arguments that the graph had and has no more
};

// Run a pass over a verified graph, remove what it left dead, and verify the graph and its heads. Throws GraphError if
// they do not verify, and PassError for a dtype below float32 that the pass takes and finds no use for.
PassResult run_pass(const Pass& pass, Graph& graph, Parameters& parameters, const PassOptions& options);

// The results as JSON: {"passes": [{"name", "rewrites", "added", "removed"}, ...]}.
std::string results_json(const std::vector<PassResult>& results);

}  // namespace bertpass

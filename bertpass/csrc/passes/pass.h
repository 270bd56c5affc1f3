// The interface of a graph pass, the list of passes, and the one way to run them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "passes/parameters.h"

namespace bertpass {

// What a caller may ask of a pass.
struct PassOptions {
  // Of the encoder that native_encoder puts in: on a CPU a precision plan (layer/types.h), float32 where it is empty; on
  // a GPU float32, float16 or bfloat16, that of the parameters where it is empty.
  std::string dtype;
  bool gpu = false;  // the device that the graph is to run on; only native_encoder asks
};

struct Pass {
  const char* name;
  const char* documentation;  // one line
  bool on_cpu;                // part of the list that runs by default for this device
  bool on_gpu;
  // Rewrites `graph` and gives the number of places rewritten. It may leave dead nodes behind and append nodes in any
  // order: run_pass() puts the graph in order. A place that it is not sure of it leaves alone.
  std::size_t (*run)(Graph& graph, Parameters& parameters, const PassOptions& options);
};

// One definition a file; the order is the order in which they run.
extern const Pass kNativeEncoder;
extern const Pass kRemoveNoops;
extern const Pass kInterleaveQkv;
extern const Pass kBiasGelu;

const std::vector<const Pass*>& all_passes();

// A name by which GluonNLP's scripts call a pass, and the pass that does the same here. kMaskSoftmax is in no other list:
// it changes nothing.
struct Published {
  const char* name;
  const Pass* pass;
};
extern const Pass kMaskSoftmax;
const std::vector<Published>& published_passes();

// The pass of this name, which may be a published one. Throws PassError, with the known names and the nearest, for an
// unknown one.
const Pass& find_pass(const std::string& name);

// The options of one pass: native_encoder takes "dtype" and "device" ("cpu", the default, or "gpu"). Throws PassError for
// any other.
PassOptions options_of(const Pass& pass, const std::map<std::string, std::string>& given);

struct Selection {
  std::vector<const Pass*> passes;
  PassOptions options;
};

// The passes to run for options "device" ("cpu", the default, or "gpu"), "passes" (comma-separated names, or "auto", the
// default: those that the device runs by default, native_encoder on a GPU only with `cuda_engine`) and "dtype" (see
// PassOptions). Throws PassError for any other option or value.
Selection select_passes(const std::map<std::string, std::string>& given, bool cuda_engine);

struct PassResult {
  std::string name;
  std::size_t rewrites = 0;
  std::vector<std::string> added;    // arguments that the graph has now and had not before
  std::vector<std::string> removed;  // arguments that the graph had and has no more
};

// Run a pass, remove what it left dead, and verify the graph and its heads. Throws GraphError if they do not verify.
PassResult run_pass(const Pass& pass, Graph& graph, Parameters& parameters, const PassOptions& options);

// The results as JSON: {"passes": [{"name", "rewrites", "added", "removed"}, ...]}.
std::string results_json(const std::vector<PassResult>& results);

}  // namespace bertpass

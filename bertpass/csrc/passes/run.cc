#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "graph/error.h"
#include "graph/verify.h"
#include "passes/pass.h"

namespace bertpass {
namespace {

std::vector<std::string> missing_from(const std::vector<std::string>& names, const std::vector<std::string>& others) {
  const std::set<std::string> known(others.begin(), others.end());
  std::vector<std::string> missing;
  std::copy_if(names.begin(), names.end(), std::back_inserter(missing),
               [&](const std::string& name) { return !known.count(name); });
  return missing;
}

}  // namespace

PassResult run_pass(const Pass& pass, Graph& graph, Parameters& parameters, const PassOptions& options) {
  if (!pass.run)
    throw PassError("the pass '" + std::string(pass.name) + "' is MXNet's own and runs in MXNet alone; leave it out.");
  const std::vector<std::string> arguments = graph.arguments();
  const std::vector<std::string> heads = head_names(graph);
  PassResult result;
  result.name = pass.name;
  result.rewrites = pass.run(graph, parameters, options);
  if (result.rewrites == 0 && pass.takes("dtype") && options.lowers())
    throw PassError("dtype " + options.dtype + ": the pass " + pass.name + " finds no encoder in this graph that it can "
                    "take, so nothing would be computed in it; use float32.");
  graph.compact();
  verify_graph(graph);
  verify_heads(heads, graph);
  result.added = missing_from(graph.arguments(), arguments);
  result.removed = missing_from(arguments, graph.arguments());
  return result;
}

std::string results_json(const std::vector<PassResult>& results) {
  auto passes = nlohmann::json::array();
  for (const PassResult& result : results)
    passes.push_back({{"name", result.name},
                      {"rewrites", result.rewrites},
                      {"added", result.added},
                      {"removed", result.removed}});
  return nlohmann::json{{"passes", passes}}.dump();
}

}  // namespace bertpass

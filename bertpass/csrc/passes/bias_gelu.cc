// bias_gelu: take the bias out of FullyConnected -> LeakyReLU(gelu), so that MXNet's pointwise fusion on the GPU joins
// bias and GELU in one kernel.
//
//   LeakyReLU(FullyConnected(x, w, b, flatten=False), act_type=gelu)
//   -> y = FullyConnected(x, w, no_bias=True)
//      LeakyReLU(elemwise_add(y, broadcast_like(expand_dims(expand_dims(b, 0), 0), y)), act_type=gelu)
//
// The detour over broadcast_like is needed because the fusion takes elemwise_add and not broadcast_add. The two
// expand_dims fit an output of three dimensions, so only where those are certain is the graph rewritten. On the CPU the
// rewrite would hide the pair from oneDNN's own FullyConnected + GELU.
#include <string>

#include "graph/match.h"
#include "graph/shapes.h"
#include "passes/pass.h"

namespace bertpass {
namespace {

constexpr int kDimensions = 3;

std::size_t run(Graph& graph, Parameters&, const PassOptions&) {
  const Uses uses(graph);
  const std::vector<int> dimensions = ranks(graph);
  const std::size_t count = graph.nodes.size();
  std::size_t rewrites = 0;
  for (std::size_t gelu = 0; gelu < count; ++gelu) {
    if (graph.nodes[gelu].op != "LeakyReLU" || text_attribute(graph.nodes[gelu], "act_type", "leaky") != "gelu") continue;
    const std::ptrdiff_t found = private_input(graph, uses, gelu, 0, "FullyConnected");
    if (found < 0) continue;
    const auto fc = static_cast<std::size_t>(found);
    const Node& node = graph.nodes[fc];
    if (flag_attribute(node, "no_bias", false) != false || flag_attribute(node, "flatten", true) != false ||
        node.inputs.size() != 3 || dimensions[fc] != kDimensions)
      continue;
    const std::string base = node.name;
    const Entry bias = node.inputs[2];
    graph.nodes[fc].inputs.pop_back();
    graph.nodes[fc].attrs["no_bias"] = "True";
    const auto append = [&](const char* op, const std::string& suffix, std::vector<Entry> inputs,
                            std::map<std::string, std::string> attrs) {
      Node added;
      added.op = op;
      added.name = graph.unique_name(base + suffix);
      added.inputs = std::move(inputs);
      added.attrs = std::move(attrs);
      return Entry{graph.add(std::move(added)), 0, 0};
    };
    const Entry product = {fc, 0, 0};
    const Entry row = append("expand_dims", "_bias_row", {bias}, {{"axis", "0"}});
    const Entry block = append("expand_dims", "_bias_block", {row}, {{"axis", "0"}});
    const Entry spread = append("broadcast_like", "_bias_like", {block, product}, {});
    const Entry sum = append("elemwise_add", "_bias_add", {product, spread}, {});
    graph.nodes[gelu].inputs[0] = sum;
    ++rewrites;
  }
  return rewrites;
}

}  // namespace

const Pass kBiasGelu = {
    "bias_gelu", "detach the bias before a GELU, so that MXNet's pointwise fusion on the GPU takes bias and GELU",
    /*on_cpu=*/false, /*on_gpu=*/true, run};

}  // namespace bertpass

// remove_noops: remove what does nothing at inference: Dropout(mode=training) and identity.
//
// A node whose output is a head stays, because the name of the head would change; so does a Dropout of which the mask,
// its second output, is used, and a node with a control dependency.
#include "graph/match.h"
#include "passes/pass.h"

namespace bertpass {
namespace {

std::size_t run(Graph& graph, Parameters&, const PassOptions&) {
  const Uses uses(graph);
  std::size_t rewrites = 0;
  for (std::size_t at = 0; at < graph.nodes.size(); ++at) {
    if (!is_noop(graph.nodes[at]) || uses.is_head(at)) continue;
    bool only_first = true;
    for (const Use& use : uses.of(at)) only_first = only_first && use.output == 0;
    if (!only_first) continue;
    // Nodes come after their inputs, so the input of a chain of such nodes is already the one before the chain.
    const Entry source = graph.nodes[at].inputs[0];
    for (const Use& use : uses.of(at)) graph.nodes[use.node].inputs[use.slot] = source;
    ++rewrites;
  }
  return rewrites;
}

}  // namespace

const Pass kRemoveNoops = {"remove_noops", "remove Dropout and identity nodes, which do nothing at inference",
                           /*on_cpu=*/true, /*on_gpu=*/true, run};

}  // namespace bertpass

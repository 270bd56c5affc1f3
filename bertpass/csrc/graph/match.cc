#include "graph/match.h"

#include <algorithm>

#include "graph/attributes.h"

namespace bertpass {

Uses::Uses(const Graph& graph) : uses_(graph.nodes.size()), held_(graph.nodes.size(), false) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    for (std::size_t slot = 0; slot < node.inputs.size(); ++slot)
      uses_[node.inputs[slot].node].push_back({i, slot, node.inputs[slot].output});
    for (std::size_t dep : node.control_deps) held_[dep] = true;
  }
  for (const Entry& head : graph.heads) held_[head.node] = true;
}

bool Uses::only_used_once(std::size_t node) const {
  return !held_[node] && uses_[node].size() == 1 && uses_[node][0].output == 0;
}

bool is_noop(const Node& node) {
  if (node.inputs.size() != 1 || !node.control_deps.empty()) return false;
  if (node.op == "Dropout") return text_attribute(node, "mode", "training") == "training";
  return node.op == "identity" || node.op == "_copy";
}

std::ptrdiff_t private_input(const Graph& graph, const Uses& uses, std::size_t node, std::size_t slot,
                             const std::string& op) {
  const std::vector<Entry>& inputs = graph.nodes[node].inputs;
  if (slot >= inputs.size()) return -1;
  const std::size_t source = inputs[slot].node;
  if (graph.nodes[source].op != op || !uses.only_used_once(source)) return -1;
  return static_cast<std::ptrdiff_t>(source);
}

const Node* Region::take(const Entry& entry, const std::string& op, std::size_t inputs) {
  const Node& found = node(entry);
  if (entry.output != 0 || found.op != op || found.inputs.size() != inputs || !found.control_deps.empty())
    return nullptr;
  add(entry);
  return &found;
}

Entry Region::through_noops(Entry entry) {
  while (entry.output == 0 && is_noop(node(entry))) {
    add(entry);
    entry = node(entry).inputs[0];
  }
  return entry;
}

bool Region::closed(std::size_t last) const {
  return std::all_of(nodes_.begin(), nodes_.end(), [&](std::size_t at) {
    const std::vector<Use>& uses = uses_.of(at);
    return !uses_.is_head(at) && std::all_of(uses.begin(), uses.end(), [&](const Use& use) {
      return use.node == last || nodes_.count(use.node);
    });
  });
}

}  // namespace bertpass

#include "graph/graph.h"

#include <algorithm>
#include <utility>

#include "graph/error.h"

namespace bertpass {

std::size_t Graph::add(Node node) {
  nodes.push_back(std::move(node));
  return nodes.size() - 1;
}

std::vector<std::size_t> Graph::order() const {
  enum class State : unsigned char { kNew, kOpen, kDone };
  std::vector<State> state(nodes.size(), State::kNew);
  std::vector<std::size_t> sorted;
  sorted.reserve(nodes.size());
  std::vector<std::pair<std::size_t, std::size_t>> stack;  // node, number of its edges already followed
  for (const Entry& head : heads) {
    if (state[head.node] != State::kNew) continue;
    state[head.node] = State::kOpen;
    stack.emplace_back(head.node, 0);
    while (!stack.empty()) {
      auto& [at, followed] = stack.back();
      const Node& node = nodes[at];
      if (followed == node.inputs.size() + node.control_deps.size()) {
        state[at] = State::kDone;
        sorted.push_back(at);
        stack.pop_back();
        continue;
      }
      const std::size_t next = followed < node.inputs.size() ? node.inputs[followed].node
                                                             : node.control_deps[followed - node.inputs.size()];
      ++followed;
      if (state[next] == State::kOpen)
        throw GraphError("the graph has a cycle through node '" + nodes[next].name + "'; export the model again.");
      if (state[next] == State::kNew) {
        state[next] = State::kOpen;
        stack.emplace_back(next, 0);
      }
    }
  }
  return sorted;
}

void Graph::compact() {
  const std::vector<std::size_t> kept = order();
  std::vector<std::size_t> moved(nodes.size(), 0);
  for (std::size_t i = 0; i < kept.size(); ++i) moved[kept[i]] = i;
  std::vector<Node> sorted;
  sorted.reserve(kept.size());
  for (std::size_t old : kept) {
    Node node = std::move(nodes[old]);
    for (Entry& input : node.inputs) input.node = moved[input.node];
    for (std::size_t& dep : node.control_deps) dep = moved[dep];
    sorted.push_back(std::move(node));
  }
  nodes = std::move(sorted);
  for (Entry& head : heads) head.node = moved[head.node];
}

std::vector<std::string> Graph::arguments() const {
  std::vector<std::string> names;
  for (const Node& node : nodes)
    if (node.is_variable()) names.push_back(node.name);
  return names;
}

std::string Graph::unique_name(const std::string& wanted) const {
  const auto used = [&](const std::string& name) {
    return std::any_of(nodes.begin(), nodes.end(), [&](const Node& node) { return node.name == name; });
  };
  std::string name = wanted;
  for (int i = 1; used(name); ++i) name = wanted + "_" + std::to_string(i);
  return name;
}

}  // namespace bertpass

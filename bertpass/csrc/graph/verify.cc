#include "graph/verify.h"

#include <set>

#include "graph/error.h"

namespace bertpass {
namespace {

void check_entry(const Graph& graph, const Entry& entry, std::size_t limit, const std::string& user) {
  if (entry.node >= limit) throw GraphError(user + " uses a node that is not defined before it.");
  const Node& source = graph.nodes[entry.node];
  if (entry.output >= source.num_outputs)
    throw GraphError(user + " uses output " + std::to_string(entry.output) + " of node '" + source.name +
                     "', which has " + std::to_string(source.num_outputs) + ".");
}

bool declared_parameter(const Node& node) { return node.attrs.count("__shape__") || node.attrs.count("__lr_mult__"); }

bool takes_weights(const std::string& op, std::size_t slot) {
  if (op == "FullyConnected" || op == "LayerNorm") return slot == 1 || slot == 2;
  return op == "Embedding" && slot == 1;
}

// The sizes that an operator's attributes fix for its input `slot`; 0 where they leave one open, empty for anything.
Shape required_shape(const Node& node, std::size_t slot) {
  if (node.op == "FullyConnected") {
    const auto hidden = integer_attribute(node, "num_hidden");
    if (hidden && slot == 1) return {*hidden, 0};
    if (hidden && slot == 2) return {*hidden};
  }
  if (node.op == "Embedding" && slot == 1) {
    const auto rows = integer_attribute(node, "input_dim"), width = integer_attribute(node, "output_dim");
    if (rows && width) return {*rows, *width};
  }
  return {};
}

bool agrees(const Shape& shape, const Shape& required) {
  if (required.empty()) return true;
  if (shape.size() != required.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (required[i] > 0 && shape[i] != required[i]) return false;
  return true;
}

void require(const std::string& name, const ParameterShapes& shapes, const Shape& required) {
  const auto found = shapes.find(name);
  if (found == shapes.end())
    throw GraphError("the parameter '" + name + "' of the graph is missing from the parameter file.");
  if (!agrees(found->second, required))
    throw GraphError("the parameter '" + name + "' has the shape " + format_shape(found->second) +
                     " where the graph needs " + format_shape(required) + " (0 is any size).");
}

}  // namespace

void verify_graph(const Graph& graph) {
  if (graph.heads.empty()) throw GraphError("the graph has no heads.");
  std::set<std::string> arguments;
  std::vector<bool> needed(graph.nodes.size(), false);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    for (const Entry& input : node.inputs) {
      check_entry(graph, input, i, "node '" + node.name + "'");
      needed[input.node] = true;
    }
    for (std::size_t dep : node.control_deps) {
      check_entry(graph, {dep, 0, 0}, i, "node '" + node.name + "'");
      needed[dep] = true;
    }
    if (node.is_variable() && !arguments.insert(node.name).second)
      throw GraphError("two arguments of the graph have the name '" + node.name + "'.");
  }
  for (const Entry& head : graph.heads) {
    check_entry(graph, head, graph.nodes.size(), "a head");
    needed[head.node] = true;
  }
  // Every node that is used by no other is a head; as uses only point backwards, all others lead to one.
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    if (!needed[i]) throw GraphError("node '" + graph.nodes[i].name + "' is needed by no head of the graph.");
}

std::vector<std::string> head_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Entry& head : graph.heads)
    names.push_back(graph.nodes[head.node].name + " output " + std::to_string(head.output));
  return names;
}

void verify_heads(const std::vector<std::string>& before, const Graph& graph) {
  const std::vector<std::string> after = head_names(graph);
  if (after.size() != before.size())
    throw GraphError("the graph had " + std::to_string(before.size()) + " heads and now has " +
                     std::to_string(after.size()) + ".");
  for (std::size_t i = 0; i < before.size(); ++i)
    if (before[i] != after[i])
      throw GraphError("head " + std::to_string(i) + " was " + before[i] + " and now is " + after[i] + ".");
}

void verify_parameters(const Graph& graph, const ParameterShapes& shapes) {
  for (const Node& node : graph.nodes) {
    if (node.is_variable() && declared_parameter(node)) {
      const auto declared = parse_shape(text_attribute(node, "__shape__", "()"));
      require(node.name, shapes, declared.value_or(Shape{}));
    }
    for (std::size_t slot = 0; slot < node.inputs.size(); ++slot) {
      const Node& source = graph.nodes[node.inputs[slot].node];
      if (!source.is_variable()) continue;
      const Shape required = required_shape(node, slot);
      if (takes_weights(node.op, slot)) require(source.name, shapes, required);
    }
  }
}

}  // namespace bertpass

// The symbol graph: nodes in one array, edges by position in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace bertpass {

inline constexpr const char* kVariable = "null";  // the operator name of an argument in MXNet's JSON

// One output of a node, as an input of another or as a head of the graph.
struct Entry {
  std::size_t node = 0;
  std::uint32_t output = 0;
  std::uint32_t version = 0;

  bool operator==(const Entry& other) const { return node == other.node && output == other.output; }
};

struct Node {
  std::string op;
  std::string name;
  std::map<std::string, std::string> attrs;
  std::vector<Entry> inputs;
  std::vector<std::size_t> control_deps;
  std::uint32_t num_outputs = 1;
  nlohmann::json subgraphs;  // an array kept as it was read, or null

  bool is_variable() const { return op == kVariable; }
};

struct Graph {
  std::vector<Node> nodes;
  std::vector<Entry> heads;
  nlohmann::json attrs;  // the graph's own attributes as they were read, or null

  std::size_t add(Node node);

  // Positions of the nodes that the heads need, each after the nodes that it needs, in the order in which NNVM visits
  // them (depth first, inputs from left to right), which is the order of MXNet's argument lists.
  // Throws GraphError on a cycle.
  std::vector<std::size_t> order() const;

  // Keep only what order() gives, in that order.
  void compact();

  // Names of the variables among all nodes, in their order.
  std::vector<std::string> arguments() const;

  // `wanted`, or the first of `wanted`_1, `wanted`_2, ... that no node has.
  std::string unique_name(const std::string& wanted) const;
};

}  // namespace bertpass

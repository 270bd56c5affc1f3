// Structural matching: who uses what, and walking up from a node to its only source.
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace bertpass {

// One use of a node's output: input number `slot` of node `node`.
struct Use {
  std::size_t node = 0;
  std::size_t slot = 0;
  std::uint32_t output = 0;
};

// Every use of every node of a graph, at the time it was made.
class Uses {
 public:
  explicit Uses(const Graph& graph);

  const std::vector<Use>& of(std::size_t node) const { return uses_[node]; }
  bool is_head(std::size_t node) const { return held_[node]; }

  // One use alone, of output 0, and no head or control dependency on the node: the only case in which a rewrite may
  // take the node away with its user.
  bool only_used_once(std::size_t node) const;

 private:
  std::vector<std::vector<Use>> uses_;
  std::vector<bool> held_;  // by a head or a control dependency
};

// Whether a node hands on its one input at inference: identity, or Dropout that is active in training only.
bool is_noop(const Node& node);

// The node that feeds input `slot` of `node` by its output 0 and has the operator `op` and no other user; -1 otherwise.
std::ptrdiff_t private_input(const Graph& graph, const Uses& uses, std::size_t node, std::size_t slot,
                             const std::string& op);

// The nodes that a rewrite takes away, collected while a pattern is followed upwards from its last node.
class Region {
 public:
  Region(const Graph& graph, const Uses& uses) : graph_(graph), uses_(uses) {}

  const Node& node(const Entry& entry) const { return graph_.nodes[entry.node]; }
  void add(const Entry& entry) { nodes_.insert(entry.node); }

  // Add the node behind an entry if the entry is its output 0 and it has this operator, as many inputs and no control
  // dependency; null otherwise.
  const Node* take(const Entry& entry, const std::string& op, std::size_t inputs);

  // The entry behind all nodes that hand on their input (see is_noop), which are added.
  Entry through_noops(Entry entry);

  // Whether all of it serves `last` and itself alone, so that nothing is missing once it is gone.
  bool closed(std::size_t last) const;

 private:
  const Graph& graph_;
  const Uses& uses_;
  std::set<std::size_t> nodes_;
};

}  // namespace bertpass

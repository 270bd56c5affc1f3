// MXNet's symbol JSON, read and written.
#pragma once

#include <string>

#include "graph/graph.h"

namespace bertpass {

// Read a symbol as MXNet 0.x to 1.9 write it: node attributes under "attrs", "attr" or "param", entries with or without
// a version, nested "subgraphs" kept as they are. Throws GraphError, with one sentence, for everything else; the graph
// that comes back has valid positions everywhere and no cycle among the nodes that its heads need.
Graph parse_graph(const std::string& text);

// Write a symbol as MXNet 1.x does. The nodes must be in an order in which each follows its inputs (see
// Graph::compact).
std::string dump_graph(const Graph& graph);

}  // namespace bertpass

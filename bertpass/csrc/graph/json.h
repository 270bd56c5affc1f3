// MXNet's symbol JSON, read and written.
#pragma once

#include <string>

#include "graph/graph.h"

namespace bertpass {

// Read a symbol as MXNet 0.x to 1.9 write it: node attributes under "attrs", "attr" or "param", entries with or without
// a version, nested "subgraphs" kept as they are. Throws GraphError, with one sentence, for everything else. The graph
// that comes back is compact and verified (verify_graph), without the attributes __ext_* that MXNet's shape inference
// leaves on nodes when it calls a pass.
Graph parse_graph(const std::string& text);

// Write a symbol as MXNet 1.x does. The graph must be compact.
std::string dump_graph(const Graph& graph);

}  // namespace bertpass

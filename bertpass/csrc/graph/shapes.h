// As much shape arithmetic as the passes need to be sure of a match without MXNet.
#pragma once

#include <optional>
#include <vector>

#include "graph/attributes.h"
#include "graph/graph.h"

namespace bertpass {

// The shape that MXNet's Reshape makes of `from`. `target` may hold sizes, 0 (keep the size at this place) and one -1
// (whatever is left); `reverse` matches places from the right. Nothing where MXNet would refuse, and for Reshape's
// other codes (-2, -3, -4).
std::optional<Shape> reshaped(const Shape& from, const Shape& target, bool reverse);

// The shape that the Reshape node makes of `from`.
std::optional<Shape> reshaped(const Shape& from, const Node& reshape);

// The number of dimensions of output 0 of every node, where the operators say it; -1 elsewhere. The nodes must be in
// the order of Graph::compact.
std::vector<int> ranks(const Graph& graph);

}  // namespace bertpass

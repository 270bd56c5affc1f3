// The weights of query, key and value as GluonNLP's self-attention joins them in the graph.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "graph/match.h"
#include "passes/parameters.h"

namespace bertpass {

// Three parameters that are joined head by head, and what they become.
struct Join {
  std::array<const Tensor*, 3> parts{};
  std::int64_t heads = 0;
  Shape result;
};

// Match input `slot` of the FullyConnected node `fc`: Reshape(Concat or stack of three Reshape(parameter)), all of which
// must serve nothing else. The pointers hold until the next Parameters::allocate().
std::optional<Join> match_join(const Graph& graph, const Uses& uses, const Parameters& parameters, std::size_t fc,
                               std::size_t slot);

}  // namespace bertpass

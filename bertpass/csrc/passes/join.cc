#include "passes/join.h"

#include "graph/shapes.h"

namespace bertpass {
namespace {

bool joins_per_head(const Node& node, std::size_t rank) {
  const auto inputs = integer_attribute(node, "num_args");
  if (node.inputs.size() != 3 || (inputs && *inputs != 3)) return false;
  // Each part is (heads, rows, ...): Concat puts the rows of one head one after the other; stack makes a new dimension
  // between heads and rows, which the Reshape after it removes.
  const bool stack = node.op == "stack";
  const auto axis = parse_integer(text_attribute(node, stack ? "axis" : "dim", stack ? "0" : "1"));
  const auto dimensions = static_cast<std::int64_t>(rank + (stack ? 1 : 0));
  return axis && (*axis < 0 ? *axis + dimensions : *axis) == 1;
}

}  // namespace

std::optional<Join> match_join(const Graph& graph, const Uses& uses, const Parameters& parameters, std::size_t fc,
                               std::size_t slot) {
  const std::ptrdiff_t last = private_input(graph, uses, fc, slot, "Reshape");
  if (last < 0) return std::nullopt;
  std::ptrdiff_t middle = private_input(graph, uses, last, 0, "Concat");
  if (middle < 0) middle = private_input(graph, uses, last, 0, "stack");
  if (middle < 0 || graph.nodes[middle].inputs.size() != 3) return std::nullopt;
  Join join;
  for (std::size_t i = 0; i < 3; ++i) {
    const std::ptrdiff_t split = private_input(graph, uses, middle, i, "Reshape");
    const std::ptrdiff_t variable = split < 0 ? -1 : private_input(graph, uses, split, 0, kVariable);
    if (variable < 0) return std::nullopt;
    const Tensor* part = parameters.find(graph.nodes[variable].name);
    if (!part || part->shape.empty() || part->shape.size() > 2) return std::nullopt;
    const Tensor& first = i ? *join.parts[0] : *part;
    if (part->shape != first.shape || part->dtype != first.dtype || part->itemsize != first.itemsize)
      return std::nullopt;
    const auto shape = reshaped(part->shape, graph.nodes[split]);
    if (!shape || shape->size() != part->shape.size() + 1) return std::nullopt;
    if (shape->size() == 3 && shape->back() != part->shape.back()) return std::nullopt;
    const std::int64_t heads = shape->front();
    if (i && heads != join.heads) return std::nullopt;
    join.heads = heads;
    join.parts[i] = part;
  }
  const Shape& part = join.parts[0]->shape;
  if (!joins_per_head(graph.nodes[middle], part.size() + 1)) return std::nullopt;
  Shape joined = part;  // (heads, 3 * rows, ...) or (heads, 3, rows, ...)
  joined.front() /= join.heads;
  if (graph.nodes[middle].op == "stack")
    joined.insert(joined.begin(), 3);
  else
    joined.front() *= 3;
  joined.insert(joined.begin(), join.heads);
  join.result = part;
  join.result.front() *= 3;
  const auto shape = reshaped(joined, graph.nodes[last]);
  if (!shape || *shape != join.result) return std::nullopt;
  return join;
}

}  // namespace bertpass

// interleave_qkv: compute once, at deployment, what GluonNLP's self-attention computes anew in every forward call.
//
//   FullyConnected(x, weight, bias, flatten=False) -> only _contrib_interleaved_matmul_selfatt_{qk,valatt}(heads=H)
//     weight = Reshape(Concat or stack over the heads' rows (Reshape(w_q), Reshape(w_k), Reshape(w_v)))
//     bias   = the same of b_q, b_k, b_v, or none
//
// becomes FullyConnected(x, weight', bias') with two new arguments. With U = H * P units, row r of head h goes from
// w_i[h * P + r] to weight'[(h * 3 + i) * P + r], and the bias likewise, which is bit for bit what the removed nodes
// compute. Which of the three is the query cannot be known and does not matter: their order is kept.
#include <array>
#include <optional>
#include <string>

#include "graph/match.h"
#include "graph/shapes.h"
#include "passes/interleave.h"
#include "passes/pass.h"

namespace bertpass {
namespace {

// Three parameters that are joined head by head, and what they become.
struct Join {
  std::array<const Tensor*, 3> parts{};
  std::int64_t heads = 0;
  Shape result;
};

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

// Match input `slot` of the FullyConnected node `fc`, all of whose sources must serve nothing else.
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

bool only_feeds_attention(const Graph& graph, const Uses& uses, std::size_t fc, std::int64_t heads) {
  if (uses.is_head(fc) || uses.of(fc).empty()) return false;
  for (const Use& use : uses.of(fc)) {
    const Node& user = graph.nodes[use.node];
    const bool attention = user.op == "_contrib_interleaved_matmul_selfatt_qk" ||
                           user.op == "_contrib_interleaved_matmul_selfatt_valatt";
    if (!attention || use.slot != 0 || integer_attribute(user, "heads") != heads) return false;
  }
  return true;
}

void replace(Graph& graph, Parameters& parameters, std::size_t fc, std::size_t slot, const char* what, Join join) {
  std::string name = graph.unique_name(graph.nodes[fc].name + "_interleaved_" + what);
  while (parameters.find(name)) name = graph.unique_name(name + "_new");
  std::size_t head_bytes = join.parts[0]->itemsize;
  for (std::int64_t size : join.parts[0]->shape) head_bytes *= static_cast<std::size_t>(size);
  head_bytes /= static_cast<std::size_t>(join.heads);
  // The pointers to the tensors do not outlive allocate(); the memory that they point to does.
  const Tensor like = *join.parts[0];
  const std::array<const void*, 3> data = {join.parts[0]->data, join.parts[1]->data, join.parts[2]->data};
  interleave(data, static_cast<std::size_t>(join.heads), head_bytes, parameters.allocate(name, join.result, like));
  Node variable;
  variable.op = kVariable;
  variable.name = name;
  variable.attrs["__shape__"] = format_shape(join.result);
  const std::size_t added = graph.add(std::move(variable));
  graph.nodes[fc].inputs[slot] = {added, 0, 0};
}

std::size_t run(Graph& graph, Parameters& parameters) {
  const Uses uses(graph);
  const std::size_t count = graph.nodes.size();
  std::size_t rewrites = 0;
  for (std::size_t fc = 0; fc < count; ++fc) {
    const Node& node = graph.nodes[fc];
    if (node.op != "FullyConnected" || flag_attribute(node, "flatten", true) != false) continue;
    const auto no_bias = flag_attribute(node, "no_bias", false);
    if (!no_bias || node.inputs.size() != (*no_bias ? 2u : 3u)) continue;
    const auto weight = match_join(graph, uses, parameters, fc, 1);
    if (!weight || weight->result.size() != 2) continue;
    if (integer_attribute(node, "num_hidden") != weight->result.front()) continue;
    if (!only_feeds_attention(graph, uses, fc, weight->heads)) continue;
    if (!*no_bias) {
      const auto bias = match_join(graph, uses, parameters, fc, 2);
      if (!bias || bias->heads != weight->heads || bias->result != Shape{weight->result.front()}) continue;
      // The weight goes first and may move the tensors that `bias` points to: match again after it.
      replace(graph, parameters, fc, 1, "weight", *weight);
      replace(graph, parameters, fc, 2, "bias", *match_join(graph, uses, parameters, fc, 2));
    } else {
      replace(graph, parameters, fc, 1, "weight", *weight);
    }
    ++rewrites;
  }
  return rewrites;
}

}  // namespace

const Pass kInterleaveQkv = {
    "interleave_qkv",
    "fold the rearranging of query, key and value weights and biases into one weight and one bias per layer",
    /*on_cpu=*/true, /*on_gpu=*/true, run};

}  // namespace bertpass

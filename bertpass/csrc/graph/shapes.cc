#include "graph/shapes.h"

#include <algorithm>
#include <set>
#include <string>

namespace bertpass {
namespace {

// Operators whose output 0 has as many dimensions as their first input.
const std::set<std::string>& keep_rank() {
  static const std::set<std::string> ops = {
      "LayerNorm", "Dropout", "identity", "_copy", "elemwise_add", "elemwise_mul", "elemwise_sub", "Cast", "LeakyReLU",
      "Activation", "softmax", "_plus_scalar", "_mul_scalar", "_div_scalar", "broadcast_like", "L2Normalization",
      "zeros_like", "ones_like", "SequenceMask", "SequenceReverse", "_contrib_div_sqrt_dim"};
  return ops;
}

int rank_of(const Node& node, const std::vector<int>& known) {
  const int first = node.inputs.empty() ? -1 : known[node.inputs[0].node];
  if (keep_rank().count(node.op)) {
    // An elementwise operator's inputs have one shape: any of them that is known will do.
    if (first < 0 && node.op.rfind("elemwise_", 0) == 0 && node.inputs.size() == 2) return known[node.inputs[1].node];
    return first;
  }
  if (node.op == "FullyConnected") {
    const auto flatten = flag_attribute(node, "flatten", true);
    return !flatten ? -1 : *flatten ? 2 : first;
  }
  if (node.op == "_contrib_interleaved_matmul_selfatt_qk" || node.op == "_contrib_interleaved_matmul_selfatt_valatt")
    return 3;
  if (node.op == "broadcast_add" || node.op == "broadcast_mul" || node.op == "broadcast_sub") {
    const int second = node.inputs.size() == 2 ? known[node.inputs[1].node] : -1;
    return first < 0 || second < 0 ? -1 : std::max(first, second);
  }
  if (node.op == "expand_dims" || node.op == "Embedding") return first < 0 ? -1 : first + 1;
  if (node.op == "transpose") {
    const auto axes = parse_shape(text_attribute(node, "axes", "()"));
    return !axes ? -1 : axes->empty() ? first : static_cast<int>(axes->size());
  }
  if (node.op == "Reshape") {
    const auto target = parse_shape(text_attribute(node, "shape", ""));
    if (!target || std::any_of(target->begin(), target->end(), [](std::int64_t size) { return size < -1; })) return -1;
    return static_cast<int>(target->size());
  }
  return -1;
}

}  // namespace

std::optional<Shape> reshaped(const Shape& from, const Shape& target, bool reverse) {
  Shape source = from, wanted = target;
  if (reverse) {
    std::reverse(source.begin(), source.end());
    std::reverse(wanted.begin(), wanted.end());
  }
  std::int64_t total = 1, product = 1;
  for (std::int64_t size : source)
    if (size <= 0 || __builtin_mul_overflow(total, size, &total)) return std::nullopt;
  std::ptrdiff_t open = -1;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == 0) {
      if (i >= source.size()) return std::nullopt;
      wanted[i] = source[i];
    } else if (wanted[i] == -1) {
      if (open >= 0) return std::nullopt;
      open = static_cast<std::ptrdiff_t>(i);
      continue;
    }
    if (wanted[i] < 0 || __builtin_mul_overflow(product, wanted[i], &product)) return std::nullopt;
  }
  if (open >= 0) {
    if (total % product) return std::nullopt;
    wanted[open] = total / product;
  } else if (product != total) {
    return std::nullopt;
  }
  if (reverse) std::reverse(wanted.begin(), wanted.end());
  return wanted;
}

std::optional<Shape> reshaped(const Shape& from, const Node& reshape) {
  const auto target = parse_shape(text_attribute(reshape, "shape", ""));
  const auto reverse = flag_attribute(reshape, "reverse", false);
  if (!target || target->empty() || !reverse) return std::nullopt;
  return reshaped(from, *target, *reverse);
}

std::vector<int> ranks(const Graph& graph) {
  std::vector<int> known(graph.nodes.size(), -1);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) known[i] = rank_of(graph.nodes[i], known);
  return known;
}

}  // namespace bertpass

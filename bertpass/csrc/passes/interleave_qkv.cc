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
#include <string>

#include "passes/join.h"
#include "passes/pass.h"
#include "schema/interleave.h"

namespace bertpass {
namespace {

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
  native::interleave(data, static_cast<std::size_t>(join.heads), head_bytes,
                     parameters.allocate(name, join.result, like));
  Node variable;
  variable.op = kVariable;
  variable.name = name;
  variable.attrs["__shape__"] = format_shape(join.result);
  const std::size_t added = graph.add(std::move(variable));
  graph.nodes[fc].inputs[slot] = {added, 0, 0};
}

std::size_t run(Graph& graph, Parameters& parameters, const PassOptions&) {
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

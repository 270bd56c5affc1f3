// native_encoder: swap a whole encoder, from its ids to the states of its tokens, for one operator that runs this
// package's CPU engine.
//
// What is matched stands in encoder_match.h. The transpose at its end becomes the operator (encoder_operator.h) and keeps
// its name. The embeddings' parameters stay; all weights of the layers leave the parameters and enter again as one,
// packed as the engine reads them (encoder/packed.h). Its element type is float32 because MXNet 1.7 can make no other in
// a pass; the bytes mean something else.
#include <cstring>
#include <string>

#include "encoder/packed.h"
#include "graph/error.h"
#include "ops/processors.h"
#include "passes/encoder_match.h"
#include "passes/encoder_operator.h"
#include "passes/pass.h"

namespace bertpass {
namespace {

std::string text_of(native::Activation activation) {
  switch (activation) {
    case native::Activation::gelu: return "gelu";
    case native::Activation::gelu_tanh: return "gelu_tanh";
    default: return "relu";
  }
}

void replace(Graph& graph, Parameters& parameters, std::size_t output, const EncoderMatch& match,
             const std::string& dtype) {
  const native::Index bytes = native::packed_bytes(match.shape);
  EncoderOperator op;
  op.units = match.shape.widths.units;
  op.vocabulary = match.vocabulary;
  op.positions = match.positions;
  op.token_types = match.token_types;
  op.packed = (bytes + 3) / 4;
  op.epsilon = match.epsilon;

  std::string name = graph.unique_name(graph.nodes[output].name + "_packed");
  while (parameters.find(name)) name = graph.unique_name(name + "_new");
  const Tensor like = *parameters.find(graph.nodes[match.parameters.front().node].name);
  // The memory of the parameters that `match` points to outlives this; what describes them may move.
  void* packed = parameters.allocate(name, {op.packed}, like);
  std::memset(packed, 0, static_cast<std::size_t>(op.packed) * 4);  // what lies between the parts too
  native::pack_layers(native::Team(native::default_threads()), match.shape, match.weights.data(), packed);

  Node blob;
  blob.op = kVariable;
  blob.name = name;
  blob.attrs["__shape__"] = format_shape({op.packed});
  const Entry added = {graph.add(std::move(blob)), 0, 0};
  Node& node = graph.nodes[output];
  node.op = kEncoderOperator;
  node.attrs = op.attributes();
  node.attrs.insert({{"layers", std::to_string(match.shape.layers)},
                     {"hidden", std::to_string(match.shape.widths.hidden)},
                     {"heads", std::to_string(match.shape.widths.heads)},
                     {"activation", text_of(match.shape.activation)},
                     {"dtype", dtype}});
  node.inputs = {match.ids};
  if (match.types) node.inputs.push_back(*match.types);
  node.inputs.push_back(match.valid_length);
  node.inputs.insert(node.inputs.end(), match.parameters.begin(), match.parameters.end());
  node.inputs.push_back(added);
}

std::vector<native::LayerTypes> types_of(const std::string& plan, native::Index layers) {
  try {
    return native::read_plan(plan, layers);
  } catch (const native::PlanError& error) {
    throw PassError("the option dtype of native_encoder: " + std::string(error.what()));
  }
}

std::size_t run(Graph& graph, Parameters& parameters, const PassOptions& options) {
  types_of(options.dtype.substr(0, options.dtype.find(',')), 1);  // a wrong name is refused without an encoder too
  const Uses uses(graph);
  const std::size_t count = graph.nodes.size();
  std::size_t rewrites = 0;
  for (std::size_t output = 0; output < count; ++output) {
    if (graph.nodes[output].op != "transpose") continue;
    auto match = match_encoder(graph, uses, parameters, output);
    if (!match) continue;
    match->shape.types = types_of(options.dtype, match->shape.layers);
    replace(graph, parameters, output, *match, options.dtype);
    ++rewrites;
  }
  return rewrites;
}

}  // namespace

const Pass kNativeEncoder = {
    "native_encoder",
    "swap a whole encoder for one operator that runs this package's CPU engine; the files then need bertpass_lib.so",
    /*on_cpu=*/true, /*on_gpu=*/false, run};

}  // namespace bertpass

// native_encoder: swap a whole encoder, from its ids to the states of its tokens, for one operator that runs this
// package's own engine: that for CPUs, or for a graph that is to run on a GPU the CUDA engine.
//
// What is matched stands in encoder_match.h. For a CPU the transpose at its end becomes the operator (encoder_operator.h)
// and keeps its name. The embeddings' parameters stay; all weights of the layers leave the parameters and enter again as
// one, packed as the engine reads them (encoder/packed.h). For a GPU the embeddings go into the one parameter as well, as
// they are (encoder_weights.h), and where the graph is float16 the transpose becomes a Cast behind the operator. The
// parameter's element type is float32 because MXNet 1.7 can make no other in a pass; the packed bytes mean something else.
#include <cstring>
#include <string>
#include <utility>

#include <bertpass_cuda.h>

#include "encoder/packed.h"
#include "graph/error.h"
#include "ops/processors.h"
#include "passes/encoder_match.h"
#include "passes/encoder_operator.h"
#include "passes/encoder_weights.h"
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

EncoderOperator operator_of(const EncoderMatch& match, EncoderForm form, const std::string& dtype) {
  EncoderOperator op;
  op.form = form;
  op.units = match.shape.widths.units;
  op.vocabulary = match.vocabulary;
  op.positions = match.positions;
  op.token_types = match.token_types;
  op.epsilon = match.epsilon;
  op.layers = match.shape.layers;
  op.hidden = match.shape.widths.hidden;
  op.heads = match.shape.widths.heads;
  op.activation = text_of(match.shape.activation);
  op.dtype = dtype;
  op.packed = form == EncoderForm::packed ? (native::packed_bytes(match.shape) + 3) / 4 : unpacked_floats(op);
  return op;
}

// Adds the variable of a new parameter of op.packed floats.
std::pair<Entry, float*> parameter(Graph& graph, Parameters& parameters, const std::string& wanted,
                                   const EncoderOperator& op) {
  std::string name = graph.unique_name(wanted);
  while (parameters.find(name)) name = graph.unique_name(name + "_new");
  // The memory of the parameters that a match points to outlives this; what describes them may move.
  float* const memory = parameters.allocate_float32(name, {op.packed});
  Node variable;
  variable.op = kVariable;
  variable.name = name;
  variable.attrs["__shape__"] = format_shape({op.packed});
  return {{graph.add(std::move(variable)), 0, 0}, memory};
}

Node node_of(const EncoderOperator& op, const EncoderMatch& match, std::string name) {
  Node node;
  node.op = kEncoderOperator;
  node.name = std::move(name);
  node.attrs = op.attributes();
  node.inputs = {match.ids};
  if (match.types) node.inputs.push_back(*match.types);
  node.inputs.push_back(match.valid_length);
  return node;
}

void for_cpu(Graph& graph, Parameters& parameters, std::size_t output, const EncoderMatch& match,
             const std::string& dtype) {
  const EncoderOperator op = operator_of(match, EncoderForm::packed, dtype);
  const std::string name = graph.nodes[output].name;
  const auto [added, packed] = parameter(graph, parameters, name + "_packed", op);
  std::memset(packed, 0, static_cast<std::size_t>(op.packed) * 4);  // what lies between the parts too
  native::pack_layers(native::Team(native::default_threads()), match.shape, match.weights.data(), packed);
  Node node = node_of(op, match, name);
  node.inputs.insert(node.inputs.end(), match.parameters.begin(), match.parameters.end());
  node.inputs.push_back(added);
  graph.nodes[output] = std::move(node);
}

void for_gpu(Graph& graph, Parameters& parameters, std::size_t output, const EncoderMatch& match,
             const std::string& dtype) {
  const EncoderOperator op = operator_of(match, EncoderForm::unpacked, dtype);
  const std::string name = graph.nodes[output].name;
  const auto [added, weights] = parameter(graph, parameters, name + "_weights", op);
  write_unpacked(op, match, weights);
  const bool half = match.number == Number::float16;
  Node node = node_of(op, match, half ? graph.unique_name(name + "_float32") : name);
  node.inputs.push_back(added);
  if (half) {
    Node cast;
    cast.op = "Cast";
    cast.name = name;
    cast.attrs["dtype"] = "float16";
    cast.inputs = {{graph.add(std::move(node)), 0, 0}};
    node = std::move(cast);
  }
  graph.nodes[output] = std::move(node);
}

std::vector<native::LayerTypes> types_of(const std::string& plan, native::Index layers) {
  try {
    return native::read_plan(plan, layers);
  } catch (const native::PlanError& error) {
    throw PassError("the option dtype of native_encoder: " + std::string(error.what()));
  }
}

// Of the operator on a GPU: what is asked for, else that of the graph.
std::string gpu_dtype(const std::string& asked, const EncoderMatch& match) {
  return !asked.empty() ? asked : match.number == Number::float16 ? "float16" : "float32";
}

// Refuses a wrong name, with or without an encoder in the graph.
void check(const PassOptions& options) {
  const std::string& dtype = options.dtype;
  if (options.gpu && !dtype.empty() && dtype != "float32" && dtype != "float16" && dtype != "bfloat16")
    throw PassError("the option dtype of native_encoder on a GPU is '" + dtype +
                    "'; give one of float32, float16, bfloat16.");
  if (!options.gpu && !dtype.empty()) types_of(dtype.substr(0, dtype.find(',')), 1);
}

std::size_t run(Graph& graph, Parameters& parameters, const PassOptions& options) {
  check(options);
  const std::string plan = options.dtype.empty() ? "float32" : options.dtype;
  const Uses uses(graph);
  const std::size_t count = graph.nodes.size();
  std::size_t rewrites = 0;
  for (std::size_t output = 0; output < count; ++output) {
    if (graph.nodes[output].op != "transpose") continue;
    auto match = match_encoder(graph, uses, parameters, output, options.gpu);
    if (!match) continue;
    const native::Widths& widths = match->shape.widths;
    if (!options.gpu) {
      match->shape.types = types_of(plan, match->shape.layers);
      for_cpu(graph, parameters, output, *match, plan);
    } else if (bertpass_cuda_computes(static_cast<std::int32_t>(widths.units), static_cast<std::int32_t>(widths.hidden),
                                      static_cast<std::int32_t>(widths.heads))) {
      for_gpu(graph, parameters, output, *match, gpu_dtype(options.dtype, *match));
    } else {
      continue;
    }
    ++rewrites;
  }
  return rewrites;
}

}  // namespace

const Pass kNativeEncoder = {
    "native_encoder",
    "swap a whole encoder for one operator that runs this package's CPU or CUDA engine; the files then need "
    "bertpass_lib.so",
    /*on_cpu=*/true, /*on_gpu=*/true, run,
    {{"dtype", "on a CPU a precision plan of float32, bfloat16 and int8; on a GPU float32, float16 or bfloat16"},
     {"device", "cpu or gpu"}},
    /*takes_encoder=*/true, /*needs_cuda_engine=*/true, /*reads_factors=*/true};

}  // namespace bertpass

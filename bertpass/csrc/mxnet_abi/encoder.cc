// The operator bertpass_encoder (passes/encoder_operator.h) and its forward on a CPU; encoder_gpu.cc has that on a GPU. It
// has no state: its weights come in with every call. Safe in several threads at once.
#include <cstdint>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "encoder/inputs.h"
#include "graph/error.h"
#include "kernels/select.h"
#include "mxnet_abi/encoder_inputs.h"
#include "mxnet_abi/operator.h"
#include "ops/pool.h"
#include "ops/processors.h"
#include "passes/encoder_operator.h"

namespace bertpass::abi {
namespace {

using native::Index;

// What one call needs to itself. The threads of MXNet's engine and all encoders of the process share the pool.
struct Arena {
  std::vector<std::int32_t> ids, types, lengths;
  native::Ragged ragged;
  native::Workspace work;
};

native::Pool<Arena>& arenas() {
  static native::Pool<Arena> pool;
  return pool;
}

int inputs(const Attributes& attributes) { return EncoderOperator::read(attributes).inputs(); }

Signature shapes(const Attributes& attributes, const std::vector<Shape>& known) {
  const EncoderOperator op = EncoderOperator::read(attributes);
  const Shape& ids = known[0];
  if (ids.size() != 2)
    throw PassError(std::string(kEncoderOperator) + " needs ids of a known shape (batch, length) to infer shapes.");
  Signature all;
  all.inputs.assign(op.data_inputs(), ids);
  all.inputs.back() = {ids[0]};
  for (const Shape& shape : op.parameter_shapes()) all.inputs.push_back(shape);
  all.outputs = {{ids[0], ids[1], op.units}};
  return all;
}

// Ids and lengths may have any type; the parameters are float32, packed weights of any precision among them.
void types(const Attributes& attributes, int* inputs, int count) {
  for (int i = EncoderOperator::read(attributes).data_inputs(); i < count; ++i)
    need_type(kEncoderOperator, inputs[i], kFloat32);
}

// Throws for ids or lengths that are out of range and for weights of another form or version.
void forward(const Call& call) {
  static const native::Kernels& kernels = native::select_kernels("");
  static const int default_threads = native::default_threads();
  const EncoderOperator op = EncoderOperator::read(call.attributes);
  if (op.form != EncoderForm::packed)
    throw PassError(std::string(kEncoderOperator) + " holds weights for a GPU here and runs on a CPU; deploy the model "
                    "again without --gpu, or run it on a GPU.");
  const native::Team team(op.threads ? static_cast<int>(op.threads) : default_threads);
  const int first = op.data_inputs();
  const auto parameter = [&](int number) { return call.floats(first + number); };
  const int after_tables = op.token_types ? 3 : 2;
  native::Encoder encoder;
  encoder.tables = {parameter(0), parameter(1), op.token_types ? parameter(2) : nullptr, op.units};
  encoder.embedding_norm = {parameter(after_tables), parameter(after_tables + 1), op.units,
                            static_cast<float>(*parse_real(op.epsilon))};
  encoder.layers = native::PackedLayers(parameter(after_tables + 2), op.packed * 4);
  if (encoder.layers.shape().widths.units != op.units)
    throw PassError("the packed weights are of another model than the graph; deploy the model again.");

  const native::Pool<Arena>::Lease lease(arenas());
  Arena& arena = *lease;
  const Index batch = call.shapes[0][0], length = call.shapes[0][1];
  read_whole(call.inputs[0], call.types[0], batch * length, arena.ids);
  if (op.token_types) read_whole(call.inputs[1], call.types[1], batch * length, arena.types);
  read_whole(call.inputs[first - 1], call.types[first - 1], batch, arena.lengths);
  const std::int32_t* token_types = op.token_types ? arena.types.data() : nullptr;
  native::check({arena.ids.data(), token_types, arena.lengths.data(), batch, length},
                {op.vocabulary, op.token_types, op.positions, 0});
  arena.ragged.set(arena.lengths.data(), batch, length);
  if (arena.ragged.tokens())
    encoder.forward(kernels, team, arena.ids.data(), token_types, arena.ragged, arena.work);
  native::unpack(team, arena.work.stream, arena.ragged, op.units, call.out(0));
}

// A gradient has to be there, or MXNet refuses to record and to hybridise the blocks around it.
void backward(const Call&) {
  throw PassError(std::string(kEncoderOperator) + " has no gradient; train the plain model and deploy it again.");
}

}  // namespace

const Operator kEncoder = {kEncoderOperator, inputs, 1, shapes, types, forward, encoder_gpu_forward, backward};

}  // namespace bertpass::abi

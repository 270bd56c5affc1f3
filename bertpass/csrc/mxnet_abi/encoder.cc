#include "mxnet_abi/encoder.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "encoder/encoder.h"
#include "encoder/inputs.h"
#include "graph/error.h"
#include "kernels/select.h"
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

// A number that no table and no sequence has stands for all that int32 does not hold.
template <class T>
std::int32_t whole(T value) {
  return value > T(-2147483000) && value < T(2147483000) ? static_cast<std::int32_t>(value) : -1;
}

template <class T>
void copy(const void* data, Index count, std::vector<std::int32_t>& out) {
  const T* from = static_cast<const T*>(data);
  out.resize(count);
  std::transform(from, from + count, out.begin(), whole<T>);
}

void read(const void* data, int type, Index count, std::vector<std::int32_t>& out) {
  switch (type) {  // mshadow's flags; fractions are cut off, as by MXNet's Cast
    case 0: return copy<float>(data, count, out);
    case 1: return copy<double>(data, count, out);
    case 4: return copy<std::int32_t>(data, count, out);
    case 6: return copy<std::int64_t>(data, count, out);
    default:
      throw PassError(std::string(kEncoderOperator) +
                      " takes ids and lengths of float32, float64, int32 or int64; cast them before.");
  }
}

}  // namespace

void compute_encoder(const Attributes& attributes, const std::int64_t* const* shapes, void* const* data,
                     const int* types, float* out) {
  static const native::Kernels& kernels = native::select_kernels("");
  static const int default_threads = native::default_threads();
  const EncoderOperator op = EncoderOperator::read(attributes);
  const native::Team team(op.threads ? static_cast<int>(op.threads) : default_threads);
  const int first = op.data_inputs();
  const auto parameter = [&](int number) { return static_cast<const float*>(data[first + number]); };
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
  const Index batch = shapes[0][0], length = shapes[0][1];
  read(data[0], types[0], batch * length, arena.ids);
  if (op.token_types) read(data[1], types[1], batch * length, arena.types);
  read(data[first - 1], types[first - 1], batch, arena.lengths);
  const std::int32_t* token_types = op.token_types ? arena.types.data() : nullptr;
  native::check({arena.ids.data(), token_types, arena.lengths.data(), batch, length},
                {op.vocabulary, op.token_types, op.positions, 0});
  arena.ragged.set(arena.lengths.data(), batch);
  if (arena.ragged.tokens())
    encoder.forward(kernels, team, arena.ids.data(), token_types, length, arena.ragged, arena.work);
  native::unpack(team, arena.work.stream, arena.ragged, length, op.units, out);
}

}  // namespace bertpass::abi

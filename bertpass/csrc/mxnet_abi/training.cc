// The operators of fine-tuning on CPUs (bertpass/jobs/training/mxnet/packed_network.py): attention and layer normalisation with
// their dropout, and gradients. Rows are tokens, without padding.
//
//   bertpass_train_attention  qkv (rows, 3 units): q of all heads, then k, then v; offsets (sequences + 1) int32;
//     seed (2) int32 -> out (rows, units), logarithms (rows, heads).      Attributes: heads, dropout, place.
//   bertpass_train_sum_norm   x, residual (rows, units); gamma, beta (units); seed (2) int32
//     -> layer_norm(dropout(x) + residual).                               Attributes: epsilon, dropout, place.
//
// What is dropped follows from seed and place alone, the number of the operator in its network. Integers have no gradient.
#include <cmath>
#include <string>

#include "graph/error.h"
#include "kernels/select.h"
#include "mxnet_abi/operator.h"
#include "ops/processors.h"
#include "training/attention.h"
#include "training/norm.h"

namespace bertpass::abi {
namespace {

constexpr const char* kAttentionName = "bertpass_train_attention";
constexpr const char* kSumNormName = "bertpass_train_sum_norm";

const native::Kernels& kernels() {
  static const native::Kernels& chosen = native::select_kernels("");
  return chosen;
}

native::Team team() {
  static const int threads = native::default_threads();
  return native::Team(threads);
}

[[noreturn]] void refuse(const char* name, const std::string& what) {
  throw PassError(std::string(name) + " needs " + what + ".");
}

const std::string& text(const char* name, const Attributes& attributes, const char* key) {
  const auto found = attributes.find(key);
  if (found == attributes.end()) refuse(name, "the attribute '" + std::string(key) + "'");
  return found->second;
}

std::int64_t whole(const char* name, const Attributes& attributes, const char* key, std::int64_t least) {
  const auto value = parse_integer(text(name, attributes, key));
  if (!value || *value < least) refuse(name, "a whole number from " + std::to_string(least) + " as '" + key + "'");
  return *value;
}

float real(const char* name, const Attributes& attributes, const char* key, double below) {
  const auto value = parse_real(text(name, attributes, key));
  if (!value || *value < 0 || *value >= below) refuse(name, "a number that is at least 0 and below " +
                                                      std::to_string(below) + " as '" + key + "'");
  return static_cast<float>(*value);
}

native::Drops drops(const char* name, const Call& call, const std::int32_t* seed) {
  return {real(name, call.attributes, "dropout", 1), seed,
          static_cast<std::uint32_t>(whole(name, call.attributes, "place", 0))};
}

int attention_inputs(const Attributes&) { return 3; }

Signature attention_shapes(const Attributes& attributes, const std::vector<Shape>& known) {
  const Shape &qkv = known[0], &offsets = known[1];
  const std::int64_t heads = whole(kAttentionName, attributes, "heads", 1);
  if (qkv.size() != 2 || qkv[1] % (3 * heads) || offsets.size() != 1 || offsets[0] < 1)
    refuse(kAttentionName, "qkv of the shape (rows, 3 x units) and offsets of the shape (sequences + 1)");
  return {{qkv, offsets, {2}}, {{qkv[0], qkv[1] / 3}, {qkv[0], heads}}};
}

void attention_types(const Attributes&, int* inputs, int) {
  need_type(kAttentionName, inputs[0], kFloat32);
  need_type(kAttentionName, inputs[1], kInt32);
  need_type(kAttentionName, inputs[2], kInt32);
}

native::AttentionShape attention_shape(const Call& call, int first) {
  const std::int64_t heads = whole(kAttentionName, call.attributes, "heads", 1);
  const std::int64_t rows = call.shapes[first][0], sequences = call.shapes[first + 1][0] - 1;
  const std::int32_t* offsets = call.integers(first + 1);
  bool rising = offsets[0] == 0 && offsets[sequences] <= rows;
  for (std::int64_t s = 0; s < sequences; ++s) rising = rising && offsets[s] <= offsets[s + 1];
  if (!rising) refuse(kAttentionName, "offsets that rise from 0 to at most the number of rows");
  return {rows, sequences, heads, call.shapes[first][1] / 3 / heads, offsets};
}

void attention(const Call& call) {
  native::attention_forward(kernels(), team(), attention_shape(call, 0), drops(kAttentionName, call, call.integers(2)),
                            call.floats(0), call.out(0), call.out(1));
}

// gradients of out and logarithms; qkv, offsets, seed; out, logarithms
void attention_gradient(const Call& call) {
  native::attention_backward(kernels(), team(), attention_shape(call, 2), drops(kAttentionName, call, call.integers(4)),
                             call.floats(2), call.floats(5), call.floats(6), call.floats(0), call.out(0));
}

int sum_norm_inputs(const Attributes&) { return 5; }

Signature sum_norm_shapes(const Attributes&, const std::vector<Shape>& known) {
  const Shape& x = known[0];
  if (x.size() != 2) refuse(kSumNormName, "x of a known shape (rows, units)");
  return {{x, x, {x[1]}, {x[1]}, {2}}, {x}};
}

void sum_norm_types(const Attributes&, int* inputs, int) {
  for (int i = 0; i < 4; ++i) need_type(kSumNormName, inputs[i], kFloat32);
  need_type(kSumNormName, inputs[4], kInt32);
}

native::SumNorm sum_norm_of(const Call& call, int first) {
  return {call.shapes[first][0],  call.shapes[first][1],  real(kSumNormName, call.attributes, "epsilon", HUGE_VAL),
          call.floats(first),     call.floats(first + 1), call.floats(first + 2),
          call.floats(first + 3)};
}

void sum_norm(const Call& call) {
  native::sum_norm_forward(kernels(), team(), sum_norm_of(call, 0), drops(kSumNormName, call, call.integers(4)),
                           call.out(0));
}

// gradient of out; x, residual, gamma, beta, seed; out
void sum_norm_gradient(const Call& call) {
  native::sum_norm_backward(kernels(), team(), sum_norm_of(call, 1), drops(kSumNormName, call, call.integers(5)),
                            call.floats(0), call.out(0), call.out(1), call.out(2), call.out(3));
}

}  // namespace

const Operator kTrainAttention = {kAttentionName,  attention_inputs, 2,
                                  attention_shapes, attention_types, attention, nullptr, attention_gradient};
const Operator kTrainSumNorm = {kSumNormName,   sum_norm_inputs, 1,
                                sum_norm_shapes, sum_norm_types, sum_norm, nullptr, sum_norm_gradient};

}  // namespace bertpass::abi

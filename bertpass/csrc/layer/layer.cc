#include "layer/layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "ops/pack.h"
#include "schema/interleave.h"

namespace bertpass::native {
namespace {

// Of the product before the activation.
Index up_columns(const Widths& w, const LayerForm& form) {
  return form.gated ? 2 * round_up(w.hidden, kPanel / 2) : w.hidden;
}

// Where the parts of a packed layer begin, in bytes: matrices, then the two normalisations.
struct Parts {
  Index qkv = 0, proj, up, down, norms, end;

  Parts(const LayerTypes& types, const Widths& w, const LayerForm& form)
      : proj(qkv + Linear::bytes(types.qkv, 3 * w.units, w.units)),
        up(proj + Linear::bytes(types.proj, w.units, w.units)),
        down(up + Linear::bytes(types.up, up_columns(w, form), w.units)),
        norms(down + Linear::bytes(types.down, w.units, w.hidden)),
        end(norms + round_up(4 * w.units * static_cast<Index>(sizeof(float)), kLine)) {}
};

// The three projections as one, q, k and v of each head in turn, q scaled by 1 / sqrt(head size).
void pack_attention(Type type, const Widths& widths, const LayerWeights& weights, void* out) {
  const Index units = widths.units, size = widths.head_size();
  std::vector<float> joined(3 * units * units), biases(3 * units);
  interleave({weights.query, weights.key, weights.value}, widths.heads, size * units * sizeof(float), joined.data());
  if (weights.query_bias)
    interleave({weights.query_bias, weights.key_bias, weights.value_bias}, widths.heads, size * sizeof(float),
               biases.data());
  const float factor = 1 / std::sqrt(static_cast<float>(size));
  for (Index head = 0; head < widths.heads; ++head) {
    std::for_each_n(joined.begin() + 3 * head * size * units, size * units, [&](float& x) { x *= factor; });
    std::for_each_n(biases.begin() + 3 * head * size, size, [&](float& x) { x *= factor; });
  }
  Linear::pack(type, joined.data(), biases.data(), 3 * units, units, out, weights.factors);
}

// The two products of a gated layer as one, half a panel of each in turn; what fills up the last panel is zero.
void pack_gated(Type type, const Widths& widths, const LayerWeights& weights, void* out, const float* factors) {
  constexpr Index kHalf = kPanel / 2;
  const Index units = widths.units, columns = up_columns(widths, {false, true});
  std::vector<float> joined(columns * units), biases(columns);
  for (Index row = 0; row < widths.hidden; ++row) {
    Index at = row / kHalf * kPanel + row % kHalf;
    for (const auto& [matrix, bias] : {std::pair(weights.up, weights.up_bias), {weights.gate, weights.gate_bias}}) {
      std::copy_n(matrix + row * units, units, joined.begin() + at * units);
      if (bias) biases[at] = bias[row];
      at += kHalf;
    }
  }
  Linear::pack(type, joined.data(), biases.data(), columns, units, out, factors);
}

// Whether threads take heads, each the product for q, k and v and then what attention does with them: these stay in the
// thread's cache. Not where some threads would have a head more than others.
bool by_heads(const Kernels& kernels, const Team& team, const Widths& widths, Type products) {
  return attends_heads(kernels, products, widths.head_size()) &&
         (widths.heads % team.threads() == 0 || widths.heads >= 8 * team.threads());
}

}  // namespace

Layer::Layer(const LayerTypes& types, const Widths& widths, const LayerForm& form, Activation activation, float epsilon,
             Index number, const void* packed)
    : types_(types),
      norm_first_(form.norm_first),
      // what it gives is rounded to what the last product reads
      activation_(activation == Activation::gelu && types.down != Type::float32 ? Activation::gelu_coarse
                                                                                : activation) {
  const Parts at(types, widths, form);
  const char* start = static_cast<const char*>(packed);
  const Index units = widths.units, hidden = widths.hidden;
  qkv_ = Linear(types.qkv, 3 * units, units, start + at.qkv);
  proj_ = Linear(types.proj, units, units, start + at.proj);
  up_ = Linear(types.up, up_columns(widths, form), units, start + at.up, form.gated);
  down_ = Linear(types.down, units, hidden, start + at.down);
  const float* norms = reinterpret_cast<const float*>(start + at.norms);
  if (!norm_first_ || number > 0) attention_norm_ = {norms, norms + units, units, epsilon};
  output_norm_ = {norms + 2 * units, norms + 3 * units, units, epsilon};
}

Index Layer::bytes(const LayerTypes& types, const Widths& widths, const LayerForm& form) {
  return Parts(types, widths, form).end;
}

void Layer::pack(const LayerTypes& types, const Widths& widths, const LayerForm& form, const LayerWeights& weights,
                 void* out) {
  const Parts at(types, widths, form);
  char* start = static_cast<char*>(out);
  const Index units = widths.units, hidden = widths.hidden;
  const float* const factors = weights.factors;
  const auto of = [&](Index first) { return factors ? factors + first : nullptr; };
  pack_attention(types.qkv, widths, weights, start + at.qkv);
  Linear::pack(types.proj, weights.proj, weights.proj_bias, units, units, start + at.proj, of(units));
  if (form.gated)
    pack_gated(types.up, widths, weights, start + at.up, of(2 * units));
  else
    Linear::pack(types.up, weights.up, weights.up_bias, hidden, units, start + at.up, of(2 * units));
  Linear::pack(types.down, weights.down, weights.down_bias, units, hidden, start + at.down, of(3 * units));
  float* norm = reinterpret_cast<float*>(start + at.norms);
  for (const float* vector :
       {weights.attention_gamma, weights.attention_beta, weights.output_gamma, weights.output_beta})
    norm = vector ? std::copy(vector, vector + units, norm) : std::fill_n(norm, units, 0.0f);
}

void Layer::relate(const Kernels& kernels, const Team& team, const Widths& widths, const float* table, const Norm& norm,
                   char* keys, char* queries) const {
  const Index units = widths.units, size = widths.head_size(), rows = widths.distances;
  const Type type = types_.qkv, products = attention_type(kernels, type);
  const Index stride = stride_of(3 * units, sizeof(float)), read_stride = stride_of(units, size_of(type));
  const Index bytes = related_bytes(kernels, widths) / widths.heads;
  const Index read_bytes = rows * read_stride * size_of(type);
  const Index scale_bytes = rows * static_cast<Index>(sizeof(RowScale));
  std::vector<float> normal(rows * units);
  Memory memory(rows * stride * static_cast<Index>(sizeof(float))), read(read_bytes + scale_bytes);
  std::memset(read.as<char>(), 0, read_bytes);
  const Rows both{memory.as<float>(), stride, Type::float32, nullptr};
  const Rows plain{normal.data(), units, Type::float32, nullptr};
  Rows input = plain;
  if (type != Type::float32)
    input = {read.as<char>(), read_stride, type, reinterpret_cast<RowScale*>(read.as<char>() + read_bytes),
             qkv_.reads().factors};
  norm.apply(kernels, team, {const_cast<float*>(table), units, Type::float32, nullptr}, rows, plain,
             type == Type::float32 ? Rows{} : input);
  qkv_.apply(kernels, team, input, rows, Activation::none, {}, both);
  team.loop(widths.heads, static_cast<double>(rows * units), [&](Index head, int) {
    const float* const query = both.floats() + 3 * head * size;
    const auto panels = [&](const float* from, char* to) {
      if (products == Type::bfloat16)
        native::pack(from, 1, stride, size, rows, reinterpret_cast<bf16*>(to));
      else
        native::pack(from, 1, stride, size, rows, reinterpret_cast<float*>(to));
    };
    panels(query, queries + head * bytes);
    panels(query + size, keys + head * bytes);
  });
}

Index Layer::related_bytes(const Kernels& kernels, const Widths& widths) const {
  const Type products = attention_type(kernels, types_.qkv);
  const Index size = packed_size(widths.head_size(), widths.distances, products);
  return widths.heads * round_up(size * size_of(products), kLine);
}

void Layer::attend_by_heads(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets,
                            Index sequences, const Rows& input, const AttentionForm& attention,
                            const Activations& work) const {
  const Index rows = offsets[sequences] - offsets[0], size = widths.head_size(), panels = 3 * size / kPanel;
  const Index threads = team.threads();
  const Type products = attention_type(kernels, types_.qkv);
  const Rows mixed = work.mixed.as({before(kernels, types_.proj)});
  team.loop(widths.heads, static_cast<double>(rows * 3 * widths.units * widths.units), [&](Index head, int thread) {
    const Rows qkv = work.head.from(thread * work.group).as({products});
    const bool last = (head + 1) * threads % widths.heads == 0;
    qkv_.apply_panels(kernels, input, rows, head * panels, (head + 1) * panels, qkv,
                      last ? proj_.start(thread, threads) : nullptr);
    if (thread == 0) work.lap(Stage::qkv);
    attend_head(kernels, offsets, sequences, head, size, qkv, attention, mixed.from(0, head * size),
                work.scratch + thread * work.scratch_of_a_thread);
    if (thread == 0) work.lap(Stage::attention);
  });
  work.lap(Stage::attention);
}

Rows Layer::normalised(const Kernels& kernels, const Team& team, const Norm& norm, const Linear& product, Index first,
                       Index rows, const Activations& work) const {
  const Rows normed = work.normed.as({}), low = work.lowered(product.reads(), first);
  norm.apply(kernels, team, work.stream.from(first), rows, normed, low);
  work.lap(Stage::norm);
  return low.data ? low : normed;
}

void Layer::forward(const Kernels& kernels, const Team& team, const Widths& widths, const Index* offsets,
                    Index sequences, const AttentionForm& form, const Activations& work) const {
  const Index first = offsets[0], rows = offsets[sequences] - first;
  const Rows stream = work.stream.from(first);
  // The residual stream as a product reads it; the normalisation before it has written it so.
  const auto input = [&](const Linear& product) {
    return product.reads().type == Type::float32 ? stream : work.lowered(product.reads(), first);
  };
  // Other rows as a product reads them, which are in the type before() it.
  const auto ready = [&](const Rows& x, Type type, Index columns, const Rows& bytes) {
    if (type != Type::int8) return x;
    quantize(kernels, team, x, rows, columns, bytes);
    work.lap(Stage::quantize);
    return bytes;
  };
  const Type products = attention_type(kernels, types_.qkv);
  const Rows mixed = work.mixed.as({before(kernels, types_.proj)});
  const bool as_it_is = !norm_first_ || !attention_norm_.gamma;
  const Rows given = as_it_is ? input(qkv_) : normalised(kernels, team, attention_norm_, qkv_, first, rows, work);
  if (by_heads(kernels, team, widths, products)) {
    attend_by_heads(kernels, team, widths, offsets, sequences, given, form, work);
  } else {
    const Rows qkv = work.qkv.as({products});
    qkv_.apply(kernels, team, given, rows, Activation::none, {}, qkv, &proj_);
    work.lap(Stage::qkv);
    attention(kernels, team, offsets, sequences, widths.heads, widths.head_size(), qkv, form, mixed, work.scratch,
              work.scratch_of_a_thread);
    work.lap(Stage::attention);
  }
  // qkv has read what was in `low`
  const Rows heads = ready(mixed, types_.proj, widths.units, work.lowered(proj_.reads(), first));
  proj_.apply(kernels, team, heads, rows, Activation::none, stream, stream, &up_);
  work.lap(Stage::projection);
  if (!norm_first_) {
    attention_norm_.apply(kernels, team, stream, rows, stream, work.lowered(up_.reads(), first));
    work.lap(Stage::norm);
  }
  const Rows between =
      norm_first_ ? normalised(kernels, team, output_norm_, up_, first, rows, work) : input(up_);
  const Rows hidden = work.hidden.as({before(kernels, types_.down)});
  up_.apply(kernels, team, between, rows, activation_, {}, hidden, &down_);
  work.lap(Stage::up);
  const Rows inner = ready(hidden, types_.down, widths.hidden, work.hidden_low.as(down_.reads()));
  down_.apply(kernels, team, inner, rows, Activation::none, stream, stream, &next_);
  work.lap(Stage::down);
  if (norm_first_) return;
  output_norm_.apply(kernels, team, stream, rows, stream, work.lowered(next_.reads(), first));
  work.lap(Stage::norm);
}

}  // namespace bertpass::native

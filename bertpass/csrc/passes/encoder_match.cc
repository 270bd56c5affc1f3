#include "passes/encoder_match.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "graph/shapes.h"
#include "passes/half.h"
#include "passes/join.h"
#include "schema/interleave.h"

namespace bertpass {
namespace {

using native::Activation;

bool integer_is(const Node& node, const char* key, std::int64_t value) { return integer_attribute(node, key) == value; }

bool shape_is(const Node& node, const char* key, const Shape& value) {
  return parse_shape(text_attribute(node, key, "")) == value;
}

bool real_is(const Node& node, const char* key, double fallback, double value) {
  return real_attribute(node, key, fallback) == value;
}

// Of the last of three dimensions.
bool last_axis(const Node& node) {
  const auto axis = parse_integer(text_attribute(node, "axis", "-1"));
  return axis == -1 || axis == 2;
}

// One matrix product with its bias.
struct Dense {
  Entry input;
  const float *weight = nullptr, *bias = nullptr;
};

struct Norm {
  Entry input, gamma, beta;
};

// One attempt at a match.
class Matcher {
 public:
  Matcher(const Graph& graph, const Uses& uses, const Parameters& parameters, bool half)
      : graph_(graph), uses_(uses), parameters_(parameters), half_(half), region_(graph, uses) {}

  std::optional<EncoderMatch> match(std::size_t output) {
    const Node& last = graph_.nodes[output];
    if (last.inputs.size() != 1 || !last.control_deps.empty() || !shape_is(last, "axes", {1, 0, 2}))
      return std::nullopt;
    const Node* mask = take(last.inputs[0], "SequenceMask", 2);
    if (!mask || flag_attribute(*mask, "use_sequence_length", false) != true || !real_is(*mask, "value", 0, 0) ||
        parse_integer(text_attribute(*mask, "axis", "0")) != 0)
      return std::nullopt;
    found_.valid_length = mask->inputs[1];
    Entry at = through_noops(mask->inputs[0]);
    while (!is_embedding(at))
      if (!layer(at)) return std::nullopt;
    if (found_.weights.empty() || !embeddings(at) || !region_.closed(output)) return std::nullopt;
    std::reverse(found_.weights.begin(), found_.weights.end());
    found_.shape.layers = static_cast<native::Index>(found_.weights.size());
    found_.shape.epsilon = static_cast<float>(*parse_real(found_.epsilon));
    found_.number = *number_;
    return std::move(found_);
  }

 private:
  const Node& node(const Entry& entry) const { return region_.node(entry); }
  const Node* take(const Entry& entry, const std::string& op, std::size_t inputs) {
    return region_.take(entry, op, inputs);
  }
  Entry through_noops(const Entry& entry) { return region_.through_noops(entry); }

  // The values of a parameter of this shape and of the type that all have; null otherwise.
  const float* parameter(const Entry& entry, const Shape& shape) {
    const Tensor* tensor = node(entry).is_variable() ? parameters_.find(node(entry).name) : nullptr;
    return tensor && tensor->shape == shape ? values(*tensor) : nullptr;
  }

  const float* values(const Tensor& tensor) {
    if (!number_) number_ = tensor.number;
    if (tensor.number != *number_) return nullptr;
    if (tensor.number == Number::float32) return static_cast<const float*>(tensor.data);
    if (tensor.number != Number::float16 || !half_) return nullptr;
    std::size_t count = 1;
    for (const std::int64_t size : tensor.shape) count *= static_cast<std::size_t>(size);
    std::vector<float>& made = found_.converted.emplace_back(count);
    const auto* from = static_cast<const std::uint16_t*>(tensor.data);
    std::transform(from, from + count, made.begin(), from_half);
    return made.data();
  }

  // The same for one that goes away.
  const float* weight(const Entry& entry, const Shape& shape) {
    region_.add(entry);
    return parameter(entry, shape);
  }

  // What calibration has put beside the normalisation that has this gamma: a parameter that the graph does not use.
  const float* factors(const Entry& gamma, std::int64_t count) const {
    const std::string ending = ".gamma";
    std::string name = node(gamma).name;
    if (name.size() < ending.size() || name.compare(name.size() - ending.size(), ending.size(), ending) != 0)
      return nullptr;
    const Tensor* tensor = parameters_.find(name.replace(name.size() - ending.size(), ending.size(), native::kFactors));
    const bool fits = tensor && tensor->number == Number::float32 && tensor->shape == Shape{count};
    return fits ? static_cast<const float*>(tensor->data) : nullptr;
  }

  // All normalisations must have one epsilon.
  std::optional<Norm> norm(const Entry& entry) {
    const Node* found = take(entry, "LayerNorm", 3);
    if (!found || !last_axis(*found)) return std::nullopt;
    const std::string epsilon = text_attribute(*found, "eps", "1e-5");
    const auto value = parse_real(epsilon);
    if (found_.epsilon.empty()) found_.epsilon = epsilon;
    if (!value || value != parse_real(found_.epsilon)) return std::nullopt;
    return Norm{through_noops(found->inputs[0]), found->inputs[1], found->inputs[2]};
  }

  const Node* fully_connected(const Entry& entry, std::int64_t columns) {
    const Node* found = take(entry, "FullyConnected", 3);
    const bool fits = found && flag_attribute(*found, "flatten", true) == false &&
                      flag_attribute(*found, "no_bias", false) == false && integer_is(*found, "num_hidden", columns);
    return fits ? found : nullptr;
  }

  std::optional<Dense> dense(const Entry& entry, std::int64_t columns, std::int64_t depth) {
    const Node* found = fully_connected(entry, columns);
    if (!found) return std::nullopt;
    const Dense made = {through_noops(found->inputs[0]), weight(found->inputs[1], {columns, depth}),
                        weight(found->inputs[2], {columns})};
    return made.weight && made.bias ? std::optional(made) : std::nullopt;
  }

  // A sum of a matrix product and the residual stream, in either order: first the product's entry.
  std::optional<std::array<Entry, 2>> residual(const Entry& entry) {
    const Node* sum = take(entry, "elemwise_add", 2);
    if (!sum) return std::nullopt;
    std::array<Entry, 2> sides = {through_noops(sum->inputs[0]), through_noops(sum->inputs[1])};
    if (node(sides[0]).op != "FullyConnected") std::swap(sides[0], sides[1]);
    return sides;
  }

  bool is_embedding(const Entry& entry) {
    const Node& found = node(entry);
    return found.op == "LayerNorm" && !found.inputs.empty() &&
           node(through_noops(found.inputs[0])).op == "broadcast_add";
  }

  // The layer whose output is `at`, which becomes its input.
  bool layer(Entry& at) {
    const auto output_norm = norm(at);
    const auto output_sum = output_norm ? residual(output_norm->input) : std::nullopt;
    if (!output_sum) return false;
    if (!known_widths(*output_norm, (*output_sum)[0])) return false;
    const std::int64_t units = found_.shape.widths.units, hidden = found_.shape.widths.hidden;
    const auto down = dense((*output_sum)[0], units, hidden);
    const auto before = down ? activation(down->input) : std::nullopt;
    const auto up = before ? dense(*before, hidden, units) : std::nullopt;
    if (!up || !(up->input == (*output_sum)[1])) return false;
    const auto attention_norm = norm(up->input);
    const auto attention_sum = attention_norm ? residual(attention_norm->input) : std::nullopt;
    const auto proj = attention_sum ? dense((*attention_sum)[0], units, units) : std::nullopt;
    native::LayerWeights weights{};
    if (!proj || !attention(proj->input, (*attention_sum)[1], weights)) return false;
    weights.proj = proj->weight;
    weights.proj_bias = proj->bias;
    weights.up = up->weight;
    weights.up_bias = up->bias;
    weights.down = down->weight;
    weights.down_bias = down->bias;
    weights.attention_gamma = weight(attention_norm->gamma, {units});
    weights.attention_beta = weight(attention_norm->beta, {units});
    weights.output_gamma = weight(output_norm->gamma, {units});
    weights.output_beta = weight(output_norm->beta, {units});
    if (!weights.attention_gamma || !weights.attention_beta || !weights.output_gamma || !weights.output_beta)
      return false;
    weights.factors = factors(output_norm->gamma, 3 * units + hidden);
    found_.weights.push_back(weights);
    at = (*attention_sum)[1];
    return true;
  }

  // Widths come from the first layer seen; all others are then held to them.
  bool known_widths(const Norm& norm, const Entry& down) {
    native::Widths& widths = found_.shape.widths;
    if (widths.units) return true;
    const Tensor* gamma = parameters_.find(node(norm.gamma).name);
    const Node& last = node(down);
    const Tensor* matrix = last.inputs.size() == 3 ? parameters_.find(node(last.inputs[1]).name) : nullptr;
    if (!gamma || gamma->shape.size() != 1 || !matrix || matrix->shape.size() != 2) return false;
    widths.units = gamma->shape[0];
    widths.hidden = matrix->shape[1];
    return widths.units > 0 && widths.hidden > 0;
  }

  // What goes into the activation that gives `entry`. All layers must have one kind.
  std::optional<Entry> activation(const Entry& entry) {
    std::optional<Entry> input;
    Activation kind = Activation::none;
    const std::string& op = node(entry).op;
    if (op == "LeakyReLU" && text_attribute(node(entry), "act_type", "leaky") == "gelu") {
      kind = Activation::gelu;
      input = input_of(take(entry, "LeakyReLU", 1));
    } else if (op == "relu" || (op == "Activation" && text_attribute(node(entry), "act_type", "") == "relu")) {
      kind = Activation::relu;
      input = input_of(take(entry, op, 1));
    } else {
      kind = Activation::gelu_tanh;
      input = gelu_tanh(entry);
    }
    if (!found_.weights.empty() && kind != found_.shape.activation) return std::nullopt;
    found_.shape.activation = kind;
    return input;
  }

  std::optional<Entry> input_of(const Node* found) {
    return found ? std::optional(through_noops(found->inputs[0])) : std::nullopt;
  }

  // The input of an operator with the one attribute "scalar".
  std::optional<Entry> scalar(const std::optional<Entry>& entry, const char* op, double value) {
    const Node* found = entry ? take(*entry, op, 1) : nullptr;
    const auto given = found ? real_attribute(*found, "scalar", 0) : std::nullopt;
    return given && std::abs(*given - value) <= 1e-6 ? std::optional(found->inputs[0]) : std::nullopt;
  }

  // 0.5 x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
  std::optional<Entry> gelu_tanh(const Entry& entry) {
    const Node* product = take(entry, "elemwise_mul", 2);
    if (!product) return std::nullopt;
    const auto half = scalar(product->inputs[0], "_mul_scalar", 0.5);
    const auto one = scalar(product->inputs[1], "_plus_scalar", 1);
    const Node* tangent = one ? take(*one, "tanh", 1) : nullptr;
    const auto inner = tangent ? scalar(tangent->inputs[0], "_mul_scalar", std::sqrt(2 / std::acos(-1.0))) : std::nullopt;
    const Node* sum = inner ? take(*inner, "elemwise_add", 2) : nullptr;
    const auto cube = sum ? scalar(scalar(sum->inputs[1], "_mul_scalar", 0.044715), "_power_scalar", 3) : std::nullopt;
    if (!half || !cube || !(*half == sum->inputs[0]) || !(*half == *cube)) return std::nullopt;
    return through_noops(*half);
  }

  // The self-attention that gives `mixed` from `input`.
  bool attention(const Entry& mixed, const Entry& input, native::LayerWeights& weights) {
    const Node* values = take(mixed, "_contrib_interleaved_matmul_selfatt_valatt", 2);
    const Node* softmax = values ? take(through_noops(values->inputs[1]), "softmax", 2) : nullptr;
    const Node* scores = softmax ? take(softmax->inputs[0], "_contrib_interleaved_matmul_selfatt_qk", 1) : nullptr;
    if (!scores || !last_axis(*softmax) || flag_attribute(*softmax, "use_length", false) != true) return false;
    const std::string temperature = text_attribute(*softmax, "temperature", "None");
    if (temperature != "None" && parse_real(temperature) != 1.0) return false;
    const std::string dtype = text_attribute(*softmax, "dtype", "None");
    if (dtype != "None" && dtype != "float32") return false;
    const auto heads = integer_attribute(*scores, "heads");
    native::Widths& widths = found_.shape.widths;
    if (!heads || *heads < 1 || widths.units % *heads || integer_attribute(*values, "heads") != heads ||
        (widths.heads && widths.heads != *heads) || !lengths(softmax->inputs[1], *heads))
      return false;
    widths.heads = *heads;
    const Entry projected = scores->inputs[0];
    const Node* dense = fully_connected(projected, 3 * widths.units);
    if (!dense || !(values->inputs[0] == projected) || !(through_noops(dense->inputs[0]) == input)) return false;
    const auto matrices = parts(projected.node, 1, {3 * widths.units, widths.units});
    const auto biases = parts(projected.node, 2, {3 * widths.units});
    if (!matrices || !biases) return false;
    weights.query = (*matrices)[0];
    weights.key = (*matrices)[1];
    weights.value = (*matrices)[2];
    weights.query_bias = (*biases)[0];
    weights.key_bias = (*biases)[1];
    weights.value_bias = (*biases)[2];
    return true;
  }

  // The parts for query, key and value of input `slot` of a FullyConnected, which has `shape` once they are joined head
  // by head: three parameters, or one in which they are joined already.
  std::optional<std::array<const float*, 3>> parts(std::size_t dense, std::size_t slot, const Shape& shape) {
    const std::int64_t heads = found_.shape.widths.heads;
    std::array<const float*, 3> found{};
    if (const auto join = match_join(graph_, uses_, parameters_, dense, slot)) {
      if (join->result != shape || join->heads != heads) return std::nullopt;
      for (std::size_t i = 0; i < 3; ++i) {
        found[i] = values(*join->parts[i]);
        if (!found[i]) return std::nullopt;
      }
      return found;
    }
    const float* joined = weight(graph_.nodes[dense].inputs[slot], shape);
    if (!joined) return std::nullopt;
    std::size_t size = shape.size() == 2 ? static_cast<std::size_t>(shape[1]) : 1;
    size *= static_cast<std::size_t>(shape[0] / 3 / heads);  // of one head's part
    std::array<void*, 3> apart{};
    for (std::size_t i = 0; i < 3; ++i) {
      std::vector<float>& part = found_.converted.emplace_back(size * static_cast<std::size_t>(heads));
      apart[i] = part.data();
      found[i] = part.data();
    }
    native::deinterleave(joined, static_cast<std::size_t>(heads), size * sizeof(float), apart);
    return found;
  }

  // The valid length once for each head and query, as the softmax reads it.
  bool lengths(const Entry& entry, std::int64_t heads) {
    const Node* rows = take(entry, "Reshape", 1);
    if (!rows || !shape_is(*rows, "shape", {-1, 0}) || flag_attribute(*rows, "reverse", false) != true) return false;
    const Node* spread = take(rows->inputs[0], "broadcast_axis", 1);
    if (!spread || !shape_is(*spread, "axis", {1}) || !shape_is(*spread, "size", {heads})) return false;
    const Node* expand = take(spread->inputs[0], "expand_dims", 1);
    const Node* cast = expand && integer_is(*expand, "axis", 1) ? take(expand->inputs[0], "Cast", 1) : nullptr;
    if (!cast || text_attribute(*cast, "dtype", "") != "int32") return false;
    const Node* sum = take(cast->inputs[0], "broadcast_add", 2);
    const Node* column = sum ? reshape(sum->inputs[0], {-1, 1}) : nullptr;
    const Node* row = column ? reshape(sum->inputs[1], {1, -1}) : nullptr;
    const Node* zeros = row ? take(row->inputs[0], "zeros_like", 1) : nullptr;
    if (!zeros || !(column->inputs[0] == found_.valid_length)) return false;
    if (!range_) range_ = zeros->inputs[0];
    return *range_ == zeros->inputs[0];
  }

  const Node* reshape(const Entry& entry, const Shape& shape) {
    const Node* found = take(entry, "Reshape", 1);
    return found && shape_is(*found, "shape", shape) && flag_attribute(*found, "reverse", false) == false ? found
                                                                                                         : nullptr;
  }

  // The attribute says nothing of the table: a network that is cast keeps "float32" there.
  bool lookup_type(const std::string& dtype) const { return dtype == "float32" || (half_ && dtype == "float16"); }

  // The lookup that gives `entry`; its values go to the tables. The number of the table's rows, 0 for no match.
  std::int64_t embedding(const Entry& entry, Entry& ids, Entry& table) {
    const Node* found = take(entry, "Embedding", 2);
    const auto rows = found ? integer_attribute(*found, "input_dim") : std::nullopt;
    if (!rows || *rows < 1 || !integer_is(*found, "output_dim", found_.shape.widths.units) ||
        !lookup_type(text_attribute(*found, "dtype", "float32")))
      return 0;
    const float* values = parameter(found->inputs[1], {*rows, found_.shape.widths.units});
    if (!values) return 0;
    found_.tables.push_back(values);
    ids = found->inputs[0];
    table = found->inputs[1];
    return *rows;
  }

  // The sum of embeddings and its normalisation that give `at`.
  bool embeddings(const Entry& at) {
    const auto first_norm = norm(at);
    const Shape row = {found_.shape.widths.units};
    const float* gamma = first_norm ? parameter(first_norm->gamma, row) : nullptr;
    const float* beta = gamma ? parameter(first_norm->beta, row) : nullptr;
    if (!beta) return false;
    const Node* sum = take(first_norm->input, "broadcast_add", 2);
    const Node* column = sum ? take(sum->inputs[1], "expand_dims", 1) : nullptr;
    if (!column || !integer_is(*column, "axis", 1)) return false;
    Entry range, positions, words, types;
    found_.positions = embedding(column->inputs[0], range, positions);
    if (!found_.positions || !range_ || !(*range_ == range)) return false;
    const Node* arange = take(range, "_contrib_arange_like", 1);
    if (!arange || !integer_is(*arange, "axis", 0) || !real_is(*arange, "start", 0, 0) ||
        !real_is(*arange, "step", 1, 1) || !real_is(*arange, "repeat", 1, 1) || !(arange->inputs[0] == sum->inputs[0]))
      return false;
    const Node* turned = take(sum->inputs[0], "transpose", 1);
    if (!turned || !shape_is(*turned, "axes", {1, 0, 2})) return false;
    const Node* two = node(turned->inputs[0]).op == "elemwise_add" ? take(turned->inputs[0], "elemwise_add", 2) : nullptr;
    found_.vocabulary = embedding(two ? two->inputs[0] : turned->inputs[0], found_.ids, words);
    if (!found_.vocabulary) return false;
    found_.parameters = {words, positions};
    if (two) {
      Entry type_ids;
      found_.token_types = embedding(two->inputs[1], type_ids, types);
      if (!found_.token_types) return false;
      found_.types = type_ids;
      found_.parameters.push_back(types);
    }
    found_.parameters.insert(found_.parameters.end(), {first_norm->gamma, first_norm->beta});
    std::swap(found_.tables[0], found_.tables[1]);  // words come first
    found_.tables.insert(found_.tables.end(), {gamma, beta});
    return true;
  }

  const Graph& graph_;
  const Uses& uses_;
  const Parameters& parameters_;
  const bool half_;
  std::optional<Number> number_;  // of the first parameter, to which all others are held
  Region region_;                 // all that the rewrite takes away
  EncoderMatch found_;
  std::optional<Entry> range_;  // 0, 1, ... along the sequence, common to all layers and the positions
};

}  // namespace

std::optional<EncoderMatch> match_encoder(const Graph& graph, const Uses& uses, const Parameters& parameters,
                                          std::size_t output, bool half) {
  return Matcher(graph, uses, parameters, half).match(output);
}

}  // namespace bertpass

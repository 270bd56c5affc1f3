#include "passes/encoder_operator.h"

#include <bertpass_cuda.h>

#include <algorithm>

#include "graph/error.h"
#include "schema/names.h"

namespace bertpass {
namespace {

constexpr std::int64_t kMostLayers = 1 << 12;
constexpr const char kPacked[] = "packed", kUnpacked[] = "unpacked";

// A node's attributes, of which those that are asked for have to be there.
class Given {
 public:
  explicit Given(const std::map<std::string, std::string>& attributes) : attributes_(attributes) {}

  std::string text(const char* name, const char* what) const {
    const auto found = attributes_.find(name);
    if (found == attributes_.end()) refuse(name, what);
    return found->second;
  }

  std::int64_t number(const char* name, std::int64_t least) const {
    const std::string what = "a whole number from " + std::to_string(least);
    const auto value = parse_integer(text(name, what.c_str()));
    if (!value || *value < least) refuse(name, what);
    return *value;
  }

  std::string real(const char* name) const {
    const std::string given = text(name, "a number");
    if (!parse_real(given)) refuse(name, "a number");
    return given;
  }

  std::string one_of(const char* name, const std::vector<std::string>& known) const {
    std::string what = "one of";
    for (const std::string& word : known) what += " " + word;
    const std::string given = text(name, what.c_str());
    if (std::find(known.begin(), known.end(), given) == known.end()) refuse(name, what);
    return given;
  }

  // Files of before there were two forms do not say it.
  EncoderForm form() const {
    if (!attributes_.count("form")) return EncoderForm::packed;
    return one_of("form", {kPacked, kUnpacked}) == kPacked ? EncoderForm::packed : EncoderForm::unpacked;
  }

 private:
  [[noreturn]] static void refuse(const std::string& name, const std::string& what) {
    throw PassError(std::string(kEncoderOperator) + " needs the attribute '" + name + "', " + what +
                    "; deploy the model again.");
  }

  const std::map<std::string, std::string>& attributes_;
};

// Keeps the number of weights within 64 bits too.
bool fits_cuda(const EncoderOperator& op) {
  return std::max({op.units, op.hidden, op.heads, op.vocabulary, op.positions, op.token_types}) <= INT32_MAX &&
         op.layers <= kMostLayers &&
         bertpass_cuda_computes(static_cast<std::int32_t>(op.units), static_cast<std::int32_t>(op.hidden),
                                static_cast<std::int32_t>(op.heads));
}

}  // namespace

EncoderOperator EncoderOperator::read(const std::map<std::string, std::string>& attributes) {
  const Given given(attributes);
  EncoderOperator op;
  op.form = given.form();
  op.units = given.number("units", 1);
  op.vocabulary = given.number("vocabulary", 1);
  op.positions = given.number("positions", 1);
  op.token_types = given.number("token_types", 0);
  op.packed = given.number("packed", 1);
  op.threads = given.number("threads", 0);
  op.epsilon = given.real("epsilon");
  if (op.form == EncoderForm::unpacked) {
    op.layers = given.number("layers", 1);
    op.hidden = given.number("hidden", 1);
    op.heads = given.number("heads", 1);
    op.activation = given.one_of("activation", {"gelu", "gelu_tanh", "relu"});
    op.dtype = given.one_of("dtype", {"float32", "float16", "bfloat16"});
    if (!fits_cuda(op))
      throw PassError(std::string(kEncoderOperator) +
                      " has sizes that the CUDA engine does not compute; deploy the model again.");
  }
  return op;
}

std::map<std::string, std::string> EncoderOperator::attributes() const {
  return {{"form", form == EncoderForm::packed ? kPacked : kUnpacked},
          {"units", std::to_string(units)},
          {"vocabulary", std::to_string(vocabulary)},
          {"positions", std::to_string(positions)},
          {"token_types", std::to_string(token_types)},
          {"packed", std::to_string(packed)},
          {"epsilon", epsilon},
          {"threads", std::to_string(threads)},
          {"layers", std::to_string(layers)},
          {"hidden", std::to_string(hidden)},
          {"heads", std::to_string(heads)},
          {"activation", activation},
          {"dtype", dtype}};
}

native::ModelConfig EncoderOperator::config() const {
  native::ModelConfig config;
  config.layers = layers;
  config.units = units;
  config.hidden = hidden;
  config.heads = heads;
  config.max_length = positions;
  config.vocabulary = vocabulary;
  config.token_types = token_types;
  config.epsilon = static_cast<float>(*parse_real(epsilon));
  config.activation = native::choose(activation, native::kActivations);
  return config;
}

std::vector<Shape> EncoderOperator::parameter_shapes() const {
  if (form == EncoderForm::unpacked) return {{packed}};
  std::vector<Shape> shapes = {{vocabulary, units}, {positions, units}};
  if (token_types) shapes.push_back({token_types, units});
  shapes.insert(shapes.end(), {{units}, {units}, {packed}});
  return shapes;
}

}  // namespace bertpass

#include "passes/encoder_operator.h"

#include "graph/error.h"

namespace bertpass {
namespace {

std::int64_t number(const std::map<std::string, std::string>& attributes, const char* name, std::int64_t least) {
  const auto found = attributes.find(name);
  const auto value = found == attributes.end() ? std::nullopt : parse_integer(found->second);
  if (!value || *value < least)
    throw PassError(std::string(kEncoderOperator) + " needs the attribute '" + name + "', a whole number from " +
                    std::to_string(least) + "; deploy the model again.");
  return *value;
}

}  // namespace

EncoderOperator EncoderOperator::read(const std::map<std::string, std::string>& attributes) {
  EncoderOperator op;
  op.units = number(attributes, "units", 1);
  op.vocabulary = number(attributes, "vocabulary", 1);
  op.positions = number(attributes, "positions", 1);
  op.token_types = number(attributes, "token_types", 0);
  op.packed = number(attributes, "packed", 1);
  op.threads = number(attributes, "threads", 0);
  const auto epsilon = attributes.find("epsilon");
  if (epsilon == attributes.end() || !parse_real(epsilon->second))
    throw PassError(std::string(kEncoderOperator) + " needs the attribute 'epsilon', a number; deploy the model again.");
  op.epsilon = epsilon->second;
  return op;
}

std::map<std::string, std::string> EncoderOperator::attributes() const {
  return {{"units", std::to_string(units)},
          {"vocabulary", std::to_string(vocabulary)},
          {"positions", std::to_string(positions)},
          {"token_types", std::to_string(token_types)},
          {"packed", std::to_string(packed)},
          {"epsilon", epsilon},
          {"threads", std::to_string(threads)}};
}

std::vector<Shape> EncoderOperator::parameter_shapes() const {
  std::vector<Shape> shapes = {{vocabulary, units}, {positions, units}};
  if (token_types) shapes.push_back({token_types, units});
  shapes.insert(shapes.end(), {{units}, {units}, {packed}});
  return shapes;
}

}  // namespace bertpass

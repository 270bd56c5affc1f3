#include "schema/config.h"

#include <nlohmann/json.hpp>
#include <set>

#include "schema/names.h"

namespace bertpass::native {
namespace {

using Json = nlohmann::json;

constexpr Index kMost = 1 << 20;                // of any width: the bytes of every table stay within 64 bits
constexpr Index kMostTokens = (1LL << 31) - 1;  // of a vocabulary, whose ids are 32-bit

// The members of one object of the description, each read once.
class Fields {
 public:
  Fields(const Json& all, const char* name) : name_(name), object_(find(all, name)) {
    if (!object_.is_object()) wrong(name);
  }

  template <class T, std::size_t count>
  T one_of(const char* name, const Named<T> (&known)[count]) {
    const Json& value = next(name);
    if (!value.is_string()) wrong(name);
    try {
      return choose(value.get<std::string>(), known);
    } catch (const std::invalid_argument& error) {
      throw ConfigError("its description has no usable " + std::string(name) + ": " + error.what());
    }
  }

  Index count(const char* name, Index least, Index most = kMost) {
    const Json& value = next(name);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(most) ||
        value.get<Index>() < least)
      wrong(name);
    return value.get<Index>();
  }

  double number(const char* name, double least, double most) {
    const Json& value = next(name);
    if (!value.is_number()) wrong(name);
    const double number = value.get<double>();
    if (!(number >= least && number <= most)) wrong(name);
    return number;
  }

  // The same where it need not be there: descriptions of earlier versions do not have it.
  double number_or(const char* name, double least, double most, double otherwise) {
    return object_.contains(name) ? number(name, least, most) : otherwise;
  }
  Index count_or(const char* name, Index least, Index otherwise) {
    return object_.contains(name) ? count(name, least) : otherwise;
  }

  bool flag(const char* name) {
    const Json& value = next(name);
    if (!value.is_boolean()) wrong(name);
    return value.get<bool>();
  }

  // Members that say nothing of what is computed here.
  void leave(std::initializer_list<const char*> names) { read_.insert(names.begin(), names.end()); }

  // After all others: whatever else there is would be left out of the computation.
  void end() const {
    for (const auto& [name, value] : object_.items())
      if (!read_.count(name))
        throw ConfigError("its description has the field '" + name_ + "." + name.substr(0, 40) +
                          "', which this version of bertpass does not know");
  }

 private:
  const Json& next(const char* name) {
    read_.insert(name);
    return find(object_, name);
  }
  static const Json& find(const Json& object, const char* name) {
    if (!object.is_object() || !object.contains(name)) wrong(name);
    return object[name];
  }
  [[noreturn]] static void wrong(const char* name) {
    throw ConfigError(std::string("its description has no usable ") + name);
  }

  const std::string name_;
  const Json& object_;
  std::set<std::string> read_;
};

}  // namespace

ModelConfig read_config(const std::string& text) {
  const Json model = Json::parse(text, nullptr, false);
  Fields encoder(model, "config"), head(model, "head");
  ModelConfig config;
  config.family = encoder.one_of("family", kFamilies);
  config.layers = encoder.count("num_layers", 1);
  config.units = encoder.count("units", 1);
  config.hidden = encoder.count("hidden_size", 1);
  config.heads = encoder.count("num_heads", 1);
  config.max_length = encoder.count("max_length", 1);
  config.vocabulary = encoder.count("vocab_size", 1, kMostTokens);
  config.token_types = encoder.count("token_type_vocab_size", 0);
  config.embedding = encoder.count_or("embedding_size", 0, 0);
  config.buckets = encoder.count_or("position_buckets", 0, 0);
  config.relative = encoder.count_or("relative_positions", 0, 0);
  config.epsilon = static_cast<float>(encoder.number("layer_norm_eps", 0, 1));
  config.activation = encoder.one_of("activation", kActivations);
  config.rope_theta = encoder.number_or("rope_theta", 0, 1e9, 0);
  config.rope_local_theta = encoder.number_or("rope_local_theta", 0, 1e9, 0);
  config.rope_factor = encoder.number_or("rope_factor", 1, 1e4, 1);
  config.window = encoder.count_or("window", 0, 0);
  config.global_every = encoder.count_or("global_every", 1, 1);
  encoder.leave({"dropout", "use_pooler"});
  encoder.end();
  config.head = head.one_of("kind", kHeadKinds);
  config.labels = head.count("num_labels", config.head == HeadKind::classifier || config.head == HeadKind::tokens);
  config.pooling = head.one_of("pooling", kPoolings);
  config.normalize = head.flag("normalize");
  if (has_words(config)) config.tied = head.flag("tied");
  if (config.head == HeadKind::sparse) config.logs = head.one_of("activation", kLogs);
  head.leave({"activation", "tied"});
  head.end();
  const bool over = config.pooling == Pooling::max || config.pooling == Pooling::sum;
  if (over != (config.head == HeadKind::sparse)) throw ConfigError("its pooling is not one of its head");
  if ((config.family == Family::deberta) != (config.relative > 0) || (config.buckets && !config.relative) ||
      config.buckets == 1 || (config.buckets && config.buckets >= 2 * config.relative - 2))
    throw ConfigError("its position_buckets and relative_positions do not fit its family or each other");
  if (config.units % config.heads) throw ConfigError("its heads do not divide its width");
  const bool turned = positions_of(config) == Positions::rotary;
  if (turned != (config.rope_theta > 0)) throw ConfigError("its description has no usable rope_theta");
  if (turned && config.units / config.heads % 2) throw ConfigError("its heads have an odd width, and rotary positions");
  return config;
}

std::string write_config(const ModelConfig& config) {
  const Json encoder = {{"family", name_of(config.family, kFamilies)},
                        {"num_layers", config.layers},
                        {"units", config.units},
                        {"hidden_size", config.hidden},
                        {"num_heads", config.heads},
                        {"max_length", config.max_length},
                        {"vocab_size", config.vocabulary},
                        {"token_type_vocab_size", config.token_types},
                        {"embedding_size", config.embedding},
                        {"position_buckets", config.buckets},
                        {"relative_positions", config.relative},
                        {"layer_norm_eps", config.epsilon},
                        {"activation", name_of(config.activation, kActivations)},
                        {"rope_theta", config.rope_theta},
                        {"rope_local_theta", config.rope_local_theta},
                        {"rope_factor", config.rope_factor},
                        {"window", config.window},
                        {"global_every", config.global_every}};
  const Json head = {{"kind", name_of(config.head, kHeadKinds)},
                     {"num_labels", config.labels},
                     {"pooling", name_of(config.pooling, kPoolings)},
                     {"normalize", config.normalize},
                     {"tied", config.tied},
                     {"activation", name_of(config.logs, kLogs)}};
  return Json{{"config", encoder}, {"head", head}}.dump();
}

}  // namespace bertpass::native

#include "schema/heads.h"

#include "schema/parameters.h"

namespace bertpass::native {
namespace {

// A classifier's two layers, and the activation function between them.
struct Classifier {
  const char* first;
  Activation activation;
  const char* last;
};
Classifier classifier_of(Family family) {
  switch (family) {
    case Family::albert:
    case Family::bert:
    case Family::gte:
    case Family::jina:
    case Family::nomic: return {"bert.pooler", Activation::tanh, "classifier.1"};
    case Family::deberta: return {"classifier.1", Activation::gelu, "classifier.3"};
    case Family::distilbert: return {"pre_classifier", Activation::relu, "classifier.1"};
    case Family::electra:
    case Family::modernbert: return {"classifier.1", Activation::gelu, "classifier.3"};
    case Family::mpnet:
    case Family::roberta: return {"classifier.1", Activation::tanh, "classifier.3"};
  }
  return {};
}

// The activation function of the words' first layer.
Activation words_of(const ModelConfig& config) {
  switch (config.family) {
    case Family::electra:
    case Family::modernbert:
    case Family::mpnet:
    case Family::roberta: return Activation::gelu;
    default: return config.activation;
  }
}

// From a state to the logits of all words.
std::vector<DenseLayer> words(const ModelConfig& config) {
  const Activation activation = words_of(config);
  const std::string table = config.tied ? root_of(config) + ".word_embed.0.weight" : "";
  const Index width = embedding_width(config);
  return {{"decoder.0", width, config.units, activation, "decoder.2", "", config.family == Family::modernbert},
          {"decoder.3", config.vocabulary, width, Activation::none, "", table}};
}

}  // namespace

HeadLayout head_layout(const ModelConfig& config) {
  const Index units = config.units;
  const auto inner = [&](const std::string& name, Activation activation) {
    return DenseLayer{name, units, units, activation};
  };
  const auto logits = [&](const char* name, Index labels) { return DenseLayer{name, labels, units, Activation::none}; };
  const Classifier classifier = classifier_of(config.family);
  const bool modern = config.family == Family::modernbert;  // whose heads have one first layer, with a normalisation
  const auto behind = [&](const DenseLayer& last) {
    std::vector<DenseLayer> layers;
    if (modern) layers = {{classifier.first, units, units, classifier.activation, "classifier.2", "", true}};
    layers.push_back(last);
    return layers;
  };
  HeadLayout head;
  switch (config.head) {
    case HeadKind::states: head = {true, Takes::nothing, {}}; break;
    case HeadKind::pooled: head = {true, Takes::first, {inner(root_of(config) + ".pooler", Activation::tanh)}}; break;
    case HeadKind::classifier:
      if (modern) {
        head = {false, config.pooling == Pooling::mean ? Takes::mean : Takes::first,
                behind(logits(classifier.last, config.labels))};
        break;
      }
      head = {false, Takes::first,
              {inner(classifier.first, classifier.activation), logits(classifier.last, config.labels)}};
      break;
    case HeadKind::qa: head = {false, Takes::tokens, behind(logits("span_classifier", 2))}; break;
    case HeadKind::tokens: head = {false, Takes::tokens, behind(logits("tag_classifier", config.labels))}; break;
    case HeadKind::embedding:
      head = {false, config.pooling == Pooling::mean ? Takes::mean : Takes::first, {}, config.normalize};
      break;
    case HeadKind::mlm: head = {false, Takes::tokens, words(config)}; break;
    case HeadKind::sparse:
      head = {false, Takes::tokens, words(config)};
      head.over = config.pooling == Pooling::max ? Over::max : Over::sum;
      head.logs = config.logs;
      break;
  }
  if (head.states) head.outputs.push_back({true, units});
  if (head.takes != Takes::nothing)
    head.outputs.push_back({head.takes == Takes::tokens && head.over == Over::nothing,
                            head.layers.empty() ? units : head.layers.back().outputs});
  return head;
}

std::vector<std::vector<Index>> output_shapes(const std::vector<Output>& outputs, Index sequences, Index length) {
  std::vector<std::vector<Index>> shapes;
  for (const Output& output : outputs)
    shapes.push_back(output.per_token ? Shape{sequences, length, output.width} : Shape{sequences, output.width});
  return shapes;
}

}  // namespace bertpass::native

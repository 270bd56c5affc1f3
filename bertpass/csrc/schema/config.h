// What a model looks like; the fields are those of bertpass/model/config.py.
#pragma once

#include <stdexcept>
#include <string>

#include "kernels/kernels.h"

namespace bertpass::native {

enum class Family { albert, bert, distilbert, electra, mpnet, roberta };
enum class HeadKind { states, pooled, classifier, qa, tokens, embedding, mlm, sparse };
enum class Pooling { mean, first, max, sum };

struct ModelConfig {
  Family family = Family::bert;
  Index layers = 0, units = 0, hidden = 0, heads = 0, max_length = 0, vocabulary = 0, token_types = 0;
  Index embedding = 0;  // width of the embeddings, which a projection makes `units`; 0: they have that width, without one
  float epsilon = 1e-12f;
  Activation activation = Activation::gelu;
  HeadKind head = HeadKind::states;
  Index labels = 0;
  Pooling pooling = Pooling::mean;
  bool normalize = false;
  bool tied = true;  // mlm and sparse: the words' logits are products with the table of words
  int logs = 1;      // sparse: logarithms of each value
};

// Whether the inputs have token types; a family without them adds its one row to every token, where it has one.
inline bool takes_types(const ModelConfig& c) {
  return c.family == Family::albert || c.family == Family::bert || c.family == Family::electra;
}

// Width of the embedding tables.
inline Index embedding_width(const ModelConfig& c) { return c.embedding ? c.embedding : c.units; }

// Whether the head is that of masked words, as a network or pooled.
inline bool has_words(const ModelConfig& c) { return c.head == HeadKind::mlm || c.head == HeadKind::sparse; }

// A description of a model that cannot be used; the text is a clause without its full stop.
struct ConfigError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// A weight is missing or misshapen; the text is a sentence.
struct WeightError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// From JSON: an object whose members "config" and "head" are those of bertpass/model/config.py, to_dict(). Throws
// ConfigError where a member of theirs is missing, of another kind, out of range or not known here: what it says would
// not be computed. Further members of the object itself are not the network's.
ModelConfig read_config(const std::string& text);

// What read_config() reads as the same.
std::string write_config(const ModelConfig& config);

}  // namespace bertpass::native

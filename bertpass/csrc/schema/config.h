// What a model looks like; the fields are those of bertpass/model/config.py.
#pragma once

#include <stdexcept>
#include <string>

#include "kernels/kernels.h"

namespace bertpass::native {

enum class Family { albert, bert, deberta, distilbert, electra, gte, jina, modernbert, mpnet, nomic, roberta };
enum class HeadKind { states, pooled, classifier, qa, tokens, embedding, mlm, sparse };
enum class Pooling { mean, first, max, sum };

struct ModelConfig {
  Family family = Family::bert;
  Index layers = 0, units = 0, hidden = 0, heads = 0, max_length = 0, vocabulary = 0, token_types = 0;
  Index embedding = 0;  // width of the embeddings, which a projection makes `units`; 0: they have that width, without one
  Index buckets = 0, relative = 0;  // of DeBERTa's distances: ranges on either side, or 0; from where on all are one
  float epsilon = 1e-12f;
  Activation activation = Activation::gelu;
  double rope_theta = 0, rope_local_theta = 0, rope_factor = 1;  // of rotary positions
  Index window = 0, global_every = 1;  // tokens on either side that a token attends to in the other layers; 0: all
  HeadKind head = HeadKind::states;
  Index labels = 0;
  Pooling pooling = Pooling::mean;
  bool normalize = false;
  bool tied = true;  // mlm and sparse: the words' logits are products with the table of words
  int logs = 1;      // sparse: logarithms of each value
};

// Whether the inputs have token types; a family without them adds its one row to every token, where it has one.
inline bool takes_types(const ModelConfig& c) {
  return c.family == Family::albert || c.family == Family::bert || c.family == Family::electra ||
         c.family == Family::jina || c.family == Family::nomic;
}

// Rows of DeBERTa's embeddings of distances; 0 for other families.
inline Index relative_rows(const ModelConfig& c) { return 2 * (c.buckets ? c.buckets : c.relative); }

// Width of the embedding tables.
inline Index embedding_width(const ModelConfig& c) { return c.embedding ? c.embedding : c.units; }

// Whether the head is that of masked words, as a network or pooled.
inline bool has_words(const ModelConfig& c) { return c.head == HeadKind::mlm || c.head == HeadKind::sparse; }

// How tokens know their place: by a table that is added to the words, by angles that turn queries and keys, by a bias of
// the scores that falls with the distance, by products with embeddings of the distance. As bertpass/model/families.py
// says.
enum class Positions { table, rotary, alibi, relative };
inline Positions positions_of(const ModelConfig& c) {
  if (c.family == Family::jina) return Positions::alibi;
  if (c.family == Family::deberta) return Positions::relative;
  const bool turned = c.family == Family::gte || c.family == Family::modernbert || c.family == Family::nomic;
  return turned ? Positions::rotary : Positions::table;
}

// Whether a layer normalises what its halves read, and the encoder its end, in place of the sums.
inline bool norm_first(const ModelConfig& c) { return c.family == Family::modernbert; }

// Whether the feed-forward layer has a second product, which the activated one is multiplied by.
inline bool gated(const ModelConfig& c) { return c.family == Family::jina || positions_of(c) == Positions::rotary; }

// Whether a layer's tokens attend only to those within the window.
inline bool is_local(const ModelConfig& c, Index layer) { return c.window > 0 && layer % c.global_every != 0; }

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

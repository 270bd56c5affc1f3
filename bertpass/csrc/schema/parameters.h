// The arrays of a model: names, shapes, order, and which of them a configuration has. The same table for Python is
// bertpass/model/parameters.py; tests/native/test_schema.py compares the two.
#pragma once

#include <string>
#include <vector>

#include "schema/config.h"

namespace bertpass::native {

using Shape = std::vector<Index>;

// The embeddings as frameworks keep them, float32 in borrowed memory; null where the model has none.
struct EmbeddingWeights {
  const float *words, *types, *positions;  // (vocabulary, width), (token types, width), (positions, width)
  const float* distances;                  // (kDistanceBuckets, heads), what attention adds to scores
  const float *gamma, *beta;               // (width)
  const float *relative, *relative_gamma, *relative_beta;  // (relative_rows(), units), (units)
  const float *projection, *projection_bias;  // (units, width), (units)
  const float *last_gamma, *last_beta;        // (units), of the norm at the end
};

// Rows of a table of biases by distance. transformers' MPNet has so many whatever its configuration says.
inline constexpr Index kDistanceBuckets = 32;

// The weights of one layer as frameworks keep them: float32, matrices (out, in) row after row; null where the model has
// none: biases are then 0, the gammas of a norm that is not there are not asked for.
struct LayerWeights {
  const float *query, *query_bias, *key, *key_bias, *value, *value_bias;  // (units, units), (units)
  const float *proj, *proj_bias, *attention_gamma, *attention_beta;       // (units, units), (units)
  const float *up, *up_bias;                                              // (hidden, units), (hidden)
  const float *gate, *gate_bias;  // the same: what the activated ones are multiplied by
  const float *down, *down_bias, *output_gamma, *output_beta;             // (units, hidden), (units)
  const float* factors;  // of int8: those of qkv, proj, up (units each) and down (hidden), or null; see Linear::pack
};

// How the factors of int8 are named among a model's parameters, after the layer's last normalisation. Calibration adds
// them; no network has them.
inline constexpr const char* kFactors = ".int8_factors";

// A row of the table: one array.
template <class Weights>
struct Row {
  const char* name;  // behind the root, or behind the layer's name
  const float* Weights::*place;
  Shape (*shape)(const ModelConfig&);
  bool (*there)(const ModelConfig&, Index layer) = nullptr;  // null: always
};
template <class Weights>
using Table = std::vector<Row<Weights>>;

const Table<EmbeddingWeights>& embedding_table();
const Table<LayerWeights>& layer_table();

// The first part of every name of the encoder's.
std::string root_of(const ModelConfig& config);
// Of a layer's names.
std::string cell_of(const ModelConfig& config, Index layer);

// use(row, name, shape) for each array of a table that the model has, in their order.
template <class Weights, class Use>
void each(const Table<Weights>& table, const std::string& prefix, const ModelConfig& config, Index layer,
          const Use& use) {
  for (const Row<Weights>& row : table)
    if (!row.there || row.there(config, layer)) use(row, prefix + row.name, row.shape(config));
}

// get(name, shape) in its place, null for what the model does not have.
template <class Get>
EmbeddingWeights embedding_weights(const ModelConfig& config, const Get& get) {
  EmbeddingWeights found{};
  each(embedding_table(), root_of(config), config, 0,
       [&](const auto& row, const std::string& name, const Shape& shape) { found.*row.place = get(name, shape); });
  return found;
}
template <class Get>
LayerWeights layer_weights(const ModelConfig& config, Index layer, const Get& get) {
  LayerWeights found{};
  each(layer_table(), cell_of(config, layer), config, layer,
       [&](const auto& row, const std::string& name, const Shape& shape) { found.*row.place = get(name, shape); });
  return found;
}

struct Parameter {
  std::string name;
  Shape shape;
};

// All of a network: embeddings, layers, head.
std::vector<Parameter> parameters(const ModelConfig& config);

// Numbers of an array.
Index size_of(const Shape& shape);

}  // namespace bertpass::native

#include "schema/parameters.h"

#include "schema/heads.h"

namespace bertpass::native {
namespace {

Shape vector(const ModelConfig& c) { return {c.units}; }
Shape narrow(const ModelConfig& c) { return {embedding_width(c)}; }
Shape square(const ModelConfig& c) { return {c.units, c.units}; }
Shape inner(const ModelConfig& c) { return {c.hidden, c.units}; }
Shape inner_vector(const ModelConfig& c) { return {c.hidden}; }

// Which biases there are.
bool of_attention(const ModelConfig& c, Index) { return c.family != Family::modernbert && c.family != Family::nomic; }
bool of_up(const ModelConfig& c, Index) { return !gated(c); }
bool of_gate(const ModelConfig& c, Index layer) { return gated(c) && of_up(c, layer); }
bool of_down(const ModelConfig& c, Index layer) { return of_attention(c, layer); }
bool of_norm(const ModelConfig& c, Index) { return c.family != Family::modernbert; }

// Which other arrays. A layer that normalises first has nothing to normalise where the embeddings' norm is before it.
bool has_gate(const ModelConfig& c, Index) { return gated(c); }
bool has_last(const ModelConfig& c, Index) { return norm_first(c); }
bool has_last_beta(const ModelConfig& c, Index layer) { return norm_first(c) && of_norm(c, layer); }
bool has_norm(const ModelConfig& c, Index layer) { return !norm_first(c) || layer > 0; }
bool has_norm_beta(const ModelConfig& c, Index layer) { return has_norm(c, layer) && of_norm(c, layer); }

bool is_relative(const ModelConfig& c, Index) { return c.relative > 0; }
bool projects(const ModelConfig& c, Index) { return c.embedding > 0; }

}  // namespace

const Table<EmbeddingWeights>& embedding_table() {
  using W = EmbeddingWeights;
  static const Table<W> table = {
      {".word_embed.0.weight", &W::words,
       [](const ModelConfig& c) -> Shape { return {c.vocabulary, embedding_width(c)}; }},
      {".token_type_embed.0.weight", &W::types,
       [](const ModelConfig& c) -> Shape { return {c.token_types, embedding_width(c)}; },
       [](const ModelConfig& c, Index) { return c.token_types > 0; }},
      {".encoder.position_weight", &W::positions,
       [](const ModelConfig& c) -> Shape { return {c.max_length, embedding_width(c)}; },
       [](const ModelConfig& c, Index) { return positions_of(c) == Positions::table; }},
      {".encoder.relative_attention_bias.weight", &W::distances,
       [](const ModelConfig& c) -> Shape { return {kDistanceBuckets, c.heads}; },
       [](const ModelConfig& c, Index) { return c.family == Family::mpnet; }},
      {".encoder.layer_norm.gamma", &W::gamma, narrow},
      {".encoder.layer_norm.beta", &W::beta, narrow, of_norm},
      {".embedding_projection.weight", &W::projection,
       [](const ModelConfig& c) -> Shape { return {c.units, c.embedding}; }, projects},
      {".embedding_projection.bias", &W::projection_bias, vector, projects},
      {".encoder.relative_embed.weight", &W::relative,
       [](const ModelConfig& c) -> Shape { return {relative_rows(c), c.units}; }, is_relative},
      {".encoder.relative_norm.gamma", &W::relative_gamma, vector, is_relative},
      {".encoder.relative_norm.beta", &W::relative_beta, vector, is_relative},
      {".encoder.final_norm.gamma", &W::last_gamma, vector, has_last},
      {".encoder.final_norm.beta", &W::last_beta, vector, has_last_beta},
  };
  return table;
}

const Table<LayerWeights>& layer_table() {
  using W = LayerWeights;
  static const Table<W> table = {
      {".attention_cell.proj_query.weight", &W::query, square},
      {".attention_cell.proj_query.bias", &W::query_bias, vector, of_attention},
      {".attention_cell.proj_key.weight", &W::key, square},
      {".attention_cell.proj_key.bias", &W::key_bias, vector, of_attention},
      {".attention_cell.proj_value.weight", &W::value, square},
      {".attention_cell.proj_value.bias", &W::value_bias, vector, of_attention},
      {".proj.weight", &W::proj, square},
      {".proj.bias", &W::proj_bias, vector, of_attention},
      {".layer_norm.gamma", &W::attention_gamma, vector, has_norm},
      {".layer_norm.beta", &W::attention_beta, vector, has_norm_beta},
      {".ffn.ffn_1.weight", &W::up, inner},
      {".ffn.ffn_1.bias", &W::up_bias, inner_vector, of_up},
      {".ffn.ffn_3.weight", &W::gate, inner, has_gate},
      {".ffn.ffn_3.bias", &W::gate_bias, inner_vector, of_gate},
      {".ffn.ffn_2.weight", &W::down, [](const ModelConfig& c) -> Shape { return {c.units, c.hidden}; }},
      {".ffn.ffn_2.bias", &W::down_bias, vector, of_down},
      {".ffn.layer_norm.gamma", &W::output_gamma, vector},
      {".ffn.layer_norm.beta", &W::output_beta, vector, of_norm},
  };
  return table;
}

std::string root_of(const ModelConfig& config) { return config.family == Family::roberta ? "roberta" : "bert"; }

std::string cell_of(const ModelConfig& config, Index layer) {
  return root_of(config) + ".encoder.transformer_cells." + std::to_string(layer);
}

std::vector<Parameter> parameters(const ModelConfig& config) {
  std::vector<Parameter> found;
  const auto add = [&](const auto&, const std::string& name, const Shape& shape) { found.push_back({name, shape}); };
  each(embedding_table(), root_of(config), config, 0, add);
  for (Index layer = 0; layer < config.layers; ++layer)
    each(layer_table(), cell_of(config, layer), config, layer, add);
  for (const DenseLayer& layer : head_layout(config).layers) {
    if (layer.table.empty()) found.push_back({layer.weight(), {layer.outputs, layer.inputs}});
    if (!layer.bare) found.push_back({layer.name + ".bias", {layer.outputs}});
    if (!layer.norm.empty()) found.push_back({layer.norm + ".gamma", {layer.outputs}});
    if (!layer.norm.empty() && !layer.bare) found.push_back({layer.norm + ".beta", {layer.outputs}});
  }
  return found;
}

Index size_of(const Shape& shape) {
  Index size = 1;
  for (const Index n : shape) size *= n;
  return size;
}

}  // namespace bertpass::native

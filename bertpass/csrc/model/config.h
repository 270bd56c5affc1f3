// What a model looks like; the fields are those of bertpass/model/config.py.
#pragma once

#include <stdexcept>
#include <string>

#include "ops/rows.h"

namespace bertpass::native {

enum class Family { bert, distilbert, roberta };
enum class HeadKind { states, pooled, classifier, qa, tokens, embedding };
enum class Pooling { mean, first };

struct ModelConfig {
  Family family = Family::bert;
  Index layers = 0, units = 0, hidden = 0, heads = 0, max_length = 0, vocabulary = 0, token_types = 0;
  float epsilon = 1e-12f;
  Activation activation = Activation::gelu;
  HeadKind head = HeadKind::states;
  Index labels = 0;
  Pooling pooling = Pooling::mean;
  bool normalize = false;
};

// A weight is missing or misshapen; the text is a sentence.
struct WeightError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace bertpass::native

// The names that bertpass/model/config.py gives to the values of a configuration.
#pragma once

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>

#include "model/config.h"

namespace bertpass::native {

// The value that belongs to a name; std::invalid_argument for another one.
template <class T>
T choose(const std::string& name, std::initializer_list<std::pair<const char*, T>> known) {
  for (const auto& [key, value] : known)
    if (name == key) return value;
  throw std::invalid_argument("unknown value '" + name + "'");
}

inline Activation activation_of(const std::string& name) {
  return choose<Activation>(name, {{"none", Activation::none}, {"gelu", Activation::gelu}, {"relu", Activation::relu},
                                   {"gelu_tanh", Activation::gelu_tanh}, {"tanh", Activation::tanh},
                                   {"gelu_coarse", Activation::gelu_coarse}});
}

inline Family family_of(const std::string& name) {
  return choose<Family>(name, {{"bert", Family::bert}, {"distilbert", Family::distilbert},
                               {"roberta", Family::roberta}, {"xlm-roberta", Family::roberta},
                               {"camembert", Family::roberta}});
}

inline HeadKind head_of(const std::string& name) {
  return choose<HeadKind>(name, {{"none", HeadKind::states}, {"pooled", HeadKind::pooled}, {"qa", HeadKind::qa},
                                 {"classification", HeadKind::classifier}, {"regression", HeadKind::classifier},
                                 {"multilabel", HeadKind::classifier}, {"ranking", HeadKind::classifier},
                                 {"tokens", HeadKind::tokens}, {"embedding", HeadKind::embedding}});
}

inline Pooling pooling_of(const std::string& name) {
  return choose<Pooling>(name, {{"mean", Pooling::mean}, {"cls", Pooling::first}});
}

}  // namespace bertpass::native

// The names that bertpass/model/config.py gives to the values of a configuration.
#pragma once

#include <string>

#include "schema/config.h"

namespace bertpass::native {

template <class T>
struct Named {
  const char* name;
  T value;
};

// Several names may be one network.
inline constexpr Named<Family> kFamilies[] = {
    {"bert", Family::bert}, {"distilbert", Family::distilbert}, {"mpnet", Family::mpnet}, {"roberta", Family::roberta},
    {"albert", Family::albert}, {"deberta-v2", Family::deberta}, {"electra", Family::electra},
    {"jina_bert", Family::jina}, {"modernbert", Family::modernbert}, {"new", Family::gte},
    {"nomic_bert", Family::nomic}, {"camembert", Family::roberta}, {"xlm-roberta", Family::roberta}};

// Of an encoder.
inline constexpr Named<Activation> kActivations[] = {
    {"gelu", Activation::gelu}, {"gelu_tanh", Activation::gelu_tanh}, {"relu", Activation::relu},
    {"silu", Activation::silu}};

// Of any layer.
inline constexpr Named<Activation> kFunctions[] = {
    {"none", Activation::none}, {"gelu", Activation::gelu}, {"relu", Activation::relu},
    {"gelu_tanh", Activation::gelu_tanh}, {"tanh", Activation::tanh}, {"gelu_coarse", Activation::gelu_coarse},
    {"silu", Activation::silu}};

// All classifiers are computed alike.
inline constexpr Named<HeadKind> kHeadKinds[] = {
    {"none", HeadKind::states}, {"pooled", HeadKind::pooled}, {"classification", HeadKind::classifier},
    {"regression", HeadKind::classifier}, {"multilabel", HeadKind::classifier}, {"ranking", HeadKind::classifier},
    {"qa", HeadKind::qa}, {"tokens", HeadKind::tokens}, {"embedding", HeadKind::embedding},
    {"mlm", HeadKind::mlm}, {"sparse", HeadKind::sparse}};

inline constexpr Named<Pooling> kPoolings[] = {
    {"mean", Pooling::mean}, {"cls", Pooling::first}, {"max", Pooling::max}, {"sum", Pooling::sum}};

// Activation of a sparse head: how many logarithms.
inline constexpr Named<int> kLogs[] = {{"", 1}, {"log1p_relu", 2}};

// The value that belongs to a name; std::invalid_argument for another one.
template <class T, std::size_t count>
T choose(const std::string& name, const Named<T> (&known)[count]) {
  for (const Named<T>& one : known)
    if (name == one.name) return one.value;
  throw std::invalid_argument("unknown value '" + name + "'");
}

// The first name of a value.
template <class T, std::size_t count>
const char* name_of(T value, const Named<T> (&known)[count]) {
  const Named<T>* at = known;
  while (at->value != value) ++at;
  return at->name;
}

}  // namespace bertpass::native

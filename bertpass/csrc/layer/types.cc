#include "layer/types.h"

#include <algorithm>
#include <cctype>
#include <sstream>

namespace bertpass::native {
namespace {

Type type_named(const std::string& name) {
  const auto type = type_of(name);
  if (!type)
    throw PlanError("the precision '" + name.substr(0, 40) + "' is not known; give one of " + kTypeNames + ".");
  return *type;
}

// A layer's number; -1 where the text is none or too large.
Index number(const std::string& text, Index layers) {
  if (text.empty() || text.size() > 6 ||
      !std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); }))
    return -1;
  const Index found = std::stol(text);
  return found < layers ? found : -1;
}

// One exception: LAYER=TYPE or LAYER.PRODUCT=TYPE.
void except(const std::string& word, std::vector<LayerTypes>& all) {
  const auto refuse = [&] {
    throw PlanError("'" + word.substr(0, 40) + "' names no part of a model of " + std::to_string(all.size()) +
                    " layers; write LAYER=TYPE or LAYER.PRODUCT=TYPE, layers from 0, products qkv, proj, up, down.");
  };
  const auto equals = word.find('='), dot = word.find('.');
  if (equals == std::string::npos) refuse();
  const std::string place = word.substr(0, equals);
  const Index layer = number(place.substr(0, dot), static_cast<Index>(all.size()));
  if (layer < 0) refuse();
  const Type type = type_named(word.substr(equals + 1));
  if (dot == std::string::npos) {
    all[layer] = {type, type, type, type};
    return;
  }
  const std::string name = place.substr(dot + 1);
  const auto product = std::find_if(std::begin(kProducts), std::end(kProducts),
                                    [&](const Product& known) { return name == known.name; });
  if (product == std::end(kProducts)) refuse();
  all[layer].*product->type = type;
}

}  // namespace

std::vector<LayerTypes> read_plan(const std::string& text, Index layers) {
  std::istringstream words(text);
  std::string word;
  std::getline(words, word, ',');
  const Type type = type_named(word);
  std::vector<LayerTypes> all(layers, LayerTypes{type, type, type, type});
  while (std::getline(words, word, ',')) except(word, all);
  return all;
}

}  // namespace bertpass::native

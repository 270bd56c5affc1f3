// In which type each matrix product of each layer computes, and the text that says so.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "ops/rows.h"

namespace bertpass::native {

// The types of one layer's products.
struct LayerTypes {
  Type qkv = Type::float32, proj = Type::float32, up = Type::float32, down = Type::float32;
};

// The products in the order in which they run.
struct Product {
  const char* name;
  Type LayerTypes::*type;
};
inline constexpr Product kProducts[] = {
    {"qkv", &LayerTypes::qkv}, {"proj", &LayerTypes::proj}, {"up", &LayerTypes::up}, {"down", &LayerTypes::down}};
inline constexpr Index kProductCount = 4;

// What a text asks for does not exist; the text of the error is a sentence.
struct PlanError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The types of all layers from a precision plan: a type for all products, then, each after a comma, the layers (from 0)
// or single products of layers that have another one; a later word wins over an earlier one:
//
//   int8    int8,0=bfloat16    int8,3.down=float32,4.up=bfloat16
//
// Throws PlanError.
std::vector<LayerTypes> read_plan(const std::string& text, Index layers);

}  // namespace bertpass::native

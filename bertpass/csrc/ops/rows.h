// A matrix of activations: rows in memory of somebody else.
#pragma once

#include "ops/memory.h"

namespace bertpass::native {

enum class Type { float32, bfloat16 };

inline Index size_of(Type type) { return type == Type::float32 ? 4 : 2; }

struct Rows {
  void* data = nullptr;
  Index stride = 0;  // elements
  Type type = Type::float32;

  float* floats(Index row = 0) const { return static_cast<float*>(data) + row * stride; }
  bf16* halves(Index row = 0) const { return static_cast<bf16*>(data) + row * stride; }
  // The same matrix from this row on; without data it stays so.
  Rows from(Index number) const { return data ? Rows{row(number), stride, type} : *this; }
  void* row(Index number) const {
    return type == Type::float32 ? static_cast<void*>(floats(number)) : static_cast<void*>(halves(number));
  }
};

}  // namespace bertpass::native

// A matrix of activations: rows in memory of somebody else.
#pragma once

#include <optional>
#include <string>

#include "ops/memory.h"

namespace bertpass::native {

// Of weights, and of the activations that a matrix product reads; those of int8 are unsigned bytes.
enum class Type { float32, bfloat16, int8 };

inline constexpr const char* kTypeNames = "float32, bfloat16, int8";

// The type of this name, nothing for any other.
inline std::optional<Type> type_of(const std::string& name) {
  if (name == "float32") return Type::float32;
  if (name == "bfloat16") return Type::bfloat16;
  if (name == "int8") return Type::int8;
  return std::nullopt;
}

inline const char* name_of(Type type) {
  return type == Type::float32 ? "float32" : type == Type::bfloat16 ? "bfloat16" : "int8";
}

inline Index size_of(Type type) { return type == Type::float32 ? 4 : type == Type::bfloat16 ? 2 : 1; }

struct Rows {
  void* data = nullptr;
  Index stride = 0;  // elements
  Type type = Type::float32;
  RowScale* scales = nullptr;      // int8: one a row
  const float* factors = nullptr;  // int8: what each column is multiplied by before it is rounded; null for nothing

  float* floats(Index row = 0) const { return static_cast<float*>(data) + row * stride; }
  bf16* halves(Index row = 0) const { return static_cast<bf16*>(data) + row * stride; }
  std::uint8_t* bytes(Index row = 0) const { return static_cast<std::uint8_t*>(data) + row * stride; }
  void* row(Index number) const { return static_cast<char*>(data) + number * stride * size_of(type); }
  void* at(Index number, Index column) const { return static_cast<char*>(row(number)) + column * size_of(type); }
  // The same matrix from this row and column on, not for bytes.
  Rows from(Index number, Index column) const { return {at(number, column), stride, type}; }
  // The same matrix from this row on; without data it stays so.
  Rows from(Index number) const {
    return data ? Rows{row(number), stride, type, scales ? scales + number : nullptr, factors} : *this;
  }
};

}  // namespace bertpass::native

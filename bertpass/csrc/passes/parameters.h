// Parameter arrays as the passes see them, wherever they live: NumPy in the Python module, MXNet's own in the library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "graph/attributes.h"

namespace bertpass {

// The element types that passes compute with.
enum class Number { float32, float16, other };

// A dense array in row-major order in the memory of this machine. `dtype` is the owner's own number for the element
// type; the passes compare it and hand it back, no more, but those that compute ask for `number`.
struct Tensor {
  int dtype = 0;
  std::size_t itemsize = 0;  // bytes of an element
  Shape shape;
  const void* data = nullptr;
  Number number = Number::other;
};

class Parameters {
 public:
  virtual ~Parameters() = default;

  // The parameter of this name, nullptr if there is none. The pointer holds until the next allocate().
  virtual const Tensor* find(const std::string& name) const = 0;

  // Make a new parameter with the element type of `like` and give its memory, to be filled by the caller. The name must
  // not be in use. Throws PassError where the owner cannot allocate it.
  virtual void* allocate(const std::string& name, const Shape& shape, const Tensor& like) = 0;

  // The same in float32, whatever the others are.
  virtual float* allocate_float32(const std::string& name, const Shape& shape) = 0;
};

}  // namespace bertpass

// The safetensors format: an 8-byte length, a JSON header, the tensors without gaps.
// Source: https://huggingface.co/docs/safetensors/index#format
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace bertpass::native {

struct FileTensor {
  std::string dtype;  // as in the file: "F32", "U8" and so on
  std::vector<Index> shape;
  const char* data = nullptr;
  Index bytes = 0;
};

struct Safetensors {
  std::map<std::string, FileTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Views of `data`; every offset is checked. std::invalid_argument, with a clause that says what is wrong.
Safetensors read_safetensors(const char* data, Index bytes);

}  // namespace bertpass::native

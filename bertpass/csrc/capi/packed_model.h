// A model from a file that `bertpass pack` wrote (bertpass/model/layouts/packed.py says what is in it).
#pragma once

#include <memory>
#include <string>

#include "model/model.h"

namespace bertpass::native {

struct LoadedModel {
  ModelConfig config;
  std::unique_ptr<Model> model;  // uses the mapped file in place and keeps the mapping
};

// Throws FileError, InstructionSetError.
LoadedModel load_packed_model(const std::string& path, int threads, const std::string& isa);

}  // namespace bertpass::native

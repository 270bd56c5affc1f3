// A file as read-only memory; its pages are shared with every process that maps it.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>

#include "kernels/kernels.h"

namespace bertpass::native {

// A model file that cannot be used; the text is a sentence that begins with its path.
struct FileError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct MappedFile {
  std::shared_ptr<const char> data;  // the last copy of it unmaps the file
  Index bytes = 0;
};

// Throws FileError.
MappedFile map_file(const std::string& path);

}  // namespace bertpass::native

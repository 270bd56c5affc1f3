// A file of `bertpass pack --unpacked` as a model on a GPU.
#pragma once

#include <memory>
#include <string>

#include "faces/device_model.h"

namespace bertpass::faces {

struct DeviceOptions {
  std::string file;
  std::string dtype = "float16";
  int device = 0;
  bool graphs = true;  // see DeviceModel
};

// The model that is loaded with these options already, else a new one; it lives as long as somebody holds it. Throws
// FaceError.
std::shared_ptr<DeviceModel> shared_model(const DeviceOptions& options);

}  // namespace bertpass::faces

#include "capi/safetensors.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace bertpass::native {
namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

// Bytes of an element, 0 for a type that no packed model has.
Index size_of_dtype(const std::string& dtype) { return dtype == "F32" ? 4 : dtype == "U8" ? 1 : 0; }

// A number from 0 to `most`.
Index count(const Json& value, Index most, const std::string& name) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(most))
    refuse("the place of '" + name + "' is out of range");
  return value.get<Index>();
}

const Json& member(const Json& object, const char* key, const std::string& name) {
  const auto found = object.find(key);
  if (found == object.end()) refuse("'" + name + "' has no " + key);
  return *found;
}

FileTensor read_tensor(const std::string& name, const Json& entry, const char* data, Index bytes) {
  if (!entry.is_object()) refuse("'" + name + "' has no description");
  const Json &dtype = member(entry, "dtype", name), &shape = member(entry, "shape", name),
             &offsets = member(entry, "data_offsets", name);
  if (!dtype.is_string() || !shape.is_array() || !offsets.is_array() || offsets.size() != 2)
    refuse("'" + name + "' has no dtype, shape and offsets");
  FileTensor tensor;
  tensor.dtype = dtype.get<std::string>();
  const Index element = size_of_dtype(tensor.dtype);
  if (!element) refuse("'" + name + "' has the type " + tensor.dtype + ", which no packed model has");
  const Index first = count(offsets[0], bytes, name), last = count(offsets[1], bytes, name);
  if (last < first) refuse("'" + name + "' ends before it begins");
  Index size = element;  // at most `bytes`, so no product overflows
  for (const Json& axis : shape) {
    tensor.shape.push_back(count(axis, bytes, name));
    if (tensor.shape.back() && size > bytes / tensor.shape.back()) refuse("'" + name + "' is larger than the file");
    size *= tensor.shape.back();
  }
  if (size != last - first) refuse("the bytes of '" + name + "' are not those of its shape");
  tensor.data = data + first;
  tensor.bytes = size;
  return tensor;
}

}  // namespace

Safetensors read_safetensors(const char* data, Index bytes) {
  constexpr Index kLength = 8;
  std::uint64_t length = 0;
  if (bytes < kLength) refuse("it is too short for a header");
  std::memcpy(&length, data, kLength);
  if (length > static_cast<std::uint64_t>(bytes - kLength)) refuse("it is shorter than its header");
  const char* const start = data + kLength + length;
  const Json header = Json::parse(data + kLength, start, nullptr, false);
  if (!header.is_object()) refuse("its header is not a JSON object");
  Safetensors found;
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      found.tensors[name] = read_tensor(name, entry, start, bytes - (start - data));
      continue;
    }
    if (!entry.is_object()) refuse("its metadata are not texts by name");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) refuse("its metadata are not texts by name");
      found.metadata[key] = value.get<std::string>();
    }
  }
  return found;
}

}  // namespace bertpass::native

#include "faces/cuda_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

namespace bertpass::faces {
namespace {

// Of the library that this code is part of, with the last slash.
std::string own_folder() {
  Dl_info about;
  if (!dladdr(reinterpret_cast<const void*>(&own_folder), &about) || !about.dli_fname) return "";
  const std::string path = about.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

std::string path() {
  const std::string named = variable("BERTPASS_CUDA");
  return named.empty() ? own_folder() + "libbertpass_cuda.so" : named;
}

[[noreturn]] void fail(const std::string& sentence) { throw FaceError(BERTPASS_CUDA_DEVICE, sentence); }

}  // namespace

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

const CudaLibrary& CudaLibrary::open() {
  static const CudaLibrary library;
  return library;
}

bool CudaLibrary::is_there() { return access(path().c_str(), R_OK) == 0; }

void CudaLibrary::need(bertpass_cuda_status status) const {
  if (status != BERTPASS_CUDA_OK) throw FaceError(status, error_());
}

void CudaLibrary::fetch(const std::vector<bertpass_cuda_copy>& copies, int device, void* stream) const {
  need(fetch_(copies.data(), static_cast<std::int32_t>(copies.size()), device, stream));
}

CudaLibrary::CudaLibrary() : path_(path()) {
  handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle_) fail(std::string("the CUDA engine does not load (") + dlerror() + "); build it with: make cuda.");
  decltype(&bertpass_cuda_abi) abi;
  find("bertpass_cuda_abi", abi);
  if (abi() != BERTPASS_CUDA_ABI)
    fail(path_ + " has interface " + std::to_string(abi()) + " and this operator needs " +
         std::to_string(BERTPASS_CUDA_ABI) + "; build it again with: make cuda.");
  find("bertpass_cuda_error", error_);
  find("bertpass_cuda_load", load);
  find("bertpass_cuda_free", free);
  find("bertpass_cuda_output_shapes", output_shapes);
  find("bertpass_cuda_context_create", context_create);
  find("bertpass_cuda_context_free", context_free);
  find("bertpass_cuda_forward", forward);
  find("bertpass_cuda_fetch", fetch_);
}

template <class Function>
void CudaLibrary::find(const char* name, Function& function) const {
  function = reinterpret_cast<Function>(dlsym(handle_, name));
  if (!function) fail(path_ + " has no " + name + "; build it again with: make cuda.");
}

}  // namespace bertpass::faces

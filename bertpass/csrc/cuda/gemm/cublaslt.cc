#include "cuda/gemm/cublaslt.h"

#include <dlfcn.h>

#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>

namespace bertpass::cuda::lt {
namespace {

void* open_library(const char* path) {
  if (path && *path) {
    if (void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL)) return library;
    const char* why = dlerror();
    throw CudaError(std::string("cuBLASLt cannot be loaded: ") + (why ? why : path) + ".");
  }
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  Dl_info about;
  if (dladdr(reinterpret_cast<const void*>(&open), &about) && about.dli_fname) {  // where pip puts it, beside this package
    const std::string own = about.dli_fname, packages = own.substr(0, own.rfind('/') + 1) + "../nvidia/";
    for (const char* name : {"cu13/lib/libcublasLt.so.13", "cublas/lib/libcublasLt.so.12"})
      if (void* library = dlopen((packages + name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  }
  throw CudaError("cuBLASLt is not there; install it with: pip install 'nvidia-cublas>=13', or name libcublasLt.so in "
                  "BERTPASS_CUBLASLT.");
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function) throw CudaError(std::string("cuBLASLt lacks ") + name + "; install version 12 or 13 of it.");
}

}  // namespace

const Functions& open(const char* path) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<Functions>> opened;
  const std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Functions>& functions = opened[path ? path : ""];
  if (functions) return *functions;
  void* library = open_library(path);
  auto made = std::make_unique<Functions>();
  find(library, "cublasLtCreate", made->create);
  find(library, "cublasLtDestroy", made->destroy);
  find(library, "cublasLtGetVersion", made->version);
  find(library, "cublasLtMatmulDescCreate", made->desc_create);
  find(library, "cublasLtMatmulDescDestroy", made->desc_destroy);
  find(library, "cublasLtMatmulDescSetAttribute", made->desc_set);
  find(library, "cublasLtMatrixLayoutCreate", made->layout_create);
  find(library, "cublasLtMatrixLayoutDestroy", made->layout_destroy);
  find(library, "cublasLtMatmulPreferenceCreate", made->preference_create);
  find(library, "cublasLtMatmulPreferenceDestroy", made->preference_destroy);
  find(library, "cublasLtMatmulPreferenceSetAttribute", made->preference_set);
  find(library, "cublasLtMatmulAlgoGetHeuristic", made->heuristics);
  find(library, "cublasLtMatmulAlgoCheck", made->check);
  find(library, "cublasLtMatmul", made->matmul);
  functions = std::move(made);
  return *functions;
}

void check(Status status, const char* what) {
  if (status != kSuccess)
    throw CudaError(std::string(what) + " failed with cuBLAS status " + std::to_string(status) + ".");
}

}  // namespace bertpass::cuda::lt

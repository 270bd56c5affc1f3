#include <dlfcn.h>
#include <link.h>

#include <cstring>

#include "mxnet_abi/abi.h"

namespace bertpass::abi {
namespace {

using GetVersion = int (*)(int*);
using GetOperator = int (*)(const char*, void**);

struct Search {
  const char* name;
  void* found = nullptr;
};

// dl_iterate_phdr's callback: finds a function in the loaded library whose file is named libmxnet.*.
int find(dl_phdr_info* info, std::size_t, void* data) {
  auto* search = static_cast<Search*>(data);
  if (!info->dlpi_name || !std::strstr(info->dlpi_name, "libmxnet")) return 0;
  void* library = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
  if (!library) return 0;
  search->found = dlsym(library, search->name);
  dlclose(library);  // gives back only this reference: the process keeps the library
  return search->found != nullptr;
}

}  // namespace

void* host_symbol(const char* name) {
  Search search{name};
  dl_iterate_phdr(find, &search);
  return search.found;
}

int host_version() {
  const auto get = reinterpret_cast<GetVersion>(host_symbol("MXGetVersion"));
  int version = 0;
  return get && get(&version) == 0 ? version : 0;
}

bool host_has_operator(const char* name) {
  const auto get = reinterpret_cast<GetOperator>(host_symbol("NNGetOpHandle"));
  void* handle = nullptr;
  return get && get(name, &handle) == 0;
}

}  // namespace bertpass::abi

using bertpass::abi::host_version;

// MX_LIBRARY_VERSION of the host. Any other answer makes it refuse the library with a clear sentence.
BERTPASS_EXPORT int _opVersion() {
  switch (host_version() / 100) {
    case 107: return 7;
    case 108: return 10;
    case 109: return 11;
    default: return 0;
  }
}

BERTPASS_EXPORT int initialize(int version) {
  if (version < 10700 || version >= 11000) return bertpass::abi::kFail;
  bertpass::abi::wait_in_python();
  return bertpass::abi::kSuccess;
}

// Messages for MX_FAIL, which 1.7 cannot read: errors are thrown as std::exception instead, which all versions can.
BERTPASS_EXPORT int _msgSize() { return 0; }
BERTPASS_EXPORT void _msgGet(int, const char** message) { *message = ""; }

#include <dlfcn.h>
#include <link.h>

#include <cstring>

#include "mxnet_abi/abi.h"

namespace bertpass::abi {
namespace {

using GetVersion = int (*)(int*);

// dl_iterate_phdr's callback: finds MXGetVersion in the loaded library whose file is named libmxnet.*.
int find_host(dl_phdr_info* info, std::size_t, void* found) {
  if (!info->dlpi_name || !std::strstr(info->dlpi_name, "libmxnet")) return 0;
  void* library = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
  if (!library) return 0;
  *static_cast<void**>(found) = dlsym(library, "MXGetVersion");
  dlclose(library);  // gives back only this reference: the process keeps the library
  return *static_cast<void**>(found) != nullptr;
}

}  // namespace

int host_version() {
  void* found = nullptr;
  dl_iterate_phdr(find_host, &found);
  int version = 0;
  if (!found || reinterpret_cast<GetVersion>(found)(&version) != 0) return 0;
  return version;
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
  return version >= 10700 && version < 11000 ? bertpass::abi::kSuccess : bertpass::abi::kFail;
}

// Messages for MX_FAIL, which 1.7 cannot read: errors are thrown as std::exception instead, which all versions can.
BERTPASS_EXPORT int _msgSize() { return 0; }
BERTPASS_EXPORT void _msgGet(int, const char** message) { *message = ""; }

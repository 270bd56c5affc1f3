// Arrays are complete before a pass reads them: see abi.h.
#include <dlfcn.h>

#include <string>

#include "graph/error.h"
#include "mxnet_abi/abi.h"

namespace bertpass::abi {
namespace {

constexpr const char* kModule = "mxnet.symbol.symbol";

// The arrays stand in lists or dicts among the arguments. A wait for them alone is right inside an operator written in
// Python too, where a wait for everything would never end. It runs in a namespace of its own and leaves nothing in the
// caller's. A second copy of this library finds the mark of the first.
constexpr const char* kWait = R"(exec('''
def wait(symbols):
    import functools

    given = symbols.Symbol.optimize_for
    if hasattr(given, "waits_for_arrays"):
        return

    @functools.wraps(given)
    def optimize_for(self, *positional, **named):
        for value in (*positional, *named.values()):
            group = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
            for array in group:
                if hasattr(array, "wait_to_read"):
                    array.wait_to_read()
        return given(self, *positional, **named)

    optimize_for.waits_for_arrays = True
    symbols.Symbol.optimize_for = optimize_for


import sys

wait(sys.modules["mxnet.symbol.symbol"])
''', {}))";

bool python_waits = false;

template <class Function>
Function python(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

}  // namespace

void wait_in_python() {
  const auto initialized = python<int (*)()>("Py_IsInitialized");
  const auto ensure = python<int (*)()>("PyGILState_Ensure");
  const auto release = python<void (*)(int)>("PyGILState_Release");
  const auto run = python<int (*)(const char*, void*)>("PyRun_SimpleStringFlags");
  const auto modules = python<void* (*)()>("PyImport_GetModuleDict");
  const auto item = python<void* (*)(void*, const char*)>("PyDict_GetItemString");
  if (!initialized || !ensure || !release || !run || !modules || !item || !initialized()) return;
  const int state = ensure();
  python_waits = item(modules(), kModule) && run(kWait, nullptr) == 0;
  release(state);
}

void wait_in_pass() {
  if (python_waits) return;
  const auto wait = reinterpret_cast<int (*)()>(host_symbol("MXNDArrayWaitAll"));
  if (!wait || wait() == 0) return;
  const auto reason = reinterpret_cast<const char* (*)()>(host_symbol("MXGetLastError"));
  throw PassError(std::string("an operation before the pass failed: ") + (reason ? reason() : "no reason given"));
}

}  // namespace bertpass::abi

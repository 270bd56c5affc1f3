// Custom operators: none are registered. The host resolves all of these names when it loads a library and calls those
// after _opCallFree only for a registered operator, so they need no parameters here.
#include <cstdlib>

#include "mxnet_abi/abi.h"

using bertpass::abi::kFail;

BERTPASS_EXPORT int _opRegSize() { return 0; }

// Frees what this library has allocated for the host, the text of a rewritten graph among it.
BERTPASS_EXPORT void _opCallFree(void* pointer) { std::free(pointer); }

BERTPASS_EXPORT void _opRegGet() {}
BERTPASS_EXPORT int _opCallParseAttrs() { return kFail; }
BERTPASS_EXPORT int _opCallInferShape() { return kFail; }
BERTPASS_EXPORT int _opCallInferType() { return kFail; }
BERTPASS_EXPORT int _opCallInferSType() { return kFail; }
BERTPASS_EXPORT int _opCallFCompute() { return kFail; }
BERTPASS_EXPORT int _opCallMutateInputs() { return kFail; }
BERTPASS_EXPORT int _opCallCreateOpState() { return kFail; }
BERTPASS_EXPORT int _opCallDestroyOpState() { return kFail; }
BERTPASS_EXPORT int _opCallFStatefulCompute() { return kFail; }

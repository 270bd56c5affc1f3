// Subgraph partitioners: none are registered. The host resolves all of these names when it loads a library and calls
// those after _partRegSize only for a registered partitioner, so they need no parameters here.
#include "mxnet_abi/abi.h"

using bertpass::abi::kFail;

BERTPASS_EXPORT int _partRegSize() { return 0; }

BERTPASS_EXPORT int _partRegGetCount() { return kFail; }
BERTPASS_EXPORT void _partRegGet() {}
BERTPASS_EXPORT int _partCallSupportedOps() { return kFail; }
BERTPASS_EXPORT int _partCallCreateSelector() { return kFail; }
BERTPASS_EXPORT void _partCallSelect() {}
BERTPASS_EXPORT void _partCallSelectInput() {}
BERTPASS_EXPORT void _partCallSelectOutput() {}
BERTPASS_EXPORT void _partCallFilter() {}
BERTPASS_EXPORT void _partCallReset() {}
BERTPASS_EXPORT int _partCallReviewSubgraph() { return kFail; }

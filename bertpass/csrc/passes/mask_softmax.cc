// MaskSoftmax: a published name that changes nothing here.
//
// GluonNLP's pass of this name computes the mask of the attention once for all layers, as a sum before a softmax without
// lengths, which oneDNN has an operator for. The results are those of the softmax with lengths; native_encoder computes no
// masked score at all.
#include "passes/pass.h"

namespace bertpass {
namespace {

std::size_t run(Graph&, Parameters&, const PassOptions&) { return 0; }

}  // namespace

const Pass kMaskSoftmax = {"MaskSoftmax", "changes nothing here: native_encoder computes the softmax over the valid tokens",
                           /*on_cpu=*/false, /*on_gpu=*/false, run};

}  // namespace bertpass

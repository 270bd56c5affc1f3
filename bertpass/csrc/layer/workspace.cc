#include "layer/workspace.h"

#include <algorithm>

#include "ops/attention.h"

namespace bertpass::native {

void Workspace::shape(const Kernels& kernels, const Widths& widths, Type type, Index tokens, Index group,
                      Index longest, int threads) {
  const Index units = widths.units;
  const auto sized = [](Index columns, Type of) { return Rows{nullptr, stride_of(columns, size_of(of)), of}; };
  stream = sum = sized(units, Type::float32);
  qkv = sized(3 * units, Type::float32);
  mixed = low = sized(units, type);
  hidden = sized(widths.hidden, type);
  scratch_of_a_thread = round_up(attention_scratch(kernels, longest, widths.head_size()), kLine);

  const auto bytes = [](const Rows& matrix, Index rows) { return matrix.stride * size_of(matrix.type) * rows; };
  const Index stream_bytes = bytes(stream, tokens);
  const Index low_bytes = type == Type::bfloat16 ? bytes(low, tokens) : 0;
  const Index sum_bytes = bytes(sum, group), mixed_bytes = bytes(mixed, group);
  const Index shared = std::max(bytes(qkv, group), bytes(hidden, group));
  const Index scratch_bytes = scratch_of_a_thread * threads * static_cast<Index>(sizeof(float));
  memory_.grow(stream_bytes + low_bytes + sum_bytes + mixed_bytes + shared + scratch_bytes);

  char* next = memory_.as<char>();
  const auto take = [&next](Index size) {
    char* here = next;
    next += size;
    return static_cast<void*>(here);
  };
  stream.data = take(stream_bytes);
  low.data = low_bytes ? take(low_bytes) : nullptr;
  sum.data = take(sum_bytes);
  mixed.data = take(mixed_bytes);
  qkv.data = hidden.data = take(shared);
  scratch = static_cast<float*>(take(scratch_bytes));
}

}  // namespace bertpass::native

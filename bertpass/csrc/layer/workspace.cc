#include "layer/workspace.h"

#include <algorithm>

#include "ops/attention.h"

namespace bertpass::native {

void Workspace::shape(const Kernels& kernels, const Widths& widths, Type type, Index tokens, Index longest,
                      int threads) {
  const Index units = widths.units;
  const auto sized = [](Index columns, Type of) { return Rows{nullptr, stride_of(columns, size_of(of)), of}; };
  stream = sum = sized(units, Type::float32);
  qkv = sized(3 * units, Type::float32);
  mixed = low = sized(units, type);
  hidden = sized(widths.hidden, type);
  scratch_of_a_thread = round_up(attention_scratch(kernels, longest, widths.head_size()), kLine);

  const auto bytes = [&](const Rows& rows) { return rows.stride * size_of(rows.type) * tokens; };
  const Index shared = std::max(bytes(qkv), bytes(hidden));
  const Index low_bytes = type == Type::bfloat16 ? bytes(low) : 0;
  memory_.grow(2 * bytes(stream) + low_bytes + bytes(mixed) + shared + scratch_of_a_thread * threads * 4);

  char* next = memory_.as<char>();
  const auto take = [&next](Index size) {
    char* here = next;
    next += size;
    return static_cast<void*>(here);
  };
  stream.data = take(bytes(stream));
  sum.data = take(bytes(sum));
  low.data = low_bytes ? take(low_bytes) : nullptr;
  mixed.data = take(bytes(mixed));
  qkv.data = hidden.data = take(shared);
  scratch = static_cast<float*>(take(scratch_of_a_thread * threads * 4));
}

}  // namespace bertpass::native

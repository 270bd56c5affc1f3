#include "layer/workspace.h"

#include <algorithm>

#include "ops/attention.h"

namespace bertpass::native {
namespace {

Index bytes(const Rows& matrix, Index rows) { return matrix.stride * size_of(matrix.type) * rows; }

Index scale_bytes(const Rows& matrix, Index rows) {
  return matrix.type == Type::int8 ? round_up(rows * static_cast<Index>(sizeof(RowScale)), kLine) : 0;
}

}  // namespace

void Workspace::shape(const Kernels& kernels, const Widths& widths, Type type, Index tokens, Index group,
                      Index longest, int threads) {
  // Activations between two matrix products: bytes need the whole row first.
  const Type between = type == Type::bfloat16 ? Type::bfloat16 : Type::float32;
  // Products of attention: never in bytes, and in bfloat16 beside them only where that is fast.
  const Type products = type == Type::int8 && kernels.fast_bf16 ? Type::bfloat16 : between;
  const auto sized = [](Index columns, Type of) { return Rows{nullptr, stride_of(columns, size_of(of)), of, nullptr}; };
  stream = sum = sized(widths.units, Type::float32);
  low = sized(widths.units, type);
  qkv = sized(3 * widths.units, products);
  mixed = sized(widths.units, between);
  hidden = sized(widths.hidden, between);
  hidden_low = sized(widths.hidden, Type::int8);
  scratch_of_a_thread = attention_scratch(kernels, products, longest, widths.head_size());

  const bool lower = type != Type::float32, quantized = type == Type::int8;
  const Index shared = std::max(bytes(qkv, group), bytes(hidden, group));
  const Index sizes[] = {bytes(stream, tokens),
                         lower ? bytes(low, tokens) : 0,
                         lower ? scale_bytes(low, tokens) : 0,
                         bytes(sum, group),
                         bytes(mixed, group),
                         shared,
                         quantized ? bytes(hidden_low, group) : 0,
                         quantized ? scale_bytes(hidden_low, group) : 0,
                         scratch_of_a_thread * threads};
  Index total = 0;
  for (const Index size : sizes) total += size;
  memory_.grow(total);

  char* next = memory_.as<char>();
  const Index* size = sizes;
  const auto take = [&] {
    char* here = *size ? next : nullptr;
    next += *size++;
    return here;
  };
  stream.data = take();
  low.data = take();
  low.scales = reinterpret_cast<RowScale*>(take());
  sum.data = take();
  mixed.data = take();
  qkv.data = hidden.data = take();
  hidden_low.data = take();
  hidden_low.scales = reinterpret_cast<RowScale*>(take());
  scratch = take();
}

}  // namespace bertpass::native

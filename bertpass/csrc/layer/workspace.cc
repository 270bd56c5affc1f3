#include "layer/workspace.h"

#include <algorithm>

#include "ops/attention.h"

namespace bertpass::native {
namespace {

// Make the rows of an area long enough for `columns` of a type.
void widen(Area& area, Index columns, Type type) {
  area.row_bytes = std::max(area.row_bytes, stride_of(columns, size_of(type)) * size_of(type));
}

}  // namespace

void Workspace::shape(const Kernels& kernels, const Widths& widths, const LayerForm& form,
                      const std::vector<LayerTypes>& types, bool window, Index tokens, Index rows, Index longest,
                      int threads, bool apart, Index least_scratch) {
  group = rows;
  low = qkv = mixed = normed = hidden = hidden_low = head = {};
  scratch_of_a_thread = round_up(least_scratch, kLine);
  if (form.norm_first) widen(normed, widths.units, Type::float32);
  for (const LayerTypes& layer : types) {
    const Type products = attention_type(kernels, layer.qkv);
    widen(qkv, 3 * widths.units, products);
    if (attends_heads(kernels, products, widths.head_size())) widen(head, 3 * widths.head_size(), products);
    widen(mixed, widths.units, before(kernels, layer.proj));
    // a gated product gives whole halves of panels
    const Index inner = form.gated ? round_up(widths.hidden, kPanel / 2) : widths.hidden;
    widen(hidden, inner, before(kernels, layer.down));
    for (const Type type : {layer.qkv, layer.up})
      if (type != Type::float32) widen(low, widths.units, type);
    if (layer.proj == Type::int8) widen(low, widths.units, Type::int8);
    if (layer.down == Type::int8) widen(hidden_low, widths.hidden, Type::int8);
    scratch_of_a_thread = std::max(
        scratch_of_a_thread,
        attention_scratch(kernels, products, longest, widths.head_size(), window, widths.distances));
  }
  stream = Rows{nullptr, stride_of(widths.units, sizeof(float)), Type::float32, nullptr};

  const auto scales = [](const Area& area, Index rows) {
    return area.row_bytes ? round_up(rows * static_cast<Index>(sizeof(RowScale)), kLine) : 0;
  };
  by_thread = apart && group * threads <= tokens;
  const Index within = by_thread ? group * threads : apart ? tokens : group;
  const Index sizes[] = {stream.stride * static_cast<Index>(sizeof(float)) * tokens,
                         low.row_bytes * tokens,
                         scales(low, tokens),
                         mixed.row_bytes * within,
                         normed.row_bytes * within,
                         std::max(qkv.row_bytes, hidden.row_bytes) * within,
                         hidden_low.row_bytes * within,
                         scales(hidden_low, within),
                         head.row_bytes * group * threads,
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
  mixed.data = take();
  normed.data = take();
  qkv.data = hidden.data = take();
  hidden_low.data = take();
  hidden_low.scales = reinterpret_cast<RowScale*>(take());
  head.data = take();
  scratch = take();
}

}  // namespace bertpass::native

// Embeddings and layer normalisation: one warp a token.
#include <type_traits>

#include "cuda/kernels/dispatch.h"
#include "cuda/kernels/row.h"

namespace bertpass::cuda {
namespace {

constexpr int kMostThreads = 128;

BP_DEVICE int clamped(int value, int count) { return value < 0 ? 0 : value < count ? value : count - 1; }

template <class T, int kGroups>
BP_KERNEL(kMostThreads)
embed_kernel(const Batch* batch, const std::int32_t* offsets, Tables tables, Norm norm, int units, T* out) {
  const Batch b = *batch;
  const int token = row_of_warp();
  if (token >= b.tokens) return;
  const int sequence = sequence_of(offsets, b.sequences, token);
  const int position = token - offsets[sequence];
  const std::int64_t at = static_cast<std::int64_t>(sequence) * b.length + position;
  const std::int64_t id = clamped(b.ids[at], tables.vocabulary);
  Row<kGroups> row;
  read_row(static_cast<const T*>(tables.words) + id * units, units, row);
  if (tables.positions)
    add_row(static_cast<const T*>(tables.positions) + static_cast<std::int64_t>(position) * units, units, row);
  if (tables.types) {
    const std::int64_t type = b.types ? clamped(b.types[at], tables.token_types) : 0;
    add_row(static_cast<const T*>(tables.types) + type * units, units, row);
  }
  write_normalised(row, units, norm.gamma, norm.beta, norm.epsilon, out + static_cast<std::int64_t>(token) * units);
}

template <class T, int kGroups>
BP_KERNEL(kMostThreads)
norm_kernel(const Batch* batch, int rows, const T* x, Norm norm, int units, T* out) {
  const int token = row_of_warp();
  if (token >= (batch ? batch->tokens : rows)) return;
  const std::int64_t start = static_cast<std::int64_t>(token) * units;
  Row<kGroups> row;
  read_row(x + start, units, row);
  write_normalised(row, units, norm.gamma, norm.beta, norm.epsilon, out + start);
}

}  // namespace

void embed(Dtype dtype, const Batch* batch, const std::int32_t* offsets, const Tables& tables, const Norm& norm, int units,
           int rows, void* out, cudaStream_t stream) {
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_groups(units, [&](auto groups) {
      launch(embed_kernel<T, decltype(groups)::value>, grid_of_rows(rows), stream, "embed", batch, offsets, tables, norm,
             units, static_cast<T*>(out));
    });
  });
}

void layer_norm(Dtype dtype, const Batch* batch, const void* x, const Norm& norm, int units, int rows, void* out,
                cudaStream_t stream) {
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_groups(units, [&](auto groups) {
      launch(norm_kernel<T, decltype(groups)::value>, grid_of_rows(rows), stream, "layer_norm", batch, rows,
             static_cast<const T*>(x), norm, units, static_cast<T*>(out));
    });
  });
}

}  // namespace bertpass::cuda

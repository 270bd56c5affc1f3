#include "cuda/encoder/batch.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace bertpass::cuda {
namespace {

constexpr std::size_t kAlign = 256;  // as cudaMalloc's

std::size_t aligned(std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

}  // namespace

int bucket_of(int tokens) {
  int step = 16;
  while (tokens > 32 * step) step *= 2;
  return (tokens + step - 1) / step * step;
}

int tile_bucket_of(int tiles) {
  int bucket = 1;
  while (bucket < tiles) bucket *= 2;
  return bucket;
}

int most_tiles(int sequences, int tokens, int queries) { return std::min(tokens, tokens / queries + sequences); }

BatchLayout::BatchLayout(int sequences, int tokens, int queries) {
  const std::size_t ids = aligned(sizeof(std::int32_t) * static_cast<std::size_t>(tokens));
  offsets = aligned(sizeof(Batch));
  tiles = offsets + aligned(sizeof(std::int32_t) * (static_cast<std::size_t>(sequences) + 1));
  bytes = tiles + aligned(sizeof(Tile) * static_cast<std::size_t>(most_tiles(sequences, tokens, queries))) + 2 * ids;
}

WrittenBatch write_batch(const Inputs& inputs, int queries, const BatchLayout& layout, char* host, const char* device) {
  auto* const offsets = reinterpret_cast<std::int32_t*>(host + layout.offsets);
  auto* const tiles = reinterpret_cast<Tile*>(host + layout.tiles);
  offsets[0] = 0;
  for (int s = 0; s < inputs.sequences; ++s) offsets[s + 1] = offsets[s] + inputs.lengths[s];
  std::vector<int> order(inputs.sequences);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return inputs.lengths[a] > inputs.lengths[b]; });
  Batch batch{inputs.ids, inputs.types, offsets[inputs.sequences], inputs.sequences, inputs.length, 0};
  for (const int s : order)
    for (int first = 0; first < inputs.lengths[s]; first += queries)
      tiles[batch.tiles++] = {offsets[s], inputs.lengths[s], first, 0};
  std::size_t end = layout.tiles + sizeof(Tile) * static_cast<std::size_t>(batch.tiles);
  const std::size_t padded = sizeof(std::int32_t) * inputs.sequences * inputs.length;
  const auto place = [&](const std::int32_t* from) {
    const std::size_t at = aligned(end);
    std::memcpy(host + at, from, padded);
    end = at + padded;
    return reinterpret_cast<const std::int32_t*>(device + at);
  };
  if (!inputs.on_device) {
    batch.ids = place(inputs.ids);
    if (inputs.types) batch.types = place(inputs.types);
  }
  std::memcpy(host, &batch, sizeof batch);
  return {batch, end};
}

}  // namespace bertpass::cuda

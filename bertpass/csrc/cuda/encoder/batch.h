// What the host works out of a batch before its kernels start: which tokens are text, and the work of attention.
#pragma once

#include <cstdint>
#include <vector>

#include "cuda/kernels/kernels.h"

namespace bertpass::cuda {

// A batch as a caller gives it. lengths are the host's; ids and types are both the host's or both the device's.
struct Inputs {
  const std::int32_t* ids = nullptr;      // (sequences, length)
  const std::int32_t* types = nullptr;    // the same, or null
  const std::int32_t* lengths = nullptr;  // (sequences), from 0 to length
  int sequences = 0, length = 0;
  bool on_device = false;
};

// Rows for which kernels are started where there are `tokens`: at most a sixteenth more from 256 tokens on, so that few
// graphs serve all batches; at least 16.
int bucket_of(int tokens);

// Blocks of attention for which kernels are started: the next power of two.
int tile_bucket_of(int tiles);

// Tiles that a batch has at most.
int most_tiles(int sequences, int tokens, int queries);

// Where the parts of a batch stand in one piece of memory, the same on the host and on the device, in bytes. The batch
// comes first; its ids and types come last, where its own pointers say.
struct BatchLayout {
  std::size_t offsets = 0, tiles = 0, bytes = 0;
  BatchLayout() = default;
  BatchLayout(int sequences, int tokens, int queries);
};

struct WrittenBatch {
  Batch batch;
  std::size_t bytes;  // of the layout's memory, from its start
};

// A batch into host memory of the layout that is to be copied to `device`. Ids and types that are on the device stay where
// they are. Long sequences get the first tiles, so that none begins when the others are done.
WrittenBatch write_batch(const Inputs& inputs, int queries, const BatchLayout& layout, char* host, const char* device);

}  // namespace bertpass::cuda

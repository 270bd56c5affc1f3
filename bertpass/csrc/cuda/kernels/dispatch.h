// From a type at run time to one at compile time.
#pragma once

#include "cuda/device/launch.h"
#include "cuda/device/types.h"
#include "cuda/kernels/kernels.h"

namespace bertpass::cuda {

template <class T>
struct TypeTag {
  using type = T;
};

template <class Work>
void with_type(Dtype dtype, const Work& work) {
  switch (dtype) {
    case Dtype::float32: return work(TypeTag<float>{});
    case Dtype::float16: return work(TypeTag<Half>{});
    case Dtype::bfloat16: return work(TypeTag<Bfloat16>{});
  }
}

// Warps of a block where each warp has a row: few rows are spread over many multiprocessors.
inline int warps_for(int rows) { return rows >= 2048 ? 4 : 1; }

inline Grid grid_of_rows(int rows) {
  const int warps = warps_for(rows);
  return {(rows + warps - 1) / warps, 1, warps * 32, 0};
}

}  // namespace bertpass::cuda

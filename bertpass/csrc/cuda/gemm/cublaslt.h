// The part of cuBLASLt's C interface that the engine calls. The library is opened when a model is loaded and not before,
// and building needs no header of it. Values: cublasLt.h and cublas_api.h of CUDA 12 and 13; tests/cuda compares them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/device/runtime.h"

namespace bertpass::cuda::lt {

using Handle = void*;
using Desc = void*;
using Layout = void*;
using Preference = void*;
using Status = int;

struct Algorithm {
  std::uint64_t data[8];
};

struct Heuristic {
  Algorithm algorithm;
  std::size_t workspace;
  Status state;
  float waves;
  int reserved[4];
};

constexpr Status kSuccess = 0;
constexpr int kFloat32 = 0, kFloat16 = 2, kBfloat16 = 14;                                  // cudaDataType_t
constexpr int kCompute32F = 68;                                                            // cublasComputeType_t
constexpr int kTransposed = 1;                                                             // cublasOperation_t
constexpr int kDescTransA = 3, kDescEpilogue = 7, kDescBias = 8;                           // matmul attributes
constexpr int kEpilogueBias = 4, kEpilogueReluBias = 6, kEpilogueGeluBias = 36;
constexpr int kPreferenceWorkspace = 1;

struct Functions {
  Status (*create)(Handle*);
  Status (*destroy)(Handle);
  std::size_t (*version)();
  Status (*desc_create)(Desc*, int compute, int scale);
  Status (*desc_destroy)(Desc);
  Status (*desc_set)(Desc, int attribute, const void* value, std::size_t bytes);
  Status (*layout_create)(Layout*, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t leading);
  Status (*layout_destroy)(Layout);
  Status (*preference_create)(Preference*);
  Status (*preference_destroy)(Preference);
  Status (*preference_set)(Preference, int attribute, const void* value, std::size_t bytes);
  Status (*heuristics)(Handle, Desc, Layout a, Layout b, Layout c, Layout d, Preference, int asked, Heuristic*, int* found);
  Status (*check)(Handle, Desc, Layout a, Layout b, Layout c, Layout d, const Algorithm*, Heuristic*);
  Status (*matmul)(Handle, Desc, const void* alpha, const void* a, Layout, const void* b, Layout, const void* beta,
                   const void* c, Layout, void* d, Layout, const Algorithm*, void* workspace, std::size_t bytes,
                   cudaStream_t);
};

// The library, opened for the life of the process. `path` null: libcublasLt.so.13, .12 or .so, wherever the loader finds
// one. Throws CudaError where there is none or a function is missing.
const Functions& open(const char* path);

// CudaError for a status other than kSuccess.
void check(Status status, const char* what);

}  // namespace bertpass::cuda::lt

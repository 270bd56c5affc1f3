// Compiled against the real headers: gemm/cublaslt.h says the same as they do.
#include <cublasLt.h>

#include <type_traits>

#include "cuda/gemm/cublaslt.h"

namespace lt = bertpass::cuda::lt;

static_assert(lt::kSuccess == CUBLAS_STATUS_SUCCESS);
static_assert(lt::kFloat32 == CUDA_R_32F && lt::kFloat16 == CUDA_R_16F && lt::kBfloat16 == CUDA_R_16BF);
static_assert(lt::kCompute32F == CUBLAS_COMPUTE_32F && lt::kTransposed == CUBLAS_OP_T);
static_assert(lt::kDescTransA == CUBLASLT_MATMUL_DESC_TRANSA && lt::kDescEpilogue == CUBLASLT_MATMUL_DESC_EPILOGUE &&
              lt::kDescBias == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(lt::kEpilogueBias == CUBLASLT_EPILOGUE_BIAS && lt::kEpilogueReluBias == CUBLASLT_EPILOGUE_RELU_BIAS &&
              lt::kEpilogueGeluBias == CUBLASLT_EPILOGUE_GELU_BIAS);
static_assert(lt::kPreferenceWorkspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(sizeof(lt::Algorithm) == sizeof(cublasLtMatmulAlgo_t) && alignof(lt::Algorithm) == alignof(cublasLtMatmulAlgo_t));
static_assert(sizeof(lt::Heuristic) == sizeof(cublasLtMatmulHeuristicResult_t) &&
              offsetof(lt::Heuristic, workspace) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) &&
              offsetof(lt::Heuristic, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));

// The same parameters, where handles, enums and pointers to structures count as what they are passed as.
template <class T>
struct Passed {
  using type = std::conditional_t<std::is_enum_v<T>, int, T>;
};
template <class T>
struct Passed<T*> {
  using type = void*;
};
template <class R, class... A>
using Signature = typename Passed<R>::type (*)(typename Passed<A>::type...);
template <class R, class... A>
Signature<R, A...> plain(R (*)(A...));

#define SAME(field, function) \
  static_assert(std::is_same_v<decltype(plain(lt::Functions{}.field)), decltype(plain(&function))>, #function)
SAME(create, cublasLtCreate);
SAME(destroy, cublasLtDestroy);
SAME(version, cublasLtGetVersion);
SAME(desc_create, cublasLtMatmulDescCreate);
SAME(desc_destroy, cublasLtMatmulDescDestroy);
SAME(desc_set, cublasLtMatmulDescSetAttribute);
SAME(layout_create, cublasLtMatrixLayoutCreate);
SAME(layout_destroy, cublasLtMatrixLayoutDestroy);
SAME(preference_create, cublasLtMatmulPreferenceCreate);
SAME(preference_destroy, cublasLtMatmulPreferenceDestroy);
SAME(preference_set, cublasLtMatmulPreferenceSetAttribute);
SAME(heuristics, cublasLtMatmulAlgoGetHeuristic);
SAME(check, cublasLtMatmulAlgoCheck);
SAME(matmul, cublasLtMatmul);

// cuBLASLt's functions for the twins: each product in plain loops, in the order that its documentation gives, so that
// what the engine says about layouts, epilogues and the residual is tested. Two algorithms are proposed; a product with
// any other, or with memory that is too small, is refused.
#include "cuda/gemm/cublaslt.h"

#include <cmath>
#include <cstring>

#include "cuda/device/rounding.h"

namespace lt = bertpass::cuda::lt;
using namespace bertpass::cuda;

namespace {

constexpr int kInvalid = 7, kUnsupported = 15;  // CUBLAS_STATUS_INVALID_VALUE, CUBLAS_STATUS_NOT_SUPPORTED
constexpr std::uint64_t kMark = 0xb5;

struct TwinDesc {
  int transposed_a = 0, epilogue = 1;
  const void* bias = nullptr;
};
struct TwinLayout {
  int type;
  std::int64_t rows, columns, leading;
};
struct TwinPreference {
  std::size_t workspace = 0;
};

float read(const void* data, int type, std::int64_t at) {
  if (type == lt::kFloat32) return static_cast<const float*>(data)[at];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[at];
  return type == lt::kFloat16 ? half_value(bits) : bfloat16_value(bits);
}

void write(void* data, int type, std::int64_t at, float value) {
  if (type == lt::kFloat32) static_cast<float*>(data)[at] = value;
  else static_cast<std::uint16_t*>(data)[at] = type == lt::kFloat16 ? half_bits(value) : bfloat16_bits(value);
}

float finished(float x, int epilogue) {
  if (epilogue == lt::kEpilogueReluBias) return std::fmax(x, 0.0f);
  if (epilogue == lt::kEpilogueGeluBias)
    return 0.5f * x * (1 + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
  return x;
}

// Matrices by columns: d (m, n) = epilogue(op(a) (m, k) b (k, n) + beta c + bias of each row).
void product(const TwinDesc& desc, const void* a, const TwinLayout& la, const void* b, const TwinLayout& lb, float beta,
             const void* c, void* d, const TwinLayout& ld) {
  for (std::int64_t column = 0; column < ld.columns; ++column)
    for (std::int64_t row = 0; row < ld.rows; ++row) {
      float sum = 0;
      for (std::int64_t k = 0; k < lb.rows; ++k)
        sum += read(a, la.type, desc.transposed_a ? k + row * la.leading : row + k * la.leading) *
               read(b, lb.type, k + column * lb.leading);
      const std::int64_t at = row + column * ld.leading;
      if (beta != 0) sum += beta * read(c, ld.type, at);
      write(d, ld.type, at, finished(sum + read(desc.bias, ld.type, row), desc.epilogue));
    }
}

bool fits(const TwinDesc& desc, const TwinLayout& a, const TwinLayout& b, const TwinLayout& c, const TwinLayout& d) {
  const std::int64_t m = desc.transposed_a ? a.columns : a.rows, k = desc.transposed_a ? a.rows : a.columns;
  return m == d.rows && k == b.rows && b.columns == d.columns && c.rows == d.rows && c.columns == d.columns &&
         a.leading >= a.rows && b.leading >= b.rows && d.leading >= d.rows && a.type == b.type && b.type == d.type;
}

template <class T>
const T& as(const void* handle) {
  return *static_cast<const T*>(handle);
}

}  // namespace

#define BP_EXPORT extern "C" __attribute__((visibility("default")))

BP_EXPORT int cublasLtCreate(void** handle) { return *handle = new int(0), lt::kSuccess; }
BP_EXPORT int cublasLtDestroy(void* handle) {
  delete static_cast<int*>(handle);
  return lt::kSuccess;
}
BP_EXPORT std::size_t cublasLtGetVersion() { return 0; }
BP_EXPORT int cublasLtMatmulDescCreate(void** desc, int compute, int scale) {
  if (compute != lt::kCompute32F || scale != lt::kFloat32) return kInvalid;
  return *desc = new TwinDesc, lt::kSuccess;
}
BP_EXPORT int cublasLtMatmulDescDestroy(void* desc) {
  delete static_cast<TwinDesc*>(desc);
  return lt::kSuccess;
}
BP_EXPORT int cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, std::size_t bytes) {
  auto& to = *static_cast<TwinDesc*>(desc);
  if (attribute == lt::kDescBias && bytes == sizeof to.bias) return std::memcpy(&to.bias, value, bytes), lt::kSuccess;
  if (bytes != sizeof(int)) return kInvalid;
  if (attribute == lt::kDescTransA) return std::memcpy(&to.transposed_a, value, bytes), lt::kSuccess;
  if (attribute == lt::kDescEpilogue) return std::memcpy(&to.epilogue, value, bytes), lt::kSuccess;
  return kInvalid;
}
BP_EXPORT int cublasLtMatrixLayoutCreate(void** layout, int type, std::uint64_t rows, std::uint64_t columns,
                                         std::int64_t leading) {
  *layout = new TwinLayout{type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns), leading};
  return lt::kSuccess;
}
BP_EXPORT int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<TwinLayout*>(layout);
  return lt::kSuccess;
}
BP_EXPORT int cublasLtMatmulPreferenceCreate(void** preference) { return *preference = new TwinPreference, lt::kSuccess; }
BP_EXPORT int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<TwinPreference*>(preference);
  return lt::kSuccess;
}
BP_EXPORT int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, std::size_t bytes) {
  if (attribute != lt::kPreferenceWorkspace || bytes != sizeof(std::size_t)) return kInvalid;
  return std::memcpy(&static_cast<TwinPreference*>(preference)->workspace, value, bytes), lt::kSuccess;
}
BP_EXPORT int cublasLtMatmulAlgoGetHeuristic(void*, void* desc, void* a, void* b, void* c, void* d, void* preference,
                                             int asked, lt::Heuristic* found, int* count) {
  if (!fits(as<TwinDesc>(desc), as<TwinLayout>(a), as<TwinLayout>(b), as<TwinLayout>(c), as<TwinLayout>(d)))
    return kInvalid;
  *count = asked < 2 ? asked : 2;
  for (int i = 0; i < *count; ++i) {
    found[i] = {};
    found[i].algorithm.data[0] = kMark + static_cast<std::uint64_t>(i);
    found[i].workspace = as<TwinPreference>(preference).workspace;
  }
  return lt::kSuccess;
}
BP_EXPORT int cublasLtMatmulAlgoCheck(void*, void*, void*, void*, void*, void*, const lt::Algorithm* algorithm,
                                      lt::Heuristic* result) {
  if (algorithm->data[0] - kMark > 1) return kUnsupported;
  *result = {};
  result->algorithm = *algorithm;
  return lt::kSuccess;
}
BP_EXPORT int cublasLtMatmul(void*, void* desc, const void* alpha, const void* a, void* la, const void* b, void* lb,
                             const void* beta, const void* c, void* lc, void* d, void* ld,
                             const lt::Algorithm* algorithm, void* workspace, std::size_t bytes, cudaStream_t stream) {
  const auto &how = as<TwinDesc>(desc);
  const auto &ta = as<TwinLayout>(la), &tb = as<TwinLayout>(lb), &td = as<TwinLayout>(ld);
  if (as<float>(alpha) != 1 || !fits(how, ta, tb, as<TwinLayout>(lc), td) || algorithm->data[0] - kMark > 1 ||
      !workspace || !bytes || !how.bias)
    return kInvalid;
  const float factor = as<float>(beta);
  twin::enqueue(stream, [=] { product(how, a, ta, b, tb, factor, c, d, td); });
  return lt::kSuccess;
}

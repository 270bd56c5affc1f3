// Dense layers through cuBLASLt: y = activation(x weight^T + bias) + residual.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda/gemm/algorithms.h"
#include "cuda/gemm/cublaslt.h"
#include "cuda/kernels/kernels.h"

namespace bertpass::cuda {

// What cuBLASLt adds to a product. Its GELU is the tanh form.
enum class Epilogue { bias, bias_gelu_tanh, bias_relu };

// What every layer's product of one kind has in common.
struct DenseShape {
  int columns = 0, depth = 0;
  Epilogue epilogue = Epilogue::bias;
  bool residual = false;
  int stride = 0;  // from one row of x to the next; 0: they are side by side
  int distance() const { return stride ? stride : depth; }
};

// Memory for measuring, of as many rows as are measured: `wide` of the widest layer, the others of `columns` numbers a row.
struct Scratch {
  void *in, *out, *residual, *wide;
  int columns;
};

// Workspace of a product on the device; splitting the depth of a product among blocks needs it.
constexpr std::size_t kGemmWorkspace = std::size_t{32} << 20;

// Products of one shape for a number of rows, and the algorithm that is taken.
class GemmPlan;

// Safe in several threads. Plans are made once for each number of rows and kept.
class Gemm {
 public:
  // path: see lt::open. algorithms: what was measured before, or null to take cuBLASLt's first proposal.
  Gemm(const char* path, Dtype dtype, std::shared_ptr<Algorithms> algorithms);
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  // A layer's weights, memory on the device that outlives this: weight (columns, depth), bias (columns).
  int add(const DenseShape& shape, const void* weight, const void* bias);

  // Makes the plan of every product for this number of rows, where it is not there. With algorithms to be measured it
  // times them on the stream, waits for that, and the content of the scratch memory is lost.
  void prepare(int rows, const Scratch& scratch, void* workspace, cudaStream_t stream);

  // out (rows, columns) of product `number`; x (rows, depth). residual: (rows, columns), where the shape has one. Its plan
  // must have been prepared.
  void run(int number, int rows, const void* x, const void* residual, void* out, void* workspace,
           cudaStream_t stream) const;

  std::size_t version() const { return lt_.version(); }

 private:
  struct Product {
    int shape;
    const void* weight;
    lt::Desc desc;
  };
  std::shared_ptr<const GemmPlan> make(int shape, int rows, const Scratch& scratch, void* workspace,
                                       cudaStream_t stream);
  void start(const Product& product, const GemmPlan& plan, const lt::Algorithm& algorithm, const void* x,
             const void* residual, void* out, void* workspace, cudaStream_t stream) const;

  const lt::Functions& lt_;
  Dtype dtype_;
  std::shared_ptr<Algorithms> algorithms_;
  lt::Handle handle_ = nullptr;
  std::vector<DenseShape> shapes_;
  std::vector<Product> products_;
  mutable std::mutex mutex_;
  std::mutex making_;  // one thread makes plans at a time
  std::map<std::pair<int, int>, std::shared_ptr<const GemmPlan>> plans_;  // by shape and rows
};

}  // namespace bertpass::cuda

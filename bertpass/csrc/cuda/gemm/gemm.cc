#include "cuda/gemm/gemm.h"

#include <algorithm>

namespace bertpass::cuda {
namespace {

constexpr int kCandidates = 16;  // algorithms that are timed
constexpr int kRounds = 3;       // each, of which the fastest counts
constexpr int kLastRounds = 5;   // of the two fastest in turn, which decide

int type_of(Dtype dtype) {
  return dtype == Dtype::float32 ? lt::kFloat32 : dtype == Dtype::float16 ? lt::kFloat16 : lt::kBfloat16;
}

int epilogue_of(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::bias: return lt::kEpilogueBias;
    case Epilogue::bias_gelu_tanh: return lt::kEpilogueGeluBias;
    case Epilogue::bias_relu: return lt::kEpilogueReluBias;
  }
  return 0;
}

bool same(const DenseShape& a, const DenseShape& b) {
  return a.columns == b.columns && a.depth == b.depth && a.epilogue == b.epilogue && a.residual == b.residual &&
         a.stride == b.stride;
}

std::string key_of(Dtype dtype, const DenseShape& shape, int rows) {
  const char* types[] = {"float32", "float16", "bfloat16"};
  const char* epilogues[] = {"bias", "bias gelu_tanh", "bias relu"};
  return std::string(" ") + types[static_cast<int>(dtype)] + " " + std::to_string(rows) + "x" +
         std::to_string(shape.columns) + "x" + std::to_string(shape.depth) + " " +
         epilogues[static_cast<int>(shape.epilogue)] + (shape.residual ? " residual" : "") +
         (shape.stride ? " of rows of " + std::to_string(shape.stride) : "");
}

}  // namespace

// cuBLASLt reads matrices by columns. A row of ours is a column of its: y^T = weight x^T, where the weight, (columns,
// depth) by rows, is its transposed (depth, columns).
class GemmPlan {
 public:
  GemmPlan(const lt::Functions& functions, Dtype dtype, const DenseShape& shape, int rows) : lt_(functions) {
    const int type = type_of(dtype);
    try {
      lt::check(lt_.layout_create(&weight, type, shape.depth, shape.columns, shape.depth), "cublasLtMatrixLayoutCreate");
      lt::check(lt_.layout_create(&in, type, shape.depth, rows, shape.distance()), "cublasLtMatrixLayoutCreate");
      lt::check(lt_.layout_create(&out, type, shape.columns, rows, shape.columns), "cublasLtMatrixLayoutCreate");
    } catch (...) {
      clear();
      throw;
    }
  }
  ~GemmPlan() { clear(); }
  GemmPlan(const GemmPlan&) = delete;
  GemmPlan& operator=(const GemmPlan&) = delete;

  lt::Layout weight = nullptr, in = nullptr, out = nullptr;
  lt::Algorithm algorithm{};

 private:
  void clear() {
    for (const lt::Layout layout : {weight, in, out})
      if (layout) lt_.layout_destroy(layout);
  }
  const lt::Functions& lt_;
};

Gemm::Gemm(const char* path, Dtype dtype, std::shared_ptr<Algorithms> algorithms)
    : lt_(lt::open(path)), dtype_(dtype), algorithms_(std::move(algorithms)) {
  lt::check(lt_.create(&handle_), "cublasLtCreate");
}

Gemm::~Gemm() {
  for (const Product& product : products_) lt_.desc_destroy(product.desc);
  plans_.clear();
  if (handle_) lt_.destroy(handle_);
}

int Gemm::add(const DenseShape& shape, const void* weight, const void* bias) {
  int number = 0;
  while (number < static_cast<int>(shapes_.size()) && !same(shapes_[number], shape)) ++number;
  if (number == static_cast<int>(shapes_.size())) shapes_.push_back(shape);
  lt::Desc desc = nullptr;
  lt::check(lt_.desc_create(&desc, lt::kCompute32F, lt::kFloat32), "cublasLtMatmulDescCreate");
  products_.push_back({number, weight, desc});
  const int transposed = lt::kTransposed, epilogue = epilogue_of(shape.epilogue);
  const auto set = [&](int attribute, const void* value, std::size_t bytes) {
    lt::check(lt_.desc_set(desc, attribute, value, bytes), "cublasLtMatmulDescSetAttribute");
  };
  set(lt::kDescTransA, &transposed, sizeof transposed);
  set(lt::kDescEpilogue, &epilogue, sizeof epilogue);
  set(lt::kDescBias, &bias, sizeof bias);
  return static_cast<int>(products_.size()) - 1;
}

void Gemm::start(const Product& product, const GemmPlan& plan, const lt::Algorithm& algorithm, const void* x,
                 const void* residual, void* out, void* workspace, cudaStream_t stream) const {
  const float one = 1, beta = residual ? 1.0f : 0.0f;
  lt::check(lt_.matmul(handle_, product.desc, &one, product.weight, plan.weight, x, plan.in, &beta,
                       residual ? residual : out, plan.out, out, plan.out, &algorithm, workspace, kGemmWorkspace, stream),
            "cublasLtMatmul");
}

void Gemm::prepare(int rows, const Scratch& scratch, void* workspace, cudaStream_t stream) {
  const int shapes = static_cast<int>(shapes_.size());
  const auto is_made = [&](int shape) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return plans_.count({shape, rows}) > 0;
  };
  int made = 0;
  while (made < shapes && is_made(made)) ++made;
  if (made == shapes) return;  // without waiting for a thread that measures another size
  const std::lock_guard<std::mutex> one_at_a_time(making_);
  const OutsideCaptures guard;
  for (int shape = made; shape < shapes; ++shape) {
    if (is_made(shape)) continue;
    auto plan = make(shape, rows, scratch, workspace, stream);
    const std::lock_guard<std::mutex> lock(mutex_);
    plans_[{shape, rows}] = std::move(plan);
  }
}

void Gemm::run(int number, int rows, const void* x, const void* residual, void* out, void* workspace,
               cudaStream_t stream) const {
  const Product& product = products_[number];
  std::shared_ptr<const GemmPlan> plan;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    plan = plans_.at({product.shape, rows});
  }
  start(product, *plan, plan->algorithm, x, residual, out, workspace, stream);
}

std::shared_ptr<const GemmPlan> Gemm::make(int number, int rows, const Scratch& scratch, void* workspace,
                                           cudaStream_t stream) {
  const DenseShape& shape = shapes_[number];
  auto plan = std::make_shared<GemmPlan>(lt_, dtype_, shape, rows);
  std::vector<const Product*> all;  // of this shape: of every layer, so that weights come from memory and not the cache
  for (const Product& product : products_)
    if (product.shape == number) all.push_back(&product);
  const lt::Desc desc = all.front()->desc;
  const std::string key = key_of(dtype_, shape, rows);
  lt::Heuristic known{};
  if (const auto kept = algorithms_ ? algorithms_->find(key) : std::nullopt;
      kept && lt_.check(handle_, desc, plan->weight, plan->in, plan->out, plan->out, &*kept, &known) == lt::kSuccess &&
      known.workspace <= kGemmWorkspace) {
    plan->algorithm = *kept;
    return plan;
  }

  lt::Preference preference = nullptr;
  lt::check(lt_.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
  const std::unique_ptr<void, lt::Status (*)(lt::Preference)> owner(preference, lt_.preference_destroy);
  const std::size_t most = kGemmWorkspace;
  lt::check(lt_.preference_set(preference, lt::kPreferenceWorkspace, &most, sizeof most),
            "cublasLtMatmulPreferenceSetAttribute");
  std::vector<lt::Heuristic> proposed(kCandidates);
  int found = 0;
  lt::check(lt_.heuristics(handle_, desc, plan->weight, plan->in, plan->out, plan->out, preference,
                           static_cast<int>(proposed.size()), proposed.data(), &found),
            "cublasLtMatmulAlgoGetHeuristic");
  const auto usable = [](const lt::Heuristic& one) {
    return one.state == lt::kSuccess && one.workspace <= kGemmWorkspace;
  };
  proposed.resize(found);
  const auto first = std::find_if(proposed.begin(), proposed.end(), usable);
  if (first == proposed.end()) throw CudaError("cuBLASLt has no algorithm for a product of" + key + ".");
  plan->algorithm = first->algorithm;
  if (!algorithms_) return plan;

  const void* in = shape.distance() > scratch.columns ? scratch.wide : scratch.in;
  void* out = shape.columns > scratch.columns ? scratch.wide : scratch.out;
  const Event begin = event(cudaEventDefault), end = event(cudaEventDefault);
  const auto measure = [&](const lt::Algorithm& algorithm) {  // milliseconds of all layers' products
    check(cudaEventRecord(begin.get(), stream), "cudaEventRecord");
    for (const Product* product : all)
      start(*product, *plan, algorithm, in, shape.residual ? scratch.residual : nullptr, out, workspace, stream);
    check(cudaEventRecord(end.get(), stream), "cudaEventRecord");
    check(cudaEventSynchronize(end.get()), "a matrix product");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "cudaEventElapsedTime");
    return milliseconds;
  };
  struct Timed {
    const lt::Algorithm* algorithm;
    float milliseconds;
  };
  std::vector<Timed> timed;
  for (const lt::Heuristic& one : proposed) {
    if (!usable(one)) continue;
    try {
      measure(one.algorithm);  // warms up
      timed.push_back({&one.algorithm, measure(one.algorithm)});
      for (int round = 1; round < kRounds; ++round)
        timed.back().milliseconds = std::min(timed.back().milliseconds, measure(one.algorithm));
    } catch (const LostError&) {
      throw;
    } catch (const CudaError&) {  // this device refuses a proposal: the others are left
      cudaGetLastError();
    }
  }
  if (timed.empty())
    throw CudaError("every algorithm that cuBLASLt proposes fails for a product of" + key + ".");
  const auto faster = [](const Timed& a, const Timed& b) { return a.milliseconds < b.milliseconds; };
  std::stable_sort(timed.begin(), timed.end(), faster);
  timed.resize(std::min<std::size_t>(timed.size(), 2));
  for (int round = 0; round < kLastRounds && timed.size() > 1; ++round)
    for (Timed& one : timed) one.milliseconds = std::min(one.milliseconds, measure(*one.algorithm));
  const Timed& best = *std::min_element(timed.begin(), timed.end(), faster);
  plan->algorithm = *best.algorithm;
  algorithms_->add(key, plan->algorithm, best.milliseconds / static_cast<float>(all.size()));
  return plan;
}

}  // namespace bertpass::cuda

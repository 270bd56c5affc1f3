// A BERT encoder on the GPU from C++, without Python: random weights of BERT-base's shape, one batch of ragged rows, the
// time of a forward. Shows how a model, the caller's own working memory, a context and a stream go together.
//
//   make -C examples/cuda && examples/cuda/encode 32 128
#include <bertpass_cuda.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr int kLayers = 12, kUnits = 768, kHidden = 3072, kPositions = 512, kVocabulary = 30522, kTypes = 2;
constexpr char kModel[] = R"({
  "config": {"family": "bert", "num_layers": 12, "units": 768, "hidden_size": 3072, "num_heads": 12, "max_length": 512,
             "vocab_size": 30522, "token_type_vocab_size": 2, "layer_norm_eps": 1e-12, "activation": "gelu"},
  "head": {"kind": "none", "num_labels": 0, "pooling": "mean", "normalize": false}})";
constexpr int kForwards = 50;

void need(bertpass_cuda_status status) {
  if (status == BERTPASS_CUDA_OK) return;
  std::fprintf(stderr, "error: %s\n", bertpass_cuda_error());
  std::exit(1);
}

void need(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "error: %s\n", cudaGetErrorString(status));
  std::exit(1);
}

// The tensors of a model, by the names of bertpass/model/parameters.py.
class Weights {
 public:
  Weights() {
    add("bert.word_embed.0.weight", kVocabulary * kUnits, 0.02f);
    add("bert.token_type_embed.0.weight", kTypes * kUnits, 0.02f);
    add("bert.encoder.position_weight", kPositions * kUnits, 0.02f);
    norm("bert.encoder.layer_norm");
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::string cell = "bert.encoder.transformer_cells." + std::to_string(layer);
      for (const char* part : {"query", "key", "value"}) dense(cell + ".attention_cell.proj_" + part, kUnits, kUnits);
      dense(cell + ".proj", kUnits, kUnits);
      norm(cell + ".layer_norm");
      dense(cell + ".ffn.ffn_1", kHidden, kUnits);
      dense(cell + ".ffn.ffn_2", kUnits, kHidden);
      norm(cell + ".ffn.layer_norm");
    }
  }
  const std::vector<bertpass_cuda_tensor>& tensors() const { return tensors_; }

 private:
  void add(const std::string& name, int count, float spread, float centre = 0) {
    names_.push_back(name);
    values_.emplace_back(count);
    std::normal_distribution<float> normal(centre, spread);
    for (float& value : values_.back()) value = normal(source_);
    tensors_.push_back({names_.back().c_str(), values_.back().data(), count});
  }
  void dense(const std::string& name, int rows, int columns) {
    add(name + ".weight", rows * columns, 0.02f);
    add(name + ".bias", rows, 0.1f);
  }
  void norm(const std::string& name) {
    add(name + ".gamma", kUnits, 0.1f, 1);
    add(name + ".beta", kUnits, 0.1f);
  }
  std::mt19937 source_{7};
  std::deque<std::string> names_;            // do not move
  std::deque<std::vector<float>> values_;
  std::vector<bertpass_cuda_tensor> tensors_;
};

}  // namespace

int main(int count, char** words) {
  const int rows = count > 1 ? std::atoi(words[1]) : 8, length = count > 2 ? std::atoi(words[2]) : 128;
  if (rows < 1 || length < 1 || length > kPositions) {
    std::fprintf(stderr, "usage: encode ROWS LENGTH, with 1 to %d tokens a row\n", kPositions);
    return 2;
  }
  bertpass_cuda_config config{};
  config.model = kModel;
  config.dtype = "float16", config.measure = 1;
  bertpass_cuda_model* model = nullptr;
  {
    const Weights weights;  // not needed once they are on the device
    need(bertpass_cuda_load(&config, weights.tensors().data(), static_cast<int>(weights.tensors().size()), &model));
  }
  bertpass_cuda_info info;
  need(bertpass_cuda_describe(model, &info));

  std::size_t bytes = 0;
  need(bertpass_cuda_workspace(model, rows, rows * length, &bytes));
  void *memory = nullptr, *states = nullptr;
  need(cudaMalloc(&memory, bytes));
  need(cudaMalloc(&states, sizeof(float) * rows * length * kUnits));
  bertpass_cuda_context* context = nullptr;
  need(bertpass_cuda_context_create(model, rows, rows * length, memory, 1, &context));

  std::mt19937 source(3);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(rows) * length), lengths(rows);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(source() % kVocabulary);
  for (std::int32_t& one : lengths) one = 1 + static_cast<std::int32_t>(source() % length);

  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  need(cudaStreamCreate(&stream));
  need(cudaEventCreate(&begin));
  need(cudaEventCreate(&end));
  float* outputs[] = {static_cast<float*>(states)};
  const auto forward = [&] {
    need(bertpass_cuda_forward(context, ids.data(), nullptr, lengths.data(), rows, length, 0, outputs, stream));
  };
  forward();  // measures and captures
  need(cudaStreamSynchronize(stream));
  std::vector<float> times(kForwards);
  for (float& time : times) {
    need(cudaEventRecord(begin, stream));
    forward();
    need(cudaEventRecord(end, stream));
    need(cudaEventSynchronize(end));
    need(cudaEventElapsedTime(&time, begin, end));
  }
  std::nth_element(times.begin(), times.begin() + kForwards / 2, times.end());
  std::vector<float> first(kUnits);
  need(cudaMemcpy(first.data(), states, sizeof(float) * kUnits, cudaMemcpyDeviceToHost));
  int tokens = 0;
  for (const std::int32_t one : lengths) tokens += one;
  double square = 0;
  for (const float value : first) square += value * value;
  std::printf("%s: %d rows, %d tokens: %.3f ms; length of the first token's state %.3f\n", info.device, rows, tokens,
              times[kForwards / 2], std::sqrt(square));

  bertpass_cuda_context_free(context);
  bertpass_cuda_free(model);
  cudaFree(states);
  cudaFree(memory);
  return std::isfinite(square) ? 0 : 1;
}

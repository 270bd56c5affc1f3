#include "cuda/encoder/context.h"

#include <algorithm>

#include "encoder/inputs.h"

namespace bertpass::cuda {
namespace {

constexpr int kSlots = 4;            // batches whose inputs can be under way at once
constexpr std::size_t kGraphs = 512;  // that are kept: more than sizes up to 16,384 tokens with their tiles

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

// Where a context's memory is; each part begins on 256 bytes.
struct Places {
  std::size_t states, mixed, sums, wide, between, workspace, end;

  Places(const Model& model, const Limits& limits, const BatchLayout& layout) {
    std::size_t at = layout.bytes;
    const auto take = [&](std::size_t bytes) {
      const std::size_t from = at;
      at += aligned(bytes);
      return from;
    };
    const Widths& widths = model.widths();
    const std::size_t number = static_cast<std::size_t>(size_of(model.options().dtype));
    const std::size_t rows = static_cast<std::size_t>(bucket_of(limits.tokens));
    states = take(rows * widths.units * number);
    mixed = take(rows * widths.units * number);
    sums = take(rows * widths.units * number);
    wide = take(rows * widths.widest() * number);
    between = take(std::size_t{2} * limits.sequences * widths.units * sizeof(float));
    workspace = take(kGemmWorkspace);
    end = at;
  }
};

BatchLayout layout_of(const Model& model, const Limits& limits) {
  return BatchLayout(limits.sequences, limits.tokens, queries_of_tile(model.options().dtype));
}

std::vector<std::size_t> output_bytes(const Model& model, const Inputs& inputs) {
  std::vector<std::size_t> bytes;
  for (const auto& shape : model.output_shapes(inputs.sequences, inputs.length)) {
    bytes.push_back(sizeof(float));
    for (const std::int64_t n : shape) bytes.back() *= static_cast<std::size_t>(n);
  }
  return bytes;
}

}  // namespace

std::size_t workspace_bytes(const Model& model, const Limits& limits) {
  return Places(model, limits, layout_of(model, limits)).end;
}

Context::Context(const Model& model, const Limits& limits, void* memory, bool graphs)
    : model_(model),
      limits_(limits),
      queries_(queries_of_tile(model.options().dtype)),
      layout_(layout_of(model, limits)),
      use_graphs_(graphs) {
  const OnDevice current(model.options().device);
  const OutsideCaptures guard;
  const Places places(model, limits, layout_);
  if (reinterpret_cast<std::uintptr_t>(memory) % 256)
    throw native::InputError("the working memory must begin on an address that 256 divides.");
  if (!memory) {
    own_ = device_memory(places.end);
    memory = own_.get();
  }
  memory_ = static_cast<char*>(memory);
  activations_ = {memory_ + places.states, memory_ + places.mixed, memory_ + places.sums, memory_ + places.wide,
                  memory_ + places.workspace};
  between_ = reinterpret_cast<float*>(memory_ + places.between);
  stream_ = stream();
  done_ = event(cudaEventDisableTiming);
  for (int i = 0; i < kSlots; ++i) {
    slots_.emplace_back();
    slots_.back().memory = pinned_memory(layout_.bytes);
    slots_.back().copied = event(cudaEventDisableTiming);
  }
}

Context::~Context() {
  if (started_) cudaEventSynchronize(done_.get());  // its memory may still be in use
}

void Context::check_inputs(const Inputs& inputs) const {
  if (inputs.sequences < 1 || inputs.length < 1) throw native::InputError("a batch has at least one row and one token.");
  if (inputs.sequences > limits_.sequences ||
      static_cast<std::int64_t>(inputs.sequences) * inputs.length > limits_.tokens)
    throw native::InputError("a batch of " + std::to_string(inputs.sequences) + " x " + std::to_string(inputs.length) +
                             " does not fit into a context for " + std::to_string(limits_.sequences) + " rows and " +
                             std::to_string(limits_.tokens) + " tokens.");
  const ModelConfig& config = model_.config();
  const int least = config.head == native::HeadKind::states ? 0 : 1;  // a head needs a row's first token
  if (!inputs.on_device)
    return native::check({inputs.ids, inputs.types, inputs.lengths, inputs.sequences, inputs.length},
                         {config.vocabulary, config.token_types, config.max_length, least});
  if (inputs.length > config.max_length)
    throw native::InputError("a sequence of " + std::to_string(inputs.length) + " tokens is longer than the model's " +
                             std::to_string(config.max_length) + " positions.");
  for (int s = 0; s < inputs.sequences; ++s)
    if (inputs.lengths[s] < least || inputs.lengths[s] > inputs.length)
      throw native::InputError("valid_length must be from " + std::to_string(least) + " to " + std::to_string(inputs.length) + ", not " +
                               std::to_string(inputs.lengths[s]) + ".");
}

Bucket Context::stage(const Inputs& inputs, cudaStream_t stream) {
  Slot& slot = slots_[calls_ % kSlots];
  if (slot.used) check(cudaEventSynchronize(slot.copied.get()), "an earlier forward");
  void* const host = slot.memory.get();
  const auto [batch, bytes] = write_batch(inputs, queries_, layout_, static_cast<char*>(host), memory_);
  check(cudaMemcpyAsync(memory_, host, bytes, cudaMemcpyHostToDevice, stream), "copying the inputs");
  check(cudaEventRecord(slot.copied.get(), stream), "cudaEventRecord");
  slot.used = true;
  return {bucket_of(std::max(batch.tokens, 1)), tile_bucket_of(batch.tiles), reinterpret_cast<const Batch*>(memory_),
          reinterpret_cast<const std::int32_t*>(memory_ + layout_.offsets),
          reinterpret_cast<const Tile*>(memory_ + layout_.tiles)};
}

void Context::capture(const Bucket& bucket) {
  cudaGraph_t captured = nullptr;
  check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    model_.encode(bucket, activations_, stream_.get());
  } catch (...) {
    cudaStreamEndCapture(stream_.get(), &captured);
    if (captured) cudaGraphDestroy(captured);
    throw;
  }
  check(cudaStreamEndCapture(stream_.get(), &captured), "cudaStreamEndCapture");
  cudaGraphExec_t exec = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&exec, captured, 0);
  cudaGraphDestroy(captured);
  check(status, "cudaGraphInstantiate");
  if (graphs_.size() == kGraphs) {
    const auto oldest = std::min_element(graphs_.begin(), graphs_.end(),
                                         [](const Graph& a, const Graph& b) { return a.used < b.used; });
    if (started_) check(cudaEventSynchronize(done_.get()), "an earlier forward");  // it may still run
    graphs_.erase(oldest);
  }
  graphs_.push_back({bucket.rows, bucket.tiles, calls_, GraphExec(exec)});
}

void Context::encode(const Bucket& bucket, cudaStream_t stream) {
  if (started_) check(cudaStreamWaitEvent(stream_.get(), done_.get(), 0), "cudaStreamWaitEvent");
  const Activations& a = activations_;
  model_.gemm().prepare(bucket.rows, {a.states, a.sums, a.mixed, a.wide, model_.widths().units}, a.workspace, stream_.get());
  for (Graph& graph : graphs_)
    if (graph.rows == bucket.rows && graph.tiles == bucket.tiles) {
      graph.used = calls_;
      return check(cudaGraphLaunch(graph.exec.get(), stream), "cudaGraphLaunch");
    }
  model_.encode(bucket, activations_, stream);  // loads kernels as well, which must not happen in a capture
  if (!use_graphs_) return;
  try {
    capture(bucket);
  } catch (const LostError&) {
    throw;
  } catch (const CudaError&) {  // the batch is under way and right without; so are later ones
    cudaGetLastError();
    use_graphs_ = false;
  }
}

// Records that what a forward has started is under way, also where it ends with an exception: the next forward waits.
class Context::Started {
 public:
  Started(Context& context, cudaStream_t stream) : context_(context), stream_(stream) {}
  ~Started() {
    if (cudaEventRecord(context_.done_.get(), stream_) == cudaSuccess) context_.started_ = true;
    else cudaGetLastError();
    ++context_.calls_;
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

 private:
  Context& context_;
  cudaStream_t stream_;
};

void Context::forward(const Inputs& given, float* const* outputs, cudaStream_t stream) {
  Inputs inputs = given;
  if (!native::takes_types(model_.config())) inputs.types = nullptr;
  check_inputs(inputs);
  for (std::size_t i = 0; i < model_.output_shapes(1, 1).size(); ++i)
    if (reinterpret_cast<std::uintptr_t>(outputs[i]) % 16)
      throw native::InputError("an output must begin on an address that 16 divides; give a tensor with memory of its own.");
  const OnDevice current(model_.options().device);
  cudaStreamCaptureStatus captured = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &captured), "cudaStreamIsCapturing");
  if (captured != cudaStreamCaptureStatusNone)
    throw native::InputError("a forward lays its batch out on the host and cannot be captured; it replays graphs of its own.");
  if (started_) check(cudaStreamWaitEvent(stream, done_.get(), 0), "cudaStreamWaitEvent");
  const Started under_way(*this, stream);
  const Bucket bucket = stage(inputs, stream);
  encode(bucket, stream);
  model_.head(bucket, activations_.states, inputs.sequences, inputs.length, outputs, between_, stream);
}

void Context::forward_to_host(const Inputs& inputs, float* const* outputs) {
  check_inputs(inputs);
  const OnDevice current(model_.options().device);
  const std::vector<std::size_t> bytes = output_bytes(model_, inputs);
  std::size_t all = 0;
  for (const std::size_t size : bytes) all += aligned(size);
  if (all > output_bytes_) {
    outputs_ = device_memory(all);  // the last call waited for its result
    output_bytes_ = all;
  }
  std::vector<float*> on_device;
  std::size_t at = 0;
  for (const std::size_t size : bytes) {
    on_device.push_back(reinterpret_cast<float*>(static_cast<char*>(outputs_.get()) + at));
    at += aligned(size);
  }
  forward(inputs, on_device.data(), stream_.get());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    check(cudaMemcpyAsync(outputs[i], on_device[i], bytes[i], cudaMemcpyDeviceToHost, stream_.get()), "copying the outputs");
  check(cudaStreamSynchronize(stream_.get()), "a forward");
}

}  // namespace bertpass::cuda

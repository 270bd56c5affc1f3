#include "cuda/twin/runtime.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace bertpass::cuda::twin {

using Work = std::vector<std::function<void()>>;

struct Event {
  std::chrono::steady_clock::time_point at;
  std::uint64_t asked = 0, reached = 0;  // records
};

// What a late stream has to do: work, the record of an event, or to wait for one.
struct Item {
  std::function<void()> work;
  Event* event = nullptr;
  std::uint64_t turn = 0;  // which record
};

struct Stream {
  bool captured = false;
  Work kept;
  std::deque<Item> later;
};

struct Graph {
  Work work;
};

namespace {

// All that threads share.
struct Runtime {
  std::recursive_mutex lock;
  std::vector<Stream*> streams;
  Stream legacy;  // what null stands for
  std::atomic<bool> late{false};
  std::mt19937 random;
  struct Failure {
    int calls;
    cudaError_t error;
  };
  std::map<std::string, Failure> failures;
};

Runtime& runtime() {
  static Runtime made;
  return made;
}

using Lock = std::lock_guard<std::recursive_mutex>;

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t failed(cudaError_t error) { return last_error = error; }

// What a test has asked of this call.
cudaError_t asked_of(const char* function) {
  const Lock lock(runtime().lock);
  const auto found = runtime().failures.find(function);
  if (found == runtime().failures.end() || --found->second.calls > 0) return cudaSuccess;
  const cudaError_t error = found->second.error;
  runtime().failures.erase(found);
  return failed(error);
}

Stream& of(Stream* stream) { return stream ? *stream : runtime().legacy; }

std::vector<Stream*> all_streams() {
  std::vector<Stream*> all = runtime().streams;
  all.push_back(&runtime().legacy);
  return all;
}

bool may_go_on(const Stream& stream) {
  if (stream.later.empty()) return false;
  const Item& item = stream.later.front();
  return item.work || !item.event || item.event->reached >= item.turn;
}

// Runs what is late, streams in random order, until there is nothing left to do for `done`.
template <class Done>
void drain(const Done& done) {
  const Lock lock(runtime().lock);
  while (!done()) {
    std::vector<Stream*> ready;
    for (Stream* stream : all_streams())
      if (may_go_on(*stream)) ready.push_back(stream);
    if (ready.empty()) {
      std::fprintf(stderr, "error: a stream of the twin waits for an event that nothing records.\n");
      std::abort();
    }
    Stream& stream = *ready[runtime().random() % ready.size()];
    const Item item = std::move(stream.later.front());
    stream.later.pop_front();
    if (item.work) item.work();
  }
}

void drain_all() {
  drain([] {
    const std::vector<Stream*> all = all_streams();
    return std::all_of(all.begin(), all.end(), [](const Stream* stream) { return stream->later.empty(); });
  });
}

void drain(Stream& stream) {
  drain([&] { return stream.later.empty(); });
}

// Memory that is full of NaN until something is written.
cudaError_t allocate(void** memory, std::size_t bytes) {
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!*memory) return failed(cudaErrorMemoryAllocation);
  std::memset(*memory, 0xff, bytes);
  return cudaSuccess;
}

void free_memory(void* memory) {
  drain_all();  // as cudaFree waits for the device
  std::free(memory);
}

}  // namespace

void enqueue(Stream* stream, std::function<void()> work) {
  if (stream && stream->captured) return stream->kept.push_back(std::move(work));
  if (!runtime().late) return work();
  const Lock lock(runtime().lock);
  of(stream).later.push_back({std::move(work)});
}

void run_late(bool late, unsigned seed) {
  const Lock lock(runtime().lock);
  drain_all();
  runtime().late = late;
  runtime().random.seed(seed);
}

void fail(const char* function, int nth, cudaError_t error) {
  const Lock lock(runtime().lock);
  runtime().failures[function] = {nth, error};
}

}  // namespace bertpass::cuda::twin

namespace twin = bertpass::cuda::twin;

#define BP_MAY_FAIL(function) \
  if (const cudaError_t error = twin::asked_of(function)) return error

const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    default: return "unknown error";
  }
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = twin::last_error;
  twin::last_error = cudaSuccess;
  return error;
}
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : twin::failed(cudaErrorUnknown); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof *properties);
  std::strcpy(properties->name, "twin of a GPU");
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->totalGlobalMem = std::size_t{1} << 30;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = 0, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 0, cudaSuccess; }
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  BP_MAY_FAIL("cudaMalloc");
  return twin::allocate(memory, bytes);
}
cudaError_t cudaFree(void* memory) { return twin::free_memory(memory), cudaSuccess; }
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  BP_MAY_FAIL("cudaMallocHost");
  return twin::allocate(memory, bytes);
}
cudaError_t cudaFreeHost(void* memory) { return twin::free_memory(memory), cudaSuccess; }
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (kind != cudaMemcpyHostToDevice) {
    twin::drain_all();
    return std::memcpy(to, from, bytes), cudaSuccess;
  }
  // From memory that is not pinned it returns when the data has been staged.
  const auto* const data = static_cast<const char*>(from);
  twin::enqueue(nullptr, [to, staged = std::vector<char>(data, data + bytes)] {
    std::memcpy(to, staged.data(), staged.size());
  });
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  BP_MAY_FAIL("cudaMemcpyAsync");
  twin::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const twin::Lock lock(twin::runtime().lock);
  twin::runtime().streams.push_back(*stream = new twin::Stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const twin::Lock lock(twin::runtime().lock);
  twin::drain(*stream);
  std::vector<twin::Stream*>& all = twin::runtime().streams;
  all.erase(std::find(all.begin(), all.end(), stream));
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return twin::drain_all(), cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  BP_MAY_FAIL("cudaStreamSynchronize");
  if (stream && stream->captured) return twin::failed(cudaErrorUnknown);
  return twin::drain(twin::of(stream)), cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream && stream->captured ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  thread_local cudaStreamCaptureMode own = cudaStreamCaptureModeGlobal;
  std::swap(own, *mode);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (stream && stream->captured) return twin::failed(cudaErrorUnknown);  // recorded outside of the capture
  const twin::Lock lock(twin::runtime().lock);
  if (twin::runtime().late) twin::of(stream).later.push_back({nullptr, event, event->asked});
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return *event = new twin::Event, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  twin::drain_all();
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const twin::Lock lock(twin::runtime().lock);
  twin::enqueue(stream, [event, turn = ++event->asked] {
    event->at = std::chrono::steady_clock::now();
    event->reached = turn;
  });
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  twin::drain([event, turn = event->asked] { return event->reached >= turn; });
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t first, cudaEvent_t last) {
  *milliseconds = std::chrono::duration<float, std::milli>(last->at - first->at).count();
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (!stream || stream->captured) return twin::failed(cudaErrorUnknown);  // the legacy stream cannot be captured
  stream->captured = true;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!stream->captured) return twin::failed(cudaErrorUnknown);
  stream->captured = false;
  twin::Work kept;
  kept.swap(stream->kept);
  BP_MAY_FAIL("cudaStreamEndCapture");
  *graph = new twin::Graph{std::move(kept)};
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  BP_MAY_FAIL("cudaGraphInstantiate");
  return *made = new twin::Graph(*graph), cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  BP_MAY_FAIL("cudaGraphLaunch");
  twin::enqueue(stream, [work = graph->work] {
    for (const auto& one : work) one();
  });
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int value) {
  return value <= 99 << 10 ? cudaSuccess : twin::failed(cudaErrorUnknown);  // what every GPU from sm_80 on has
}

// What one forward at a time needs to itself: device memory and the graphs that were captured on it.
#pragma once

#include <vector>

#include "cuda/encoder/batch.h"
#include "cuda/encoder/model.h"

namespace bertpass::cuda {

// Bytes of device memory that a context for these limits works in.
std::size_t workspace_bytes(const Model& model, const Limits& limits);

// One thread at a time; one forward after the other in the order of the calls, whatever streams they are given.
class Context {
 public:
  // memory: workspace_bytes on the model's device, of the caller, kept until after the context; null lets the context
  // allocate it. graphs: capture the encoder once for each bucket and replay it.
  Context(const Model& model, const Limits& limits, void* memory, bool graphs);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Starts everything on the stream and returns. outputs: device memory, see Model::head. Waits only for the copy of the
  // inputs of four calls before; the first call of a bucket may measure, which it waits for, and captures its graph.
  // Throws native::InputError before anything is started, where lengths, ids or types that the host sees do not fit, where
  // an output is on an address that 16 does not divide, and where the stream is being captured.
  void forward(const Inputs& inputs, float* const* outputs, cudaStream_t stream);

  // The same with outputs in host memory, on a stream of the context's own; waits for the result.
  void forward_to_host(const Inputs& inputs, float* const* outputs);

  const Model& model() const { return model_; }
  const Limits& limits() const { return limits_; }
  std::size_t graphs() const { return graphs_.size(); }

 private:
  class Started;
  struct Graph {
    int rows, tiles;
    std::uint64_t used;  // number of the last call that used it
    GraphExec exec;
  };
  struct Slot {
    PinnedMemory memory;
    Event copied;
    bool used = false;
  };
  void check_inputs(const Inputs& inputs) const;
  Bucket stage(const Inputs& inputs, cudaStream_t stream);
  void encode(const Bucket& bucket, cudaStream_t stream);
  void capture(const Bucket& bucket);

  const Model& model_;
  Limits limits_;
  int queries_;
  BatchLayout layout_;
  DeviceMemory own_;
  char* memory_;
  Activations activations_;
  float* between_;
  bool use_graphs_;
  StreamOwner stream_;
  Event done_;
  bool started_ = false;
  std::vector<Slot> slots_;
  std::uint64_t calls_ = 0;
  std::vector<Graph> graphs_;
  DeviceMemory outputs_;
  std::size_t output_bytes_ = 0;
};

}  // namespace bertpass::cuda

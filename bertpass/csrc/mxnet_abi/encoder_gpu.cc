// The forward of bertpass_encoder on a GPU: the CUDA engine (faces/device_model.h) on MXNet's stream. It has never run on
// a GPU; the tests run it with the engine's twin.
//
// Everything that the host needs is fetched in one step, for which the call waits: ids, types and lengths, which are
// checked as on a CPU, and the first bytes of the weights, by whose fingerprint a loaded model is known. Only where none
// has it are the weights themselves read. After that nothing waits.
//
// So the weights of a parameter that MXNet moves, loads again or replaces are always those that are computed with. A
// parameter that somebody changes in place without its header is not seen to be another one.
#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "faces/device_model.h"
#include "graph/error.h"
#include "mxnet_abi/encoder_inputs.h"
#include "mxnet_abi/operator.h"
#include "passes/encoder_weights.h"

namespace bertpass::abi {
namespace {

constexpr std::size_t kMostModels = 8;  // that stay on the GPUs of this process; the one longest unused goes first

// One call's inputs on the host.
struct Inputs {
  std::vector<std::int32_t> ids, types, lengths;
  std::vector<float> header;

  Inputs(const Call& call, const EncoderOperator& op, const faces::CudaLibrary& library) : header(kHeaderFloats) {
    const int count = op.data_inputs();
    const std::int64_t rows = call.shapes[0][0], tokens = rows * call.shapes[0][1];
    const auto numbers = [&](int input) { return input == count - 1 ? rows : tokens; };
    std::vector<std::vector<char>> raw;
    std::vector<bertpass_cuda_copy> copies = {{header.data(), call.inputs[count], kHeaderFloats * sizeof(float)}};
    for (int i = 0; i < count; ++i) {
      raw.emplace_back(item_size(call.types[i]) * static_cast<std::size_t>(numbers(i)));
      copies.push_back({raw.back().data(), call.inputs[i], raw.back().size()});
    }
    library.fetch(copies, call.device, call.stream);
    const auto read = [&](int input, std::vector<std::int32_t>& out) {
      read_whole(raw[input].data(), call.types[input], numbers(input), out);
    };
    read(0, ids);
    if (op.token_types) read(1, types);
    read(count - 1, lengths);
  }
};

std::unique_ptr<faces::DeviceModel> load(const Call& call, const EncoderOperator& op,
                                         const faces::CudaLibrary& library) {
  std::vector<float> weights(static_cast<std::size_t>(op.packed));
  library.fetch({{weights.data(), call.inputs[op.data_inputs()], weights.size() * sizeof(float)}}, call.device,
                call.stream);
  check_unpacked(op, weights.data());
  const std::vector<EncoderTensor> names = encoder_tensors(op);
  std::vector<bertpass_cuda_tensor> tensors;
  const float* at = weights.data() + kHeaderFloats;
  for (const EncoderTensor& tensor : names) {
    tensors.push_back({tensor.name.c_str(), at, tensor.size});
    at += tensor.size;
  }
  const std::string description = native::write_config(op.config());
  bertpass_cuda_config config{};
  config.model = description.c_str();
  config.dtype = op.dtype.c_str();
  config.device = call.device;
  return std::make_unique<faces::DeviceModel>(config, tensors, /*graphs=*/true);
}

// The models that are loaded, the last one used first. Two parameters with the same weights share one.
class Models {
 public:
  // The others wait while one is loaded.
  std::shared_ptr<faces::DeviceModel> get(const Call& call, const EncoderOperator& op, std::uint64_t fingerprint,
                                          const faces::CudaLibrary& library) {
    const std::lock_guard<std::mutex> guard(lock_);
    const auto found = std::find_if(loaded_.begin(), loaded_.end(), [&](const Loaded& one) {
      return one.fingerprint == fingerprint && one.device == call.device && one.attributes == call.attributes;
    });
    if (found != loaded_.end()) {
      loaded_.splice(loaded_.begin(), loaded_, found);
    } else {
      std::shared_ptr<faces::DeviceModel> made = load(call, op, library);
      loaded_.push_front({fingerprint, call.device, call.attributes, std::move(made)});
      if (loaded_.size() > kMostModels) loaded_.pop_back();
    }
    return loaded_.front().model;
  }

 private:
  struct Loaded {
    std::uint64_t fingerprint;
    int device;
    Attributes attributes;
    std::shared_ptr<faces::DeviceModel> model;
  };
  std::mutex lock_;
  std::list<Loaded> loaded_;
};

Models& models() {
  static Models* const all = new Models;  // never destroyed: the driver may be gone when the process ends
  return *all;
}

}  // namespace

void encoder_gpu_forward(const Call& call) {
  const EncoderOperator op = EncoderOperator::read(call.attributes);
  if (op.form != EncoderForm::unpacked)
    throw PassError(std::string(kEncoderOperator) + " holds weights for a CPU here and runs on a GPU; deploy the model "
                    "again with --gpu, or run it on a CPU.");
  const faces::CudaLibrary& library = faces::CudaLibrary::open();
  const Inputs inputs(call, op, library);
  const auto model = models().get(call, op, fingerprint_of(inputs.header.data()), library);
  float* output = call.out(0);
  model->forward({inputs.ids.data(), op.token_types ? inputs.types.data() : nullptr, inputs.lengths.data(),
                  static_cast<std::int32_t>(call.shapes[0][0]), static_cast<std::int32_t>(call.shapes[0][1]), false},
                 &output, call.stream);
}

}  // namespace bertpass::abi

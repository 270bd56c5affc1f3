// TensorFlow's operator BertpassEncoder. On a CPU it computes with libbertpass.so (bertpass/include/bertpass.h) and
// takes a file of `bertpass pack`; on a GPU with libbertpass_cuda.so on TensorFlow's stream, and takes one of
// `bertpass pack --unpacked`. scripts/build_tensorflow.py builds it for the TensorFlow that is installed.
#include <absl/status/status.h>
#include <bertpass.h>
#include <tensorflow/core/framework/op.h>
#include <tensorflow/core/framework/op_kernel.h>
#include <tensorflow/core/framework/shape_inference.h>
#include <xla/stream_executor/stream.h>

#include <memory>
#include <string>
#include <vector>

#include "faces/model_file.h"

namespace tf = tensorflow;

namespace {

REGISTER_OP("BertpassEncoder")
    .Input("ids: int32")
    .Input("token_types: int32")
    .Input("valid_length: int32")
    .Output("values: outputs * float")
    .Attr("model: string")
    .Attr("outputs: int >= 1")
    .Attr("threads: int >= 0 = 0")
    .Attr("dtype: {'float16', 'bfloat16', 'float32'} = 'float16'")
    .SetShapeFn([](tf::shape_inference::InferenceContext* context) {
      tf::shape_inference::ShapeHandle ids, lengths;
      TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 2, &ids));
      TF_RETURN_IF_ERROR(context->Merge(ids, context->input(1), &ids));
      TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &lengths));
      tf::shape_inference::DimensionHandle rows;
      TF_RETURN_IF_ERROR(context->Merge(context->Dim(ids, 0), context->Dim(lengths, 0), &rows));
      for (int i = 0; i < context->num_outputs(); ++i) context->set_output(i, context->UnknownShape());
      return absl::OkStatus();
    })
    .Doc(R"doc(
Run a BERT-type model without computing its padding.

ids: Token ids, (rows, length).
token_types: Token types, (rows, length); ignored where the model has none.
valid_length: Tokens of each row that are not padding, from 1 to length, (rows).
values: The model's outputs: token states (rows, length, units), zero past a row's end; with a pooler the pooled output
  (rows, units) as well; with a head its logits or sentence vectors.
model: On a CPU a file of `bertpass pack`, on a GPU one of `bertpass pack --unpacked`. It is read once.
outputs: How many outputs the model has: 2 with a pooler and no other head, else 1.
threads: On a CPU: threads of one call, 0 for those of the processors.
dtype: On a GPU: precision of weights and activations.
)doc");

absl::Status refuse(int status, const std::string& sentence) {
  switch (status) {
    case BERTPASS_BAD_MODEL:
    case BERTPASS_BAD_ARGUMENT:
      return absl::InvalidArgumentError(sentence);
    case BERTPASS_NO_MEMORY:
      return absl::ResourceExhaustedError(sentence);
    case BERTPASS_CUDA_DEVICE:
      return absl::FailedPreconditionError(sentence);
    default:
      return absl::InternalError(sentence);
  }
}

// What both forms have in common: inputs that fit each other, and outputs of the model's shapes.
class EncoderKernel : public tf::OpKernel {
 public:
  explicit EncoderKernel(tf::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("model", &file_));
  }

 protected:
  template <class T>
  const T* flat(tf::OpKernelContext* context, int input) {
    return context->input(input).flat<T>().data();
  }

  // Of an axis of the ids, after check().
  static int size(tf::OpKernelContext* context, int axis) {
    return static_cast<int>(context->input(0).dim_size(axis));
  }

  absl::Status check(tf::OpKernelContext* context) const {
    const tf::TensorShape &ids = context->input(0).shape(), &types = context->input(1).shape(),
                          &lengths = context->input(2).shape();
    if (ids.dims() != 2 || types != ids || lengths.dims() != 1 || lengths.dim_size(0) != ids.dim_size(0))
      return absl::InvalidArgumentError(
          "ids and token_types must have one shape (rows, length) and valid_length (rows), not " + ids.DebugString() +
          ", " + types.DebugString() + " and " + lengths.DebugString() + ".");
    if (ids.num_elements() < 1 || ids.num_elements() > INT32_MAX)
      return absl::InvalidArgumentError("a batch has at least one row and one token, and less than 2^31 tokens.");
    return absl::OkStatus();
  }

  template <class Shape>
  absl::Status allocate(tf::OpKernelContext* context, const std::vector<Shape>& shapes,
                        std::vector<float*>& places) const {
    if (static_cast<int>(shapes.size()) != context->num_outputs()) {
      const std::string count = std::to_string(shapes.size());
      return absl::InvalidArgumentError(file_ + " has " + count + " outputs; say so: outputs=" + count + ".");
    }
    for (const Shape& shape : shapes) {
      tf::Tensor* out = nullptr;
      tf::TensorShape sizes;
      for (int axis = 0; axis < shape.axes; ++axis) TF_RETURN_IF_ERROR(sizes.AddDimWithStatus(shape.sizes[axis]));
      TF_RETURN_IF_ERROR(context->allocate_output(static_cast<int>(places.size()), sizes, &out));
      places.push_back(out->flat<float>().data());
    }
    return absl::OkStatus();
  }

  std::string file_;
};

class HostEncoder : public EncoderKernel {
 public:
  explicit HostEncoder(tf::OpKernelConstruction* context) : EncoderKernel(context) {
    std::int64_t threads = 0;
    OP_REQUIRES_OK(context, context->GetAttr("threads", &threads));
    OP_REQUIRES(context, threads <= INT32_MAX, absl::InvalidArgumentError("threads must be from 0 to 1024."));
    OP_REQUIRES_OK(context, said(bertpass_load(file_.c_str(), static_cast<int>(threads), nullptr, &model_)));
  }
  ~HostEncoder() override { bertpass_free(model_); }

  void Compute(tf::OpKernelContext* context) override {
    OP_REQUIRES_OK(context, check(context));
    const int rows = size(context, 0), length = size(context, 1);
    bertpass_info info;
    OP_REQUIRES_OK(context, said(bertpass_describe(model_, &info)));
    std::vector<bertpass_shape> shapes(info.outputs);
    OP_REQUIRES_OK(context, said(bertpass_output_shapes(model_, rows, length, shapes.data())));
    std::vector<float*> places;
    OP_REQUIRES_OK(context, allocate(context, shapes, places));
    OP_REQUIRES_OK(context, said(bertpass_forward(model_, flat<int>(context, 0), flat<int>(context, 1),
                                                  flat<int>(context, 2), rows, length, places.data())));
  }

 private:
  static absl::Status said(bertpass_status status) {
    return status == BERTPASS_OK ? absl::OkStatus() : refuse(status, bertpass_error());
  }
  bertpass_model* model_ = nullptr;
};

// All inputs are in host memory: the batch is laid out there, and ids are checked.
class DeviceEncoder : public EncoderKernel {
 public:
  explicit DeviceEncoder(tf::OpKernelConstruction* context) : EncoderKernel(context) {
    bertpass::faces::DeviceOptions options;
    OP_REQUIRES_OK(context, context->GetAttr("dtype", &options.dtype));
    options.file = file_;
    if (const auto* device = context->device()->tensorflow_accelerator_device_info()) options.device = device->gpu_id;
    OP_REQUIRES_OK(context, guarded([&] { model_ = bertpass::faces::shared_model(options); }));
  }

  void Compute(tf::OpKernelContext* context) override {
    OP_REQUIRES_OK(context, check(context));
    const int rows = size(context, 0), length = size(context, 1);
    std::vector<bertpass_cuda_shape> shapes;
    OP_REQUIRES_OK(context, guarded([&] { shapes = model_->output_shapes(rows, length); }));
    std::vector<float*> places;
    OP_REQUIRES_OK(context, allocate(context, shapes, places));
    void* stream = nullptr;  // of a GPU; there is none where the twin computes
    if (tf::DeviceContext* device = context->op_device_context())
      stream = device->stream()->platform_specific_handle().stream;
    OP_REQUIRES_OK(context, guarded([&] {
      model_->forward({flat<int>(context, 0), flat<int>(context, 1), flat<int>(context, 2), rows, length, false},
                      places.data(), stream);
    }));
  }

 private:
  template <class Work>
  static absl::Status guarded(const Work& work) {
    try {
      work();
      return absl::OkStatus();
    } catch (const bertpass::faces::FaceError& error) {
      return refuse(error.status, error.what());
    }
  }
  std::shared_ptr<bertpass::faces::DeviceModel> model_;
};

REGISTER_KERNEL_BUILDER(Name("BertpassEncoder").Device(tf::DEVICE_CPU), HostEncoder);
#ifdef BERTPASS_DEVICE_FORM_ON_CPU  // for tests, with the twin library
REGISTER_KERNEL_BUILDER(Name("BertpassEncoder").Device(tf::DEVICE_CPU).Label("device"), DeviceEncoder);
#endif
REGISTER_KERNEL_BUILDER(Name("BertpassEncoder")
                            .Device(tf::DEVICE_GPU)
                            .HostMemory("ids")
                            .HostMemory("token_types")
                            .HostMemory("valid_length"),
                        DeviceEncoder);

}  // namespace

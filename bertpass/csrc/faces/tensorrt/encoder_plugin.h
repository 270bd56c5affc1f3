// TensorRT's plugin BertpassEncoder: a model on a GPU (faces/model_file.h) as one layer of an engine.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

#include "faces/model_file.h"

#if NV_TENSORRT_MAJOR < 10
#error "the plugin's interface, IPluginV3, came with TensorRT 10"
#endif

namespace bertpass::faces {

using nvinfer1::AsciiChar;

inline constexpr char kPluginName[] = "BertpassEncoder", kPluginVersion[] = "1";

// Inputs, all int32 and on the GPU: ids (rows, length), token types (rows, length), valid lengths (rows). Outputs,
// float32: those of the model. The lengths are read back in enqueue, which waits for the stream, so an engine with this
// layer cannot be captured in a CUDA graph. Every copy shares the model. Errors go to the logger; only the constructor
// throws.
class EncoderPlugin final : public nvinfer1::IPluginV3,
                            public nvinfer1::IPluginV3OneCore,
                            public nvinfer1::IPluginV3OneBuild,
                            public nvinfer1::IPluginV3OneRuntime {
 public:
  // Throws FaceError.
  explicit EncoderPlugin(const DeviceOptions& options);

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;
  nvinfer1::IPluginV3* clone() noexcept override;

  AsciiChar const* getPluginName() const noexcept override { return kPluginName; }
  AsciiChar const* getPluginVersion() const noexcept override { return kPluginVersion; }
  AsciiChar const* getPluginNamespace() const noexcept override { return ""; }

  std::int32_t configurePlugin(nvinfer1::DynamicPluginTensorDesc const* in, std::int32_t inputs,
                               nvinfer1::DynamicPluginTensorDesc const* out, std::int32_t outputs) noexcept override;
  std::int32_t getOutputDataTypes(nvinfer1::DataType* types, std::int32_t outputs,
                                  nvinfer1::DataType const* input_types, std::int32_t inputs) const noexcept override;
  std::int32_t getOutputShapes(nvinfer1::DimsExprs const* in, std::int32_t inputs, nvinfer1::DimsExprs const* shape_in,
                               std::int32_t shape_inputs, nvinfer1::DimsExprs* out, std::int32_t outputs,
                               nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(std::int32_t place, nvinfer1::DynamicPluginTensorDesc const* both, std::int32_t inputs,
                                 std::int32_t outputs) noexcept override;
  std::int32_t getNbOutputs() const noexcept override { return outputs_; }

  std::int32_t onShapeChange(nvinfer1::PluginTensorDesc const* in, std::int32_t inputs,
                             nvinfer1::PluginTensorDesc const* out, std::int32_t outputs) noexcept override;
  std::int32_t enqueue(nvinfer1::PluginTensorDesc const* in, nvinfer1::PluginTensorDesc const* out,
                       void const* const* inputs, void* const* outputs, void* workspace,
                       cudaStream_t stream) noexcept override;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
  nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept override;

 private:
  DeviceOptions options_;
  std::shared_ptr<DeviceModel> model_;
  std::int32_t outputs_ = 0;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

// Fields: "model" (characters: a file of `bertpass pack --unpacked`), "dtype" (characters: "float16", "bfloat16" or
// "float32"; default the first), "device" (int32: number of the GPU, default 0).
class EncoderCreator final : public nvinfer1::IPluginCreatorV3One {
 public:
  nvinfer1::IPluginV3* createPlugin(AsciiChar const* name, nvinfer1::PluginFieldCollection const* fields,
                                    nvinfer1::TensorRTPhase phase) noexcept override;
  nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override;
  AsciiChar const* getPluginName() const noexcept override { return kPluginName; }
  AsciiChar const* getPluginVersion() const noexcept override { return kPluginVersion; }
  AsciiChar const* getPluginNamespace() const noexcept override { return ""; }
};

}  // namespace bertpass::faces

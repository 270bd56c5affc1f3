// Does with a library of plugins what TensorRT does: finds the creator, builds, asks for types, formats and shapes,
// serialises, creates again from the serialised fields, runs. tensorrt_host PLUGIN MODEL DTYPE INPUTS OUTPUTS
//
// INPUTS: int32: rows, length, ids, types, lengths. OUTPUTS: float32 of all outputs, of two runs, the second with the
// first row's length and the last one's exchanged; the shapes are printed. What the plugin logs goes to standard error,
// and the program ends with 1 where a call failed.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

void need(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

struct Logger : ILogger {
  void log(Severity, char const* sentence) noexcept override { std::fprintf(stderr, "%s\n", sentence); }
};

struct Finder : ILoggerFinder {
  ILogger* findLogger() override { return &logger; }
  Logger logger;
};

struct Value : apiv::VDimensionExpr {
  explicit Value(std::int64_t value, bool constant) : value(value), constant(constant) {}
  bool isConstant() const override { return constant; }
  std::int64_t getConstantValue() const override { return value; }
  bool isSizeTensor() const override { return false; }
  std::int64_t value;
  bool constant;
};

struct Expression : IDimensionExpr {
  Expression(std::int64_t number, bool constant) : value(number, constant) { mImpl = &value; }
  Value value;
};

struct Maker : apiv::VExprBuilder {
  IDimensionExpr const* constant(std::int64_t value) override { return &made.emplace_back(value, true); }
  IDimensionExpr const* operation(DimensionOperation, IDimensionExpr const&, IDimensionExpr const&) override {
    return nullptr;
  }
  IDimensionExpr const* declareSizeTensor(std::int32_t, IDimensionExpr const&, IDimensionExpr const&) override {
    return nullptr;
  }
  std::deque<Expression> made;
};

struct Builder : IExprBuilder {
  Builder() { mImpl = &maker; }
  Maker maker;
};

// A field's name and data, as an engine's file keeps them.
struct Kept {
  std::string name, data;
  PluginFieldType type;
  std::int32_t length;
};

template <class Interface>
Interface& capability(IPluginV3& plugin, PluginCapabilityType type) {
  auto* found = static_cast<Interface*>(plugin.getCapabilityInterface(type));
  need(found, "getCapabilityInterface");
  return *found;
}

std::vector<Kept> serialised(IPluginV3& plugin) {
  std::vector<Kept> all;
  const PluginFieldCollection* fields =
      capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME).getFieldsToSerialize();
  need(fields, "getFieldsToSerialize");
  for (std::int32_t i = 0; i < fields->nbFields; ++i) {
    const PluginField& field = fields->fields[i];
    const std::size_t bytes = field.length * (field.type == PluginFieldType::kINT32 ? sizeof(std::int32_t) : 1);
    all.push_back({field.name, {static_cast<const char*>(field.data), bytes}, field.type, field.length});
  }
  return all;
}

PluginTensorDesc tensor(std::vector<std::int64_t> sizes, DataType type) {
  PluginTensorDesc made{};
  made.dims.nbDims = static_cast<std::int32_t>(sizes.size());
  std::copy(sizes.begin(), sizes.end(), made.dims.d);
  made.type = type;
  made.format = TensorFormat::kLINEAR;
  return made;
}

}  // namespace

int main(int count, char** words) {
  need(count == 6, "usage: tensorrt_host PLUGIN MODEL DTYPE INPUTS OUTPUTS");
  void* library = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
  need(library, library ? "" : dlerror());
  Finder finder;
  const auto set_logger = reinterpret_cast<void (*)(ILoggerFinder*)>(dlsym(library, "setLoggerFinder"));
  using Creators = IPluginCreatorInterface* const* (*)(std::int32_t&);
  const auto creators = reinterpret_cast<Creators>(dlsym(library, "getCreators"));
  need(set_logger && creators, "getCreators and setLoggerFinder");
  set_logger(&finder);
  std::int32_t found = 0;
  auto* creator = static_cast<IPluginCreatorV3One*>(creators(found)[0]);
  need(found == 1 && !std::strcmp(creator->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE"), "one creator");
  need(!std::strcmp(creator->getPluginName(), "BertpassEncoder"), "its name");
  need(creator->getFieldNames()->nbFields == 3, "its fields");

  const auto field = [](const char* name, const char* text) {
    return PluginField(name, text, PluginFieldType::kCHAR, static_cast<std::int32_t>(std::strlen(text)));
  };
  const PluginField given[] = {field("model", words[2]), field("dtype", words[3])};
  const PluginFieldCollection fields{2, given};
  std::unique_ptr<IPluginV3> built(creator->createPlugin("encoder", &fields, TensorRTPhase::kBUILD));
  need(built.get(), "createPlugin");

  std::ifstream file(words[4], std::ios::binary);
  std::int32_t size[2];
  file.read(reinterpret_cast<char*>(size), sizeof size);
  const std::int32_t rows = size[0], length = size[1], tokens = rows * length;
  std::vector<std::int32_t> ids(tokens), types(tokens), lengths(rows);
  for (auto* part : {&ids, &types, &lengths}) file.read(reinterpret_cast<char*>(part->data()), part->size() * 4);
  need(file.good(), "the inputs");

  auto& build = capability<IPluginV3OneBuild>(*built, PluginCapabilityType::kBUILD);
  const std::int32_t outputs = build.getNbOutputs();
  std::vector<DataType> output_types(outputs);
  const DataType input_types[] = {DataType::kINT32, DataType::kINT32, DataType::kINT32};
  need(build.getOutputDataTypes(output_types.data(), outputs, input_types, 3) == 0, "getOutputDataTypes");
  const Expression row_count(rows, false), row_length(length, false);
  const DimsExprs inputs[] = {{2, {&row_count, &row_length}}, {2, {&row_count, &row_length}}, {1, {&row_count}}};
  std::vector<DimsExprs> shapes(outputs);
  Builder builder;
  need(build.getOutputShapes(inputs, 3, nullptr, 0, shapes.data(), outputs, builder) == 0, "getOutputShapes");

  const PluginTensorDesc matrix = tensor({rows, length}, DataType::kINT32);
  const std::vector<PluginTensorDesc> in = {matrix, matrix, tensor({rows}, DataType::kINT32)};
  std::vector<PluginTensorDesc> out;
  std::vector<std::size_t> sizes;
  for (std::int32_t i = 0; i < outputs; ++i) {
    std::vector<std::int64_t> dims;
    std::size_t numbers = 1;
    for (std::int32_t axis = 0; axis < shapes[i].nbDims; ++axis) {
      const auto& value = static_cast<const Expression*>(shapes[i].d[axis])->value;
      std::printf("%s%lld", axis ? " " : "", static_cast<long long>(value.value));
      dims.push_back(value.value);
      numbers *= value.value;
    }
    std::printf("\n");
    out.push_back(tensor(dims, output_types[i]));
    sizes.push_back(numbers);
  }
  std::vector<DynamicPluginTensorDesc> both;
  for (const PluginTensorDesc& one : in) both.push_back({one, one.dims, one.dims, one.dims});
  for (const PluginTensorDesc& one : out) both.push_back({one, one.dims, one.dims, one.dims});
  for (std::int32_t place = 0; place < 3 + outputs; ++place) {
    need(build.supportsFormatCombination(place, both.data(), 3, outputs), "supportsFormatCombination");
    both[place].desc.type = DataType::kHALF;
    need(!build.supportsFormatCombination(place, both.data(), 3, outputs), "float16 is no format of it");
    both[place].desc.type = place < 3 ? DataType::kINT32 : DataType::kFLOAT;
  }
  need(build.configurePlugin(both.data(), 3, both.data() + 3, outputs) == 0, "configurePlugin");

  const std::vector<Kept> kept = serialised(*std::unique_ptr<IPluginV3>(built->clone()));
  built.reset();
  std::vector<PluginField> again;
  for (const Kept& one : kept) again.emplace_back(one.name.c_str(), one.data.data(), one.type, one.length);
  const PluginFieldCollection read{static_cast<std::int32_t>(again.size()), again.data()};
  const std::unique_ptr<IPluginV3> loaded(creator->createPlugin("encoder", &read, TensorRTPhase::kRUNTIME));
  need(loaded.get(), "createPlugin from what was serialised");
  const std::unique_ptr<IPluginV3> plugin(
      capability<IPluginV3OneRuntime>(*loaded, PluginCapabilityType::kRUNTIME).attachToContext(nullptr));
  need(plugin.get(), "attachToContext");
  auto& runtime = capability<IPluginV3OneRuntime>(*plugin, PluginCapabilityType::kRUNTIME);
  need(runtime.onShapeChange(in.data(), 3, out.data(), outputs) == 0, "onShapeChange");

  std::ofstream results(words[5], std::ios::binary);
  for (int run = 0; run < 2; ++run) {
    std::vector<std::vector<float>> values;
    std::vector<void*> places;
    for (const std::size_t numbers : sizes) values.emplace_back(numbers, std::numeric_limits<float>::quiet_NaN());
    for (auto& one : values) places.push_back(one.data());
    const void* sources[] = {ids.data(), types.data(), lengths.data()};
    need(runtime.enqueue(in.data(), out.data(), sources, places.data(), nullptr, nullptr) == 0, "enqueue");
    for (const auto& one : values) results.write(reinterpret_cast<const char*>(one.data()), one.size() * 4);
    std::swap(lengths.front(), lengths.back());
  }
  return results.good() ? 0 : 1;
}

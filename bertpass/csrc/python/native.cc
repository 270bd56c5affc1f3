// bertpass._native: the CPU engine for Python, without MXNet. See _native.pyi for the contract.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <tuple>

#include "encoder/distances.h"
#include "kernels/bf16.h"
#include "kernels/caches.h"
#include "kernels/select.h"
#include "model/model.h"
#include "python/lab.h"
#include "python/names.h"
#include "schema/distances.h"

namespace py = pybind11;

namespace bertpass::native {
namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;
using Integers = py::array_t<std::int32_t, py::array::c_style>;
using Offsets = py::array_t<std::int64_t, py::array::c_style>;

// From the dicts of bertpass/model/config.py.
ModelConfig config_of(const py::dict& encoder, const py::dict& head) {
  py::dict all;
  all["config"] = encoder;
  all["head"] = head;
  return read_config(py::cast<std::string>(py::module_::import("json").attr("dumps")(all)));
}

// Keeps an array for as long as the native side wants it; the last to let go may be any thread.
std::shared_ptr<const void> owner_of(const py::array& array) {
  return {array.data(), [held = new py::array(array)](const void*) {
            const py::gil_scoped_acquire acquired;
            delete held;
          }};
}

Weights weights_of(const py::dict& params, const std::optional<Bytes>& packed) {
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, value] : params) {
    if (!Floats::check_(value))
      throw py::type_error("'" + std::string(py::str(name)) + "' is no float32 array in C order");
    const auto array = py::reinterpret_borrow<Floats>(value);
    tensors[py::str(name)] = {array.data(), std::vector<Index>(array.shape(), array.shape() + array.ndim()),
                              owner_of(array)};
  }
  if (!packed) return Weights(std::move(tensors));
  return Weights(std::move(tensors), {packed->data(), packed->size(), owner_of(*packed)});
}

std::unique_ptr<Model> make_model(const py::dict& encoder, const py::dict& head, const py::dict& params,
                                  const std::string& dtype, int threads, const std::string& isa,
                                  const std::optional<Bytes>& packed, const GivenCaches& caches) {
  const ModelConfig config = config_of(encoder, head);
  const Kernels kernels = kernels_of(isa, caches);
  if (threads < 1) throw py::value_error("threads must be at least 1");
  const Weights weights = weights_of(params, packed);
  const py::gil_scoped_release released;
  return std::make_unique<Model>(config, weights, dtype, threads, kernels);
}

Bytes pack(const py::dict& encoder, const py::dict& head, const py::dict& params, const std::string& dtype,
           int threads) {
  const Weights weights = weights_of(params, std::nullopt);
  const LayersSource source = layers_source(weights, dtype, config_of(encoder, head));
  Bytes out(packed_bytes(source.shape));
  std::uint8_t* to = out.mutable_data();
  const py::gil_scoped_release released;
  pack_layers(Team(threads), source.shape, source.layers.data(), to);
  return out;
}

std::vector<std::map<std::string, std::string>> plan(const std::string& text, Index layers) {
  if (layers < 1) throw py::value_error("a model has at least one layer");
  std::vector<std::map<std::string, std::string>> named;
  for (const LayerTypes& layer : read_plan(text, layers)) {
    named.emplace_back();
    for (const Product& product : kProducts) named.back()[product.name] = name_of(layer.*product.type);
  }
  return named;
}

Floats distance_bias(const Floats& table, Index length) {
  if (table.ndim() != 2 || table.shape(0) != kDistanceBuckets || length < 1)
    throw py::value_error("table must be (" + std::to_string(kDistanceBuckets) + ", heads) and length at least 1");
  const Index heads = table.shape(1), distances = 2 * length - 1;
  const OwnedDistanceBias bias(table.data(), heads, length);
  Floats out({heads, distances});
  for (Index head = 0; head < heads; ++head)
    std::copy_n(bias.values.data() + head * bias.view.stride, distances, out.mutable_data(head));
  return out;
}

// For the distances from query to key, those of the key less those of the query: 1 - length to length - 1.
std::vector<Index> rows_of_distances(Index buckets, Index most, Index length) {
  if (buckets < 0 || most < 1 || length < 1) throw py::value_error("most and length are at least 1, buckets 0");
  std::vector<Index> rows;
  for (Index distance = 1 - length; distance < length; ++distance)
    rows.push_back(relative_row(-distance, buckets, most));
  return rows;
}

void check_batch(const Integers& ids, const Integers& types, const Integers& lengths) {
  if (ids.ndim() != 2 || types.ndim() != 2 || lengths.ndim() != 1 || types.shape(0) != ids.shape(0) ||
      types.shape(1) != ids.shape(1) || lengths.shape(0) != ids.shape(0))
    throw InputError("input_ids and token_types must be (batch, sequence) and valid_length (batch,).");
}

// Where outputs of these shapes are to be written.
std::vector<float*> pointers_of(const std::vector<py::array>& outputs, const std::vector<std::vector<Index>>& shapes) {
  if (outputs.size() != shapes.size()) throw py::value_error("the number of outputs is not that of the model");
  std::vector<float*> pointers;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (!Floats::check_(outputs[i])) throw py::type_error("the outputs must be float32 arrays in C order");
    auto out = py::reinterpret_borrow<Floats>(outputs[i]);
    if (std::vector<Index>(out.shape(), out.shape() + out.ndim()) != shapes[i])
      throw py::value_error("an output does not have its shape");
    pointers.push_back(out.mutable_data());  // refuses an array that is read-only
  }
  return pointers;
}

void compute(const Model& model, const Integers& ids, const Integers& types, const Integers& lengths,
             const std::vector<py::array>& outputs, Stages* stages) {
  check_batch(ids, types, lengths);
  const std::vector<float*> pointers = pointers_of(outputs, model.output_shapes(ids.shape(0), ids.shape(1)));
  const std::int32_t *id = ids.data(), *type = types.data(), *length = lengths.data();
  const Index rows = ids.shape(0), columns = ids.shape(1);
  const py::gil_scoped_release released;
  model.forward(id, type, length, rows, columns, pointers.data(), stages);
}

void forward(const Model& model, const Integers& ids, const Integers& types, const Integers& lengths,
             const std::vector<py::array>& outputs) {
  compute(model, ids, types, lengths, outputs, nullptr);
}

std::vector<std::pair<bool, Index>> outputs_of(const Model& model) {
  std::vector<std::pair<bool, Index>> found;
  for (const Output& output : model.outputs()) found.emplace_back(output.per_token, output.width);
  return found;
}

// Names, shapes and order of a network's parameters.
std::vector<std::pair<std::string, Shape>> parameters_of(const py::dict& encoder, const py::dict& head) {
  std::vector<std::pair<std::string, Shape>> found;
  for (const Parameter& parameter : parameters(config_of(encoder, head)))
    found.emplace_back(parameter.name, parameter.shape);
  return found;
}

// What a head is made of: whether the states are an output, what the layers take, (name, outputs, activation, norm,
// table, whether it is bare) of each layer, whether vectors get length 1, what becomes of the tokens' results and how
// many logarithms.
py::tuple layout_of(const py::dict& encoder, const py::dict& head) {
  const HeadLayout layout = head_layout(config_of(encoder, head));
  constexpr const char *kTakes[] = {"", "tokens", "first", "mean"}, *kOver[] = {"", "max", "sum"};
  py::list layers;
  for (const DenseLayer& layer : layout.layers)
    layers.append(py::make_tuple(layer.name, layer.outputs, name_of(layer.activation, kFunctions), layer.norm,
                                 layer.table, layer.bare));
  return py::make_tuple(layout.states, kTakes[static_cast<int>(layout.takes)], layers, layout.normalize,
                        kOver[static_cast<int>(layout.over)], layout.logs);
}

void rows(const Model& model, const Integers& ids, const Integers& types, const Offsets& offsets,
          const std::vector<py::array>& outputs, const std::optional<Offsets>& keys) {
  if (ids.ndim() != 1 || types.ndim() != 1 || types.shape(0) != ids.shape(0) || offsets.ndim() != 1 ||
      offsets.shape(0) < 2)
    throw InputError("ids and token_types must be (tokens,) and offsets (rows + 1,), of at least one row.");
  if (keys && (keys->ndim() != 1 || keys->shape(0) + 1 != offsets.shape(0)))
    throw InputError("the tokens that are attended to must be (rows,).");
  const Index count = offsets.shape(0) - 1, tokens = ids.shape(0);
  std::vector<std::vector<Index>> shapes;
  for (const Output& output : model.outputs())
    shapes.push_back({output.per_token ? tokens : count, output.width});
  const std::vector<float*> pointers = pointers_of(outputs, shapes);
  const std::int32_t *id = ids.data(), *type = types.data();
  const std::int64_t *offset = offsets.data(), *key = keys ? keys->data() : nullptr;
  const py::gil_scoped_release released;
  model.rows(id, type, offset, count, tokens, pointers.data(), nullptr, key);
}

py::dict profile(const Model& model, const Integers& ids, const Integers& types, const Integers& lengths,
                 const std::vector<py::array>& outputs) {
  Stages stages;
  compute(model, ids, types, lengths, outputs, &stages);
  py::dict seconds;
  for (std::size_t stage = 0; stage < kStageNames.size(); ++stage) seconds[kStageNames[stage]] = stages.seconds(stage);
  return seconds;
}

Floats states(const Model& model, const Integers& ids, const Integers& types, const Integers& lengths) {
  check_batch(ids, types, lengths);
  const std::int32_t *id = ids.data(), *type = types.data(), *length = lengths.data();
  const Index rows = ids.shape(0), columns = ids.shape(1);
  Floats out({rows, columns, model.units()});
  float* const to = out.mutable_data();
  const py::gil_scoped_release released;
  model.states(id, type, length, rows, columns, to);
  return out;
}

// One tensor in training: where its weights, gradient and averages are, and the decay of its weights.
using Trained = std::tuple<py::array, py::array, py::array, py::array, float>;

void bert_adam(const std::vector<Trained>& tensors, float rate, float first, float second, float epsilon,
               float gradient_scale, int threads, const std::string& isa) {
  constexpr Index kBlock = 1 << 15;
  struct Part {
    float *weights, *mean, *square;
    const float* gradient;
    Index count;
    float decay;
  };
  std::vector<Part> parts;
  double all = 0;
  for (const auto& [weights, gradient, mean, square, decay] : tensors) {
    const Index count = weights.size();
    for (const py::array* array : {&weights, &gradient, &mean, &square})
      if (!Floats::check_(*array) || array->size() != count)
        throw py::value_error("weights, gradient, mean and square must be float32 in C order and of one size");
    float* const w = static_cast<float*>(py::array(weights).mutable_data());  // refuses an array that is read-only
    float* const m = static_cast<float*>(py::array(mean).mutable_data());
    float* const s = static_cast<float*>(py::array(square).mutable_data());
    const float* const g = static_cast<const float*>(gradient.data());
    all += static_cast<double>(count);
    for (Index at = 0; at < count; at += kBlock)
      parts.push_back({w + at, m + at, s + at, g + at, std::min(kBlock, count - at), decay});
  }
  const Kernels& kernels = select_kernels(isa);
  const py::gil_scoped_release released;
  Team(threads).loop(static_cast<Index>(parts.size()), 32 * all, [&](Index task, int) {
    const Part& part = parts[task];
    kernels.bert_adam({rate, part.decay, first, second, epsilon, gradient_scale}, part.gradient, part.count,
                      part.weights, part.mean, part.square);
  });
}

void translate(std::exception_ptr pointer) {
  const auto raise = [](const char* name, const std::exception& error) {
    py::set_error(py::module_::import("bertpass.errors").attr(name), error.what());
  };
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const InstructionSetError& error) {
    raise("DeviceError", error);
  } catch (const WeightError& error) {
    raise("ModelError", error);
  } catch (const PackedError& error) {
    raise("ModelError", error);
  } catch (const ConfigError& error) {
    raise("ModelError", error);
  } catch (const PlanError& error) {
    raise("UsageError", error);
  } catch (const InputError& error) {
    raise("UsageError", error);
  }
}

}  // namespace
}  // namespace bertpass::native

PYBIND11_MODULE(_native, module) {
  namespace bp = bertpass::native;
  py::register_exception_translator(bp::translate);
  module.def("instruction_sets", bp::available_instruction_sets);
  module.def("caches", [] {
    const bp::Caches found = bp::caches_of_processor();
    return std::make_pair(found.first, found.second);
  });
  module.def("selected", [](const std::string& isa) { return bp::select_kernels(isa).name; }, py::arg("isa") = "");
  module.def("pack", bp::pack, py::arg("encoder"), py::arg("head"), py::arg("params"), py::kw_only(),
             py::arg("dtype") = "float32", py::arg("threads") = 1);
  module.def("plan", bp::plan, py::arg("text"), py::arg("layers"));
  module.def("distance_bias", bp::distance_bias, py::arg("table"), py::arg("length"));
  module.def("relative_rows", bp::rows_of_distances, py::arg("buckets"), py::arg("most"), py::arg("length"));
  module.def("parameters", bp::parameters_of, py::arg("encoder"), py::arg("head"));
  module.def("head", bp::layout_of, py::arg("encoder"), py::arg("head"));
  bp::add_laboratory(module);
  module.def("bert_adam", bp::bert_adam, py::arg("tensors"), py::kw_only(), py::arg("rate"), py::arg("first"),
             py::arg("second"), py::arg("epsilon"), py::arg("gradient_scale") = 1.0f, py::arg("threads") = 1,
             py::arg("isa") = "");
  py::class_<bp::Model>(module, "Model")
      .def(py::init(&bp::make_model), py::arg("encoder"), py::arg("head"), py::arg("params"), py::kw_only(),
           py::arg("dtype") = "float32", py::arg("threads") = 1, py::arg("isa") = "", py::arg("packed") = py::none(),
           py::arg("caches") = py::none())
      .def("output_shapes", &bp::Model::output_shapes, py::arg("batch"), py::arg("sequence"))
      .def("forward", &bp::forward, py::arg("input_ids"), py::arg("token_types"), py::arg("valid_length"),
           py::arg("outputs"))
      .def("rows", &bp::rows, py::arg("ids"), py::arg("token_types"), py::arg("offsets"), py::arg("outputs"),
           py::arg("keys") = py::none())
      .def_property_readonly("outputs", &bp::outputs_of)
      .def("profile", &bp::profile, py::arg("input_ids"), py::arg("token_types"), py::arg("valid_length"),
           py::arg("outputs"))
      .def("states", &bp::states, py::arg("input_ids"), py::arg("token_types"), py::arg("valid_length"))
      .def_property_readonly("instruction_set", &bp::Model::instruction_set)
      .def_property_readonly("threads", &bp::Model::threads);
}

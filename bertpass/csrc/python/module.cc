// bertpass._core: the graph, the passes and the checks for Python, without MXNet. See _core.pyi for the contract.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "graph/error.h"
#include "graph/json.h"
#include "graph/verify.h"
#include "ops/processors.h"
#include "passes/encoder_operator.h"
#include "passes/pass.h"
#include "schema/interleave.h"

namespace py = pybind11;

namespace bertpass {
namespace {

Shape shape_of(const py::array& array) { return Shape(array.shape(), array.shape() + array.ndim()); }

// The arrays of a dict as parameters; new ones are NumPy arrays of the same element type.
class NumpyParameters : public Parameters {
 public:
  explicit NumpyParameters(const py::dict& arrays) {
    for (const auto& [name, value] : arrays) {
      if (!py::isinstance<py::array>(value))
        throw py::type_error("the parameter '" + std::string(py::str(name)) + "' is not a NumPy array");
      insert(py::str(name), py::reinterpret_borrow<py::array>(value));
    }
  }

  const Tensor* find(const std::string& name) const override {
    const auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : &it->second;
  }

  void* allocate(const std::string& name, const Shape& shape, const Tensor& like) override {
    return add(name, py::array(dtypes_.at(like.dtype), shape));
  }

  float* allocate_float32(const std::string& name, const Shape& shape) override {
    return static_cast<float*>(add(name, py::array(py::dtype::of<float>(), shape)));
  }

  py::dict added() const { return added_; }

 private:
  static Number number_of(const py::dtype& type) {
    if (type.equal(py::dtype::of<float>())) return Number::float32;
    return type.equal(py::dtype("float16")) ? Number::float16 : Number::other;
  }

  void* add(const std::string& name, py::array array) {
    insert(name, array);
    added_[py::str(name)] = array;
    return array.mutable_data();
  }

  void insert(const std::string& name, const py::array& given) {
    // ascontiguousarray gives scalars a dimension; they keep their shape here.
    const py::array array = py::array::ensure(given, py::array::c_style);
    const Shape shape = shape_of(given);
    const py::dtype type = given.dtype();
    int number = 0;
    while (number < static_cast<int>(dtypes_.size()) && !dtypes_[number].equal(type)) ++number;
    if (number == static_cast<int>(dtypes_.size())) dtypes_.push_back(type);
    kept_.push_back(array);
    tensors_[name] = {number, static_cast<std::size_t>(type.itemsize()), shape, array.data(),
                      number_of(type)};
  }

  std::map<std::string, Tensor> tensors_;
  std::vector<py::array> kept_;  // owners of the memory that tensors_ points to
  std::vector<py::dtype> dtypes_;
  py::dict added_;
};

ParameterShapes shapes_of(const py::dict& arrays) {
  ParameterShapes shapes;
  for (const auto& [name, value] : arrays) shapes[py::str(name)] = py::cast<Shape>(py::object(value.attr("shape")));
  return shapes;
}

py::tuple devices_of(const Pass& pass) {
  py::list devices;
  if (pass.on_cpu) devices.append("cpu");
  if (pass.on_gpu) devices.append("gpu");
  return devices;
}

py::dict options_by_name(const Pass& pass) {
  py::dict options;
  for (const PassOption& option : pass.options) options[option.name] = option.allowed;
  return options;
}

py::tuple select(const std::vector<std::string>& asked, const std::string& device, const std::string& dtype, bool mxnet,
                 bool cuda_engine) {
  const Selection selection = select_passes(asked, options_of({{"device", device}, {"dtype", dtype}}), {mxnet, cuda_engine});
  return py::make_tuple(py::cast(selection.passes, py::return_value_policy::reference), selection.notes);
}

// A graph that does not change: a pass gives another one.
class Symbol {
 public:
  explicit Symbol(Graph graph) : graph_(std::move(graph)) {}

  const std::string& json() const {
    if (text_.empty()) text_ = dump_graph(graph_);
    return text_;
  }

  std::vector<std::string> arguments() const { return graph_.arguments(); }

  std::map<std::string, std::size_t> op_counts() const {
    std::map<std::string, std::size_t> counts;
    for (const Node& node : graph_.nodes)
      if (!node.is_variable()) ++counts[node.op];
    return counts;
  }

  void verify(const py::object& arrays, const Symbol* before) const {
    if (before) verify_heads(head_names(before->graph_), graph_);
    if (!arrays.is_none()) verify_parameters(graph_, shapes_of(py::cast<py::dict>(arrays)));
  }

  // `self` as Python holds it is also the result where nothing is rewritten.
  static py::tuple apply(const py::object& self, const py::dict& arrays, const std::string& name,
                         const GivenOptions& options) {
    const Pass& pass = find_pass(name);
    Graph graph = py::cast<const Symbol&>(self).graph_;
    NumpyParameters parameters(arrays);
    const PassResult result = run_pass(pass, graph, parameters, options_of(pass, options));
    return py::make_tuple(result.rewrites ? py::cast(Symbol(std::move(graph))) : self, parameters.added(),
                          result.removed, result.rewrites);
  }

 private:
  Graph graph_;
  mutable std::string text_;  // of graph_, once it was asked for
};

py::array interleave_arrays(const py::array& query, const py::array& key, const py::array& value, std::int64_t heads) {
  const Shape shape = shape_of(query);
  if (shape.empty() || shape.size() > 2) throw py::value_error("the arrays must have one or two dimensions");
  if (heads < 1 || shape[0] % heads) throw py::value_error("the first dimension must be a multiple of heads");
  if (shape_of(key) != shape || shape_of(value) != shape || !key.dtype().equal(query.dtype()) ||
      !value.dtype().equal(query.dtype()))
    throw py::value_error("the three arrays must have one shape and one dtype");
  const std::array<py::array, 3> parts = {py::array::ensure(query, py::array::c_style),
                                          py::array::ensure(key, py::array::c_style),
                                          py::array::ensure(value, py::array::c_style)};
  Shape joined = shape;
  joined[0] *= 3;
  py::array out(query.dtype(), joined);
  native::interleave({parts[0].data(), parts[1].data(), parts[2].data()}, static_cast<std::size_t>(heads),
             static_cast<std::size_t>(query.nbytes() / heads), out.mutable_data());
  return out;
}

// Raise `type` of bertpass.errors with the text of a C++ exception.
void raise(const char* type, const std::exception& error) {
  const py::object errors = py::module_::import("bertpass.errors");
  PyErr_SetString(errors.attr(type).ptr(), error.what());
}

void translate(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const UnknownName& error) {
    const py::object errors = py::module_::import("bertpass.errors");
    const py::str sentence = errors.attr("unknown")(error.kind, error.name, error.known);
    PyErr_SetObject(errors.attr("PassError").ptr(), sentence.ptr());
  } catch (const GraphError& error) {
    raise("GraphError", error);
  } catch (const PassError& error) {
    raise("PassError", error);
  }
}

}  // namespace
}  // namespace bertpass

PYBIND11_MODULE(_core, module) {
  namespace bp = bertpass;
  py::register_exception_translator(bp::translate);
  module.attr("ENCODER_OPERATOR") = bp::kEncoderOperator;
  module.def("default_threads", bp::native::default_threads);
  py::class_<bp::Pass, std::unique_ptr<bp::Pass, py::nodelete>>(module, "PassInfo")
      .def_readonly("name", &bp::Pass::name)
      .def_readonly("documentation", &bp::Pass::documentation)
      .def_property_readonly("devices", bp::devices_of)
      .def_property_readonly("provided_by", [](const bp::Pass& pass) { return pass.run ? "core" : "mxnet"; })
      .def_property_readonly("options", bp::options_by_name)
      .def_readonly("takes_encoder", &bp::Pass::takes_encoder)
      .def_readonly("needs_cuda_engine", &bp::Pass::needs_cuda_engine)
      .def_readonly("reads_factors", &bp::Pass::reads_factors);
  module.def("passes", bp::all_passes, py::return_value_policy::reference);
  module.def("select", bp::select, py::arg("asked"), py::arg("device"), py::arg("dtype"), py::arg("mxnet"),
             py::arg("cuda_engine"));
  py::class_<bp::Symbol>(module, "Graph")
      .def(py::init([](const std::string& json) { return bp::Symbol(bp::parse_graph(json)); }), py::arg("json"))
      .def("json", &bp::Symbol::json)
      .def("arguments", &bp::Symbol::arguments)
      .def("op_counts", &bp::Symbol::op_counts)
      .def("verify", &bp::Symbol::verify, py::arg("params") = py::none(), py::arg("before") = py::none())
      .def("apply", bp::Symbol::apply, py::arg("params"), py::arg("name"), py::arg("options") = bp::GivenOptions{});
  module.def("interleave", bp::interleave_arrays, py::arg("query"), py::arg("key"), py::arg("value"),
             py::arg("heads"));
}

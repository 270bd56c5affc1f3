#include "python/lab.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <optional>

#include "encoder/ragged.h"
#include "kernels/bf16.h"
#include "kernels/select.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "python/names.h"
#include "python/peak.h"

namespace py = pybind11;

namespace bertpass::native {
namespace {

using Floats = py::array_t<float, py::array::c_style>;

// A kernel with inputs that are ready for it: weights packed, rows in the kernel's type. call() writes out.
struct Work {
  Floats out;
  std::function<void()> call;  // holds all that it reads

  double time(Index calls) const {
    const py::gil_scoped_release released;
    const auto start = std::chrono::steady_clock::now();
    for (Index i = 0; i < calls; ++i) call();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Floats result() const {
    time(1);
    return out;
  }
};

Rows rows_of(const Floats& array) {
  return {const_cast<float*>(array.data()), array.shape(array.ndim() - 1), Type::float32, nullptr};
}

Rows target(Floats& array) { return {array.mutable_data(), array.shape(array.ndim() - 1), Type::float32, nullptr}; }

// Rows in one of the types, with the memory that they are in.
struct Typed {
  Memory memory;
  std::vector<RowScale> scales;
  Rows rows;

  Typed(const Kernels& kernels, Type type, const Floats& a) : scales(a.shape(0)) {
    const Index count = a.shape(0), columns = a.shape(1), stride = stride_of(columns, size_of(type));
    memory.grow(std::max<Index>(count * stride * size_of(type), 1));
    rows = {memory.as<char>(), stride, type, scales.data()};
    if (type == Type::int8) quantize(kernels, Team(1), rows_of(a), count, columns, rows);
    for (Index row = 0; type != Type::int8 && row < count; ++row) {
      const float *from = a.data() + row * columns, *end = from + columns;
      if (type == Type::bfloat16)
        std::transform(from, end, rows.halves(row), narrow);
      else
        std::copy(from, end, rows.floats(row));
    }
  }
};

Work linear_work(const Floats& a, const Floats& weight, const Floats& bias, const std::optional<Floats>& residual,
                 const std::string& activation, const std::string& dtype, int threads, const std::string& isa,
                 const GivenCaches& caches) {
  if (a.ndim() != 2 || weight.ndim() != 2 || bias.ndim() != 1 || a.shape(1) != weight.shape(1) ||
      bias.shape(0) != weight.shape(0))
    throw py::value_error("a must be (rows, depth), weight (columns, depth) and bias (columns,)");
  const Index rows = a.shape(0), depth = a.shape(1), columns = weight.shape(0);
  if (residual && (residual->ndim() != 2 || residual->shape(0) != rows || residual->shape(1) != columns))
    throw py::value_error("residual must be (rows, columns)");
  const Type type = dtype_of(dtype);
  const Kernels kernels = kernels_of(isa, caches);
  const auto packed = std::make_shared<Memory>(Linear::bytes(type, columns, depth));
  Linear::pack(type, weight.data(), bias.data(), columns, depth, packed->as<char>());
  const auto input = std::make_shared<Typed>(kernels, type, a);
  Floats out({rows, columns});
  return {out, [=, how = choose(activation, kFunctions), to = target(out),
                layer = Linear(type, columns, depth, packed->as<char>())] {
            layer.apply(kernels, Team(threads), input->rows, rows, how, residual ? rows_of(*residual) : Rows{}, to);
            static_cast<void>(packed);
          }};
}

// A bias by distance with the elements after it that kernels read: NaN, so that none of them counts.
struct Biased {
  std::vector<float> values;
  DistanceBias view;

  explicit Biased(const Floats& bias) {
    const Index heads = bias.shape(0), distances = bias.shape(1);
    for (Index head = 0; head < heads; ++head) {
      const float* const from = bias.data() + head * distances;
      values.insert(values.end(), from, from + distances);
      values.insert(values.end(), kPanel, std::numeric_limits<float>::quiet_NaN());
    }
    view = {values.data() + distances / 2, distances + kPanel};
  }
};

Work attention_work(const Floats& qkv, const std::vector<std::int32_t>& lengths, Index heads,
                    const std::optional<Floats>& bias, const std::string& dtype, int threads, const std::string& isa) {
  const auto ragged = std::make_shared<Ragged>();
  ragged->set(lengths.data(), static_cast<Index>(lengths.size()));
  if (qkv.ndim() != 2 || heads < 1 || qkv.shape(1) % (3 * heads) || qkv.shape(0) != ragged->tokens() ||
      std::any_of(lengths.begin(), lengths.end(), [](std::int32_t n) { return n < 0; }))
    throw py::value_error("qkv must be (sum of lengths, heads x 3 x head size)");
  if (bias && (bias->ndim() != 2 || bias->shape(0) != heads || bias->shape(1) % 2 == 0 ||
               bias->shape(1) / 2 + 1 < ragged->longest()))
    throw py::value_error("bias must be (heads, 2 x longest length - 1), or wider on both sides");
  const Type type = dtype_of(dtype);
  if (type == Type::int8) throw py::value_error("attention computes in float32 or bfloat16");
  const Kernels& kernels = select_kernels(isa);
  const Index units = qkv.shape(1) / 3;
  const Index scratch = attention_scratch(kernels, type, ragged->longest(), units / heads, false);
  const auto memory = std::make_shared<Memory>(scratch * threads);
  const auto input = std::make_shared<Typed>(kernels, type, qkv);
  const auto biased = bias ? std::make_shared<Biased>(*bias) : nullptr;
  Floats out({ragged->tokens(), units});
  return {out, [=, &kernels, to = target(out)] {
            attention(kernels, Team(threads), ragged->offsets(0), ragged->sequences(), heads, units / heads,
                      input->rows, {biased ? biased->view : DistanceBias{}, {}, 0}, to, memory->as<char>(), scratch);
          }};
}

Work layer_norm_work(const Floats& x, const Floats& gamma, const Floats& beta, float epsilon, int threads,
                     const std::string& isa) {
  if (x.ndim() != 2 || gamma.ndim() != 1 || beta.ndim() != 1 || gamma.shape(0) != x.shape(1) ||
      beta.shape(0) != x.shape(1))
    throw py::value_error("x must be (rows, columns), gamma and beta (columns,)");
  const Kernels& kernels = select_kernels(isa);
  Floats out({x.shape(0), x.shape(1)});
  return {out, [=, &kernels, to = target(out)] {
            const Norm norm{gamma.data(), beta.data(), gamma.size(), epsilon};
            norm.apply(kernels, Team(threads), rows_of(x), x.shape(0), to, {});
          }};
}

Work softmax_work(const Floats& x, const std::string& isa) {
  if (x.ndim() != 2) throw py::value_error("x must be (rows, columns)");
  const Kernels& kernels = select_kernels(isa);
  const Index rows = x.shape(0), columns = x.shape(1);
  const auto inverse = std::make_shared<std::vector<float>>(rows);
  Floats out({rows, columns});
  return {out, [=, &kernels, to = target(out)] {
            std::copy(x.data(), x.data() + rows * columns, to.floats());  // the kernel works in place
            kernels.softmax(to.floats(), columns, rows, columns, nullptr, 0, inverse->data());
            for (Index row = 0; row < rows; ++row)
              for (float* one = to.floats(row); one < to.floats(row) + columns; ++one) *one *= (*inverse)[row];
          }};
}

void check_measuring(int threads, double seconds) {
  if (threads < 1 || !(seconds > 0)) throw py::value_error("threads must be at least 1 and seconds more than 0");
}

double measured_peak(const std::string& dtype, int threads, double seconds, const std::string& isa) {
  check_measuring(threads, seconds);
  const Type type = dtype_of(dtype);
  const py::gil_scoped_release released;
  return peak(isa, type, threads, seconds);
}

double measured_bandwidth(Index bytes, int threads, double seconds, const std::string& isa) {
  check_measuring(threads, seconds);
  if (bytes < 1) throw py::value_error("bytes must be at least 1");
  const py::gil_scoped_release released;
  return read_bandwidth(isa, bytes, threads, seconds);
}

}  // namespace

void add_laboratory(py::module_& module) {
  py::class_<Work>(module, "Work")
      .def("time", &Work::time, py::arg("calls"))
      .def("result", &Work::result);
  module.def("linear_work", linear_work, py::arg("a"), py::arg("weight"), py::arg("bias"),
             py::arg("residual") = py::none(), py::kw_only(), py::arg("activation") = "none",
             py::arg("dtype") = "float32", py::arg("threads") = 1, py::arg("isa") = "", py::arg("caches") = py::none());
  module.def("attention_work", attention_work, py::arg("qkv"), py::arg("lengths"), py::arg("heads"), py::kw_only(),
             py::arg("bias") = py::none(), py::arg("dtype") = "float32", py::arg("threads") = 1, py::arg("isa") = "");
  module.def("layer_norm_work", layer_norm_work, py::arg("x"), py::arg("gamma"), py::arg("beta"), py::arg("epsilon"),
             py::kw_only(), py::arg("threads") = 1, py::arg("isa") = "");
  module.def("softmax_work", softmax_work, py::arg("x"), py::kw_only(), py::arg("isa") = "");
  // The same in one step, for tests.
  module.def("linear", [](const Floats& a, const Floats& weight, const Floats& bias,
                          const std::optional<Floats>& residual, const std::string& activation,
                          const std::string& dtype, int threads, const std::string& isa, const GivenCaches& caches) {
               return linear_work(a, weight, bias, residual, activation, dtype, threads, isa, caches).result();
             },
             py::arg("a"), py::arg("weight"), py::arg("bias"), py::arg("residual") = py::none(), py::kw_only(),
             py::arg("activation") = "none", py::arg("dtype") = "float32", py::arg("threads") = 1, py::arg("isa") = "",
             py::arg("caches") = py::none());
  module.def("attention", [](const Floats& qkv, const std::vector<std::int32_t>& lengths, Index heads,
                             const std::optional<Floats>& bias, const std::string& dtype, int threads,
                             const std::string& isa) {
               return attention_work(qkv, lengths, heads, bias, dtype, threads, isa).result();
             },
             py::arg("qkv"), py::arg("lengths"), py::arg("heads"), py::kw_only(), py::arg("bias") = py::none(),
             py::arg("dtype") = "float32", py::arg("threads") = 1, py::arg("isa") = "");
  module.def("layer_norm", [](const Floats& x, const Floats& gamma, const Floats& beta, float epsilon,
                              const std::string& isa) {
               return layer_norm_work(x, gamma, beta, epsilon, 1, isa).result();
             },
             py::arg("x"), py::arg("gamma"), py::arg("beta"), py::arg("epsilon"), py::kw_only(), py::arg("isa") = "");
  module.def("peak", measured_peak, py::arg("dtype") = "float32", py::kw_only(), py::arg("threads") = 1,
             py::arg("seconds") = 0.25, py::arg("isa") = "");
  module.def("read_bandwidth", measured_bandwidth, py::arg("bytes"), py::kw_only(), py::arg("threads") = 1,
             py::arg("seconds") = 0.25, py::arg("isa") = "");
}

}  // namespace bertpass::native

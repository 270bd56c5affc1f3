// For test_aarch64.py: every kernel of the instruction sets named on the command line against the portable ones, with
// random data, sizes around those of vectors, tiles and panels, and biases that are not zero. Prints the sets that are
// there, then a line for each kernel that is wrong; a program that ends with 0 has found none.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/select.h"

using namespace bertpass::native;

namespace {

std::mt19937 source(7);
int wrong = 0;
std::string at;  // the set and the kernel

std::vector<float> values(Index count, float scale = 1, float shift = 0) {
  std::normal_distribution<float> normal(shift, scale);
  std::vector<float> out(count);
  for (float& x : out) x = normal(source);
  return out;
}

std::vector<bf16> halves(const std::vector<float>& x) {
  std::vector<bf16> out(x.size());
  std::transform(x.begin(), x.end(), out.begin(), narrow);
  return out;
}

std::vector<float> floats(const std::vector<bf16>& x) {
  std::vector<float> out(x.size());
  std::transform(x.begin(), x.end(), out.begin(), widen);
  return out;
}

void fail(const std::string& what, double error) {
  ++wrong;
  std::printf("%s %s: %g\n", at.c_str(), what.c_str(), error);
}

// bound: absolute below one, relative above.
void close(const std::string& what, const std::vector<float>& found, const std::vector<float>& wanted, double bound) {
  double most = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(double{found[i]} - wanted[i]) / std::max(1.0, std::abs(double{wanted[i]}));
    if (std::isnan(found[i]) != std::isnan(wanted[i])) most = HUGE_VAL;
    if (!std::isnan(wanted[i]) && !(error <= most)) most = error;
  }
  if (found.size() != wanted.size() || !(most <= bound)) fail(what, most);
}

template <class T>
void same(const std::string& what, const std::vector<T>& found, const std::vector<T>& wanted) {
  if (found != wanted) fail(what, -1);
}

// b (depth, columns) in panels, by the words of kernels.h.
template <class T>
std::vector<T> panels_of(const std::vector<T>& b, Index depth, Index columns, Index group) {
  const Index whole = (depth + group - 1) / group * group, count = (columns + kPanel - 1) / kPanel;
  std::vector<T> out(whole * count * kPanel, T{});
  for (Index k = 0; k < depth; ++k)
    for (Index j = 0; j < columns; ++j)
      out[j / kPanel * whole * kPanel + (k / group * kPanel + j % kPanel) * group + k % group] = b[k * columns + j];
  return out;
}

// A product with all that it reads; run() gives the result of a table's kernel for the rows from `first` on.
struct Product {
  Index rows, columns, depth, stride, out_columns;
  Gemm g{};
  std::vector<float> a, panels, bias, residual, row_factors, column_scales;
  std::vector<bf16> low_a, low_panels;
  std::vector<std::uint8_t> byte_a;
  std::vector<std::int8_t> byte_panels;
  std::vector<RowScale> row_scales;
  std::vector<std::int32_t> column_sums;
  std::size_t a_size;

  Product(int type, Index rows, Index columns, Index depth, Activation activation, bool gated, bool plain, bool factors,
          bool by_distance)
      : rows(rows), columns(columns), depth(depth), stride(depth + 5), out_columns(gated ? columns / 2 : columns) {
    const float scale = 1 / std::sqrt(static_cast<float>(depth));
    a = values(rows * stride + 8);
    const std::vector<float> b = values(depth * columns, scale);
    bias = values(columns);
    residual = values(by_distance ? rows + columns + kPanel : rows * columns);
    row_factors = values(rows, 0.1f, 1);
    if (type == 0) panels = panels_of(b, depth, columns, 1), g.a = a.data(), g.panels = panels.data(), a_size = 4;
    if (type == 1) {
      low_a = halves(a), low_panels = panels_of(halves(b), depth, columns, 2);
      for (Index row = 0; row < rows; ++row) low_a[row * stride + depth] = 0x7fc0;  // no number, and not to be read
      g.a = low_a.data(), g.panels = low_panels.data(), a_size = 2;
    }
    if (type == 2) {
      byte_a.resize(a.size()), row_scales.resize(rows);
      for (std::uint8_t& x : byte_a) x = source() % 5 ? source() % 256 : source() % 2 * 255;
      for (RowScale& one : row_scales) one = {0.01f + static_cast<float>(source() % 100) / 1e4f,
                                              static_cast<std::int32_t>(source() % 256)};
      std::vector<std::int8_t> whole(depth * columns);
      column_sums.assign(columns, 0), column_scales.resize(columns);
      for (float& one : column_scales) one = (1 + static_cast<float>(source() % 9)) * 1e-4f * scale;
      for (Index j = 0; j < columns; ++j)
        for (Index k = 0; k < depth; ++k) {
          int x = static_cast<int>(source() % 255) - 127;
          if (j % 3 == 0) x = k % 2 ? 0 : (source() % 2 ? 127 : -127);
          if (k % 2) x = std::clamp(x, std::max(-127, -128 - whole[(k - 1) * columns + j]),
                                    std::min(127, 128 - whole[(k - 1) * columns + j]));
          whole[k * columns + j] = static_cast<std::int8_t>(x);
          column_sums[j] += x;
        }
      byte_panels = panels_of(whole, depth, columns, 4);
      g.a = byte_a.data(), g.panels = byte_panels.data(), a_size = 1;
      g.row_scales = row_scales.data(), g.column_scales = column_scales.data(), g.column_sums = column_sums.data();
    }
    g.a_stride = stride, g.columns = columns, g.depth = depth, g.activation = activation, g.gated = gated;
    if (!plain) g.bias = bias.data();
    if (!plain && !gated) g.residual = by_distance ? residual.data() + rows : residual.data();
    g.residual_stride = by_distance ? -1 : columns;
    if (factors) g.row_factors = row_factors.data();
  }

  std::vector<float> run(void (*kernel)(const Gemm&), bool out_is_bf16, Index first, Index last, Caches caches) const {
    Gemm here = g;
    here.rows = last - first;
    here.a = static_cast<const char*>(g.a) + first * stride * static_cast<Index>(a_size);
    if (g.row_scales) here.row_scales += first;
    if (g.row_factors) here.row_factors += first;
    if (g.residual) here.residual += first * g.residual_stride;
    here.caches = caches;
    here.out_is_bf16 = out_is_bf16;
    const Index out_stride = here.out_stride = out_columns + 3;
    std::vector<float> out(here.rows * out_stride, -7);
    std::vector<bf16> low(here.rows * out_stride, narrow(-7));
    here.out = out_is_bf16 ? static_cast<void*>(low.data()) : out.data();
    kernel(here);
    return out_is_bf16 ? floats(low) : out;
  }
};

void (*gemm_of(const Kernels& kernels, int type))(const Gemm&) {
  return type == 0 ? kernels.gemm_f32 : type == 1 ? kernels.gemm_bf16 : kernels.gemm_i8;
}

void products(const Kernels& kernels, const Kernels& portable) {
  constexpr const char* kTypes[] = {"gemm_f32", "gemm_bf16", "gemm_i8"};
  constexpr Index kShapes[][3] = {{1, 1, 1},   {1, 33, 7},   {2, 31, 4},    {3, 32, 6},    {5, 64, 33},
                                  {7, 70, 50}, {13, 96, 36}, {40, 45, 257}, {6, 64, 1030}, {300, 35, 17}};
  constexpr Activation kActivations[] = {Activation::none,      Activation::gelu, Activation::gelu_tanh,
                                         Activation::relu,      Activation::tanh, Activation::gelu_coarse,
                                         Activation::silu};
  constexpr Caches kCaches[] = {{}, {2048, 65536}};
  for (int type = 0; type < 3; ++type)
    for (const auto& [rows, columns, depth] : kShapes)
      for (const Activation activation : kActivations)
        for (int form = 0; form < 5; ++form) {
          const bool gated = form == 1;
          if (gated && columns % kPanel) continue;
          if (activation != Activation::none && (form > 1 || rows > 7 || rows == 1)) continue;
          const Product product(type, rows, columns, depth, activation, gated, form == 2, form == 3, form == 4);
          const double bound = (type == 2 ? 3e-5 : 6e-6 * std::max(1.0, std::sqrt(static_cast<double>(depth) / 200))) *
                               (gated ? 4 : 1);
          const std::string name = std::string(kTypes[type]) + " " + std::to_string(rows) + "x" +
                                   std::to_string(columns) + "x" + std::to_string(depth) + " activation " +
                                   std::to_string(static_cast<int>(activation)) + " form " + std::to_string(form);
          for (const bool low : {false, true}) {
            const auto kernel = gemm_of(kernels, type);
            const auto found = product.run(kernel, low, 0, rows, kCaches[0]);
            close(name, found, product.run(gemm_of(portable, type), low, 0, rows, {}), low ? 1.0 / 128 : bound);
            same(name + " caches", product.run(kernel, low, 0, rows, kCaches[1]), found);
            for (Index row = 0; row < rows; row += std::max<Index>(1, rows / 4)) {  // a row alone: the same bits
              const Index stride = product.out_columns + 3;
              same(name + " alone", product.run(kernel, low, row, row + 1, {}),
                   std::vector<float>(found.begin() + row * stride, found.begin() + (row + 1) * stride));
            }
          }
        }
}

// Infinities, what is no number, the ends of the range.
void activations(const Kernels& kernels, const Kernels& portable) {
  std::vector<float> x;
  for (int i = -4000; i <= 4000; ++i) x.push_back(static_cast<float>(i) / 250);
  for (const float one : {-1e30f, -300.f, -89.f, 89.f, 300.f, 1e30f, 0.f, -0.f, std::nanf("")}) x.push_back(one);
  for (const Activation activation : {Activation::gelu, Activation::gelu_tanh, Activation::relu, Activation::tanh}) {
    std::vector<float> panel(kPanel), out(x.size()), wanted(x.size());
    panel[0] = 1;
    Gemm g{};
    g.a = x.data(), g.a_stride = 1, g.panels = panel.data(), g.columns = g.depth = 1, g.out_stride = 1;
    g.rows = static_cast<Index>(x.size()), g.activation = activation;
    g.out = out.data();
    kernels.gemm_f32(g);
    g.out = wanted.data();
    portable.gemm_f32(g);
    close("activation " + std::to_string(static_cast<int>(activation)), out, wanted, 1e-6);
  }
}

// Numbers in the middle between two of bfloat16 go to the even one; infinities and what is no number stay.
void rounding(const Kernels& kernels) {
  std::vector<float> x(4000), panel(kPanel, 0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::uint32_t bits = (static_cast<std::uint32_t>(source()) & 0xffff0000u) | (i % 3 ? 0x8000u : 0x7fffu);
    std::memcpy(&x[i], &bits, sizeof bits);
    if (std::abs(x[i]) < 1e-30f) x[i] = HUGE_VALF;
  }
  std::vector<bf16> out(x.size());
  panel[0] = 1;
  Gemm g{};
  g.a = x.data(), g.a_stride = 1, g.panels = panel.data(), g.columns = g.depth = 1, g.out_stride = 1;
  g.rows = static_cast<Index>(x.size()), g.out = out.data(), g.out_is_bf16 = true;
  kernels.gemm_f32(g);
  same("rounding to bfloat16", out, halves(x));
}

void packing(const Kernels& kernels, const Kernels& portable) {
  for (const Index used : {1, 3, 4, 5, 15, 16, 31, 32})
    for (const Index words : {1, 3, 4, 7, 16, 33}) {
      std::vector<std::uint32_t> rows(used * (words + 2)), out(words * kPanel, 9), wanted(words * kPanel, 9);
      for (std::uint32_t& x : rows) x = source();
      kernels.pack_words(rows.data(), words + 2, used, words, out.data());
      portable.pack_words(rows.data(), words + 2, used, words, wanted.data());
      same("pack_words", out, wanted);
      const std::vector<bf16> even = halves(values(used)), odd = halves(values(used));
      std::vector<bf16> pairs(2 * kPanel, 9), wanted_pairs(2 * kPanel, 9);
      for (const bf16* second : {odd.data(), static_cast<const bf16*>(nullptr)}) {
        kernels.pack_pair(even.data(), second, used, pairs.data());
        portable.pack_pair(even.data(), second, used, wanted_pairs.data());
        same("pack_pair", pairs, wanted_pairs);
      }
    }
}

void softmax_rows(const Kernels& kernels, const Kernels& portable, Index columns) {
  constexpr Index kRows = 3;
  std::vector<float> x = values(kRows * columns, 3);
  x[0] -= 200, x[columns - 1] -= 95;  // too small for a normal float
  for (const bool low : {false, true}) {
    std::vector<float> found = x, wanted = x, inverse(kRows), wanted_inverse(kRows);
    std::vector<bf16> halves_found(x.size()), halves_wanted(x.size());
    kernels.softmax(found.data(), columns, kRows, columns, low ? halves_found.data() : nullptr, columns,
                    inverse.data());
    portable.softmax(wanted.data(), columns, kRows, columns, low ? halves_wanted.data() : nullptr, columns,
                     wanted_inverse.data());
    if (low)
      close("softmax bfloat16", floats(halves_found), floats(halves_wanted), 1.0 / 256);
    else
      close("softmax", found, wanted, 3e-7);
    close("softmax sums", inverse, wanted_inverse, 1e-6);
  }
}

void quantized(const Kernels& kernels, const Kernels& portable, Index columns) {
  const std::vector<float> factors = values(columns, 0.2f, 1);
  for (int kind = 0; kind < 6; ++kind)
    for (const float* by : {static_cast<const float*>(nullptr), factors.data()}) {
      std::vector<float> x = values(columns, 2, 0.5f);
      if (kind == 1) std::fill(x.begin(), x.end(), 0.0f);
      if (kind == 2) std::fill(x.begin(), x.end(), -3.0f);
      if (kind == 3) x[columns / 2] = HUGE_VALF;
      if (kind == 4) x[columns / 2] = std::nanf("");
      if (kind == 5) std::transform(x.begin(), x.end(), x.begin(), [](float v) { return std::abs(v) + 9; });
      std::vector<std::uint8_t> found(columns + 8, 3), wanted = found;
      RowScale a{}, b{};
      const auto check = [&](const char* name) {
        std::vector<float> u(columns), v(columns);
        for (Index j = 0; j < columns; ++j) u[j] = found[j], v[j] = wanted[j];
        // A value in the middle between two levels may go to either.
        double most = 0;
        Index others = 0;
        for (Index j = 0; j < columns; ++j) {
          most = std::max<double>(most, std::abs(u[j] - v[j]));
          others += u[j] != v[j];
        }
        if (most > 1 || others > 1 + columns / 50 || !std::equal(found.begin() + columns, found.end(), wanted.begin() + columns)) fail(name, most);
        close(name, {a.scale}, {b.scale}, 1e-6);
        if (std::abs(a.zero - b.zero) > 1) fail(name, a.zero - b.zero);
      };
      a = kernels.quantize(x.data(), by, columns, found.data());
      b = portable.quantize(x.data(), by, columns, wanted.data());
      check("quantize");
      const std::vector<bf16> low = halves(x);
      a = kernels.quantize_bf16(low.data(), by, columns, found.data());
      b = portable.quantize_bf16(low.data(), by, columns, wanted.data());
      check("quantize_bf16");
    }
}

// One row of each of the other kernels; call(table) gives everything that it has written.
void rows_of(const Kernels& kernels, const Kernels& portable, Index columns) {
  const auto compare = [&](const char* name, double bound, const std::function<std::vector<float>(const Kernels&)>& f) {
    close(name + (" " + std::to_string(columns)), f(kernels), f(portable), bound);
  };
  const std::vector<float> x = values(columns, 3, 5), y = values(columns), z = values(columns);
  const std::vector<float> many = values(5 * columns), half = values(2 * columns);
  std::vector<float> positive = values(columns);
  for (float& one : positive) one = std::abs(one);
  const auto joined = [](std::vector<float> a, const std::vector<float>& b, const std::vector<float>& c = {}) {
    a.insert(a.end(), b.begin(), b.end());
    a.insert(a.end(), c.begin(), c.end());
    return a;
  };
  const auto normed = [&](const Kernels& k, std::vector<bf16>* low) {
    std::vector<float> out(columns);
    k.layer_norm(x.data(), y.data(), z.data(), 1e-5f, columns, out.data(), low ? low->data() : nullptr);
    return out;
  };
  compare("layer_norm", 1e-5, [&](const Kernels& k) { return normed(k, nullptr); });
  std::vector<bf16> low(columns);
  same("layer_norm bfloat16", low, (static_cast<void>(normed(kernels, &low)), halves(normed(kernels, nullptr))));
  for (const float* c : {static_cast<const float*>(nullptr), z.data()})
    compare("add", 1e-6, [&](const Kernels& k) {
      std::vector<float> out(columns);
      k.add(x.data(), y.data(), c, columns, out.data());
      return out;
    });
  compare("mean", 1e-6, [&](const Kernels& k) {
    std::vector<float> out(columns);
    k.mean(many.data(), columns, 5, columns, out.data());
    return out;
  });
  compare("normalize", 1e-6, [&](const Kernels& k) {
    std::vector<float> out = x;
    k.normalize(out.data(), columns);
    return out;
  });
  compare("rotate", 2e-6, [&](const Kernels& k) {
    std::vector<float> out = half;
    k.rotate(out.data(), y.data(), z.data(), columns);
    return out;
  });
  compare("rotate_bf16", 1.0 / 128, [&](const Kernels& k) {
    std::vector<bf16> out = halves(half);
    k.rotate_bf16(out.data(), y.data(), z.data(), columns);
    return floats(out);
  });
  const auto key = [] { return static_cast<std::uint32_t>(source()); };
  const Dropout dropout{key(), key(), INT32_MIN / 2, 4.0f / 3};
  const std::uint32_t counter = key();
  compare("drop", 0, [&](const Kernels& k) {
    std::vector<float> out(columns);
    k.drop(x.data(), dropout, counter, columns, out.data());
    return out;
  });
  compare("attention_weights", 3e-6, [&](const Kernels& k) {
    std::vector<float> out = x;
    out.push_back(k.attention_weights(out.data(), dropout, counter, columns));
    return out;
  });
  compare("attention_gradient", 1e-5, [&](const Kernels& k) {
    const Index panel = 3 * kPanel;
    std::vector<float> scores = y, gradient = z, panels((columns / kPanel + 1) * panel);
    k.attention_gradient(scores.data(), gradient.data(), positive.data(), x.data(), 0.125f, dropout, counter, 77,
                         columns, panels.data(), panel);
    return joined(scores, gradient, panels);
  });
  compare("layer_norm_gradient", 2e-5, [&](const Kernels& k) {
    std::vector<float> out(columns), gamma = y, beta = z;
    k.layer_norm_gradient(x.data(), y.data(), z.data(), 1e-3f, columns, out.data(), gamma.data(), beta.data());
    return joined(out, gamma, beta);
  });
  compare("bert_adam", 2e-6, [&](const Kernels& k) {
    std::vector<float> weights = x, mean = y, square = positive;
    k.bert_adam({0.01f, 0.1f, 0.9f, 0.999f, 1e-6f, 0.5f}, z.data(), columns, weights.data(), mean.data(),
                square.data());
    return joined(weights, mean, square);
  });
}

}  // namespace

int main(int count, char** names) {
  try {
    for (const std::string& name : available_instruction_sets()) std::printf("%s ", name.c_str());
    std::printf("\n");
    const Kernels& portable = select_kernels("portable");
    for (int i = 1; i < count; ++i) {
      at = names[i];
      const Kernels& kernels = select_kernels(names[i]);
      if (kernels.name != at) fail("name", 0);
      products(kernels, portable);
      activations(kernels, portable);
      rounding(kernels);
      packing(kernels, portable);
      for (const Index columns : {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63, 100, 257}) {
        softmax_rows(kernels, portable, columns);
        quantized(kernels, portable, columns);
        rows_of(kernels, portable, columns);
      }
    }
  } catch (const InstructionSetError& error) {
    std::printf("%s\n", error.what());
    return 3;
  }
  return wrong ? 1 : 0;
}

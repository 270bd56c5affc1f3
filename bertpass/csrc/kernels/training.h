// Rows of the operators for training in vectors; included by vectorised.h, after the functions that it takes from there.
// portable.cc says what each computes.
#pragma once

namespace bertpass::native {
namespace {

// As Dropout::bits of kernels.h, for counters beside each other by `step`.
struct Random {
  Vector::I at, next, first, second;

  Random(const Dropout& dropout, std::uint32_t counter, std::uint32_t step)
      : at(Vector::add(Vector::whole(counter), Vector::multiply(Vector::count(), Vector::whole(step)))),
        next(Vector::whole(step * static_cast<std::uint32_t>(W))),
        first(Vector::whole(dropout.first)),
        second(Vector::whole(dropout.second)) {}

  // The next vector of factors: 0 or the dropout's scale.
  V factors(const Dropout& dropout) {
    Vector::I x = Vector::add(at, first);
    x = Vector::multiply(Vector::exclusive_or(x, Vector::shifted<16>(x)), Vector::whole(kMixFirst));
    x = Vector::exclusive_or(Vector::exclusive_or(x, Vector::shifted<15>(x)), second);
    x = Vector::multiply(x, Vector::whole(kMixSecond));
    x = Vector::exclusive_or(x, Vector::shifted<16>(x));
    at = Vector::add(at, next);
    return Vector::where_least(x, dropout.limit, Vector::set(dropout.scale));
  }
};

void drop(const float* x, const Dropout& dropout, std::uint32_t counter, Index columns, float* out) {
  Random random(dropout, counter, 1);
  for (Index j = 0; j < columns; j += W) {
    const Index left = columns - j;
    store_some(out + j, Vector::mul(load_some(x + j, left), random.factors(dropout)), left);
  }
}

float attention_weights(float* x, const Dropout& dropout, std::uint32_t counter, Index columns) {
  V most = Vector::set(x[0]);
  Index j = 0;
  for (; j + W <= columns; j += W) most = Vector::max(most, Vector::load(x + j));
  float top = Vector::largest(most);
  for (; j < columns; ++j) top = x[j] > top ? x[j] : top;
  V total = Vector::zero();
  for (j = 0; j < columns; j += W) {
    const Index left = columns - j;
    V e = exponential(Vector::sub(load_some(x + j, left), Vector::set(top)));
    if (left < W) e = Vector::first(e, left);
    store_some(x + j, e, left);
    total = Vector::add(total, e);
  }
  const float sum = Vector::sum(total);
  const V inverse = Vector::set(1 / sum);
  Random random(dropout, counter, 1);
  for (j = 0; j < columns; j += W) {
    const Index left = columns - j;
    const V factors = Vector::mul(inverse, random.factors(dropout));
    store_some(x + j, Vector::mul(load_some(x + j, left), factors), left);
  }
  return top + __builtin_logf(sum);
}

void attention_gradient(float* scores, float* gradient, const float* logarithms, const float* shares, float scale,
                        const Dropout& dropout, std::uint32_t counter, std::uint32_t step, Index columns,
                        float* panels, Index panel) {
  Random random(dropout, counter, step);
  for (Index j = 0; j < columns; j += W) {
    const Index left = columns - j;
    const V weight = exponential(Vector::sub(load_some(scores + j, left), load_some(logarithms + j, left)));
    const V factors = random.factors(dropout);
    V g = Vector::sub(Vector::mul(load_some(gradient + j, left), factors), load_some(shares + j, left));
    g = Vector::mul(Vector::mul(g, weight), Vector::set(scale));
    store_some(scores + j, Vector::mul(weight, factors), left);
    store_some(gradient + j, g, left);
    store_some(panels + j / kPanel * panel + j % kPanel, g, left);
  }
}

void layer_norm_gradient(const float* x, const float* gamma, const float* gradient, float epsilon, Index columns,
                         float* out, float* gamma_gradient, float* beta_gradient) {
  const float count = static_cast<float>(columns);
  V total = Vector::zero();
  for (Index j = 0; j < columns; j += W) total = Vector::add(total, load_some(x + j, columns - j));
  const V mean = Vector::set(Vector::sum(total) / count);
  V squares = Vector::zero(), sum = Vector::zero(), product = Vector::zero();
  for (Index j = 0; j < columns; j += W) {
    const Index left = columns - j;
    V d = Vector::sub(load_some(x + j, left), mean);
    if (left < W) d = Vector::first(d, left);
    const V g = Vector::mul(load_some(gradient + j, left), load_some(gamma + j, left));
    squares = Vector::fma(d, d, squares);
    sum = Vector::add(sum, g);
    product = Vector::fma(d, g, product);
  }
  const float variance = Vector::sum(squares) / count, inverse = 1 / __builtin_sqrtf(variance + epsilon);
  const V scale = Vector::set(inverse), shift = Vector::set(Vector::sum(sum) / count);
  const V slope = Vector::set(Vector::sum(product) * inverse / count);
  for (Index j = 0; j < columns; j += W) {
    const Index left = columns - j;
    const V dy = load_some(gradient + j, left);
    const V normal = Vector::mul(Vector::sub(load_some(x + j, left), mean), scale);
    store_some(gamma_gradient + j, Vector::fma(dy, normal, load_some(gamma_gradient + j, left)), left);
    store_some(beta_gradient + j, Vector::add(dy, load_some(beta_gradient + j, left)), left);
    const V g = Vector::sub(Vector::mul(dy, load_some(gamma + j, left)), Vector::fma(normal, slope, shift));
    store_some(out + j, Vector::mul(g, scale), left);
  }
}

void bert_adam(const BertAdam& adam, const float* gradient, Index count, float* weights, float* mean, float* square) {
  const V scale = Vector::set(adam.gradient_scale), first = Vector::set(adam.first), second = Vector::set(adam.second);
  const V new_first = Vector::set(1 - adam.first), new_second = Vector::set(1 - adam.second);
  const V rate = Vector::set(-adam.rate), decay = Vector::set(adam.decay), epsilon = Vector::set(adam.epsilon);
  for (Index j = 0; j < count; j += W) {
    const Index left = count - j;
    const V g = Vector::mul(load_some(gradient + j, left), scale), w = load_some(weights + j, left);
    const V m = Vector::fma(first, load_some(mean + j, left), Vector::mul(new_first, g));
    const V s = Vector::fma(second, load_some(square + j, left), Vector::mul(Vector::mul(new_second, g), g));
    const V step = Vector::fma(decay, w, Vector::div(m, Vector::add(Vector::sqrt(s), epsilon)));
    store_some(mean + j, m, left);
    store_some(square + j, s, left);
    store_some(weights + j, Vector::fma(rate, step, w), left);
  }
}

}  // namespace
}  // namespace bertpass::native

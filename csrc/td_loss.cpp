// torch ops of the temporal-difference losses (pyagent/ops/td_loss.py has the maths and the shapes).
//
// One pass over the rows makes errors, losses and the one gradient a row that is not 0; the backward spreads these out.
// Sums are those of blocks of rows, added in order, so threads do not change them.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "parallel.h"
#include "rows.h"
#include "tensors.h"

namespace pyagent {
namespace {

constexpr int64_t kBlockRows = 512;

// h(x) of value rescaling and its inverse, in forms that lose no digits (pyagent/ops/value_rescaling.py).
template <class T>
T rescaled(T x, T epsilon) {
  return x * (1 / (std::sqrt(std::abs(x) + 1) + 1) + epsilon);
}
template <class T>
T restored(T y, T epsilon) {
  const T k = 1 + 2 * epsilon, w = 2 / (k + std::sqrt(k * k + 4 * epsilon * std::abs(y)));
  return y * w * (std::abs(y) * w + 2);
}

// The value of each state that a row of action values belongs to: the largest, or that of the selector's choice.
template <class T>
void bootstrap(const T* q, const T* selector, int64_t rows, int64_t A, T* value) {
  largest_of_rows(selector ? selector : q, rows, A, value);
  for (int64_t n = 0; selector && n < rows; ++n) {
    const bool is_nan = value[n] != value[n];
    if (!is_nan) value[n] = q[n * A + first_of(selector + n * A, A, value[n])];
  }
}

int64_t actions_of(const char* name, const Tensor& q) {
  STD_TORCH_CHECK(q.dim() == 3, name, ": got ", q.dim(), " dimensions, want 3");
  STD_TORCH_CHECK(q.size(2) > 0 || q.size(0) * q.size(1) == 0, name, ": got no actions");
  return q.size(2);
}

template <class T>
Tensor bootstrap_value(const Tensor& q_t, const OptionalTensor& q_t_selector, std::optional<double> rescale_epsilon) {
  const int64_t A = actions_of("q_t", q_t), T_ = q_t.size(0), B = q_t.size(1);
  const Argument<T> held_q("q_t", q_t, {T_, B, A}), held_selector("q_t_selector", q_t_selector, {T_, B, A});
  Tensor value = new_tensor<T>({T_, B});
  const T *q = held_q.get(), *selector = held_selector.get();
  T* out = data<T>(value);
  const T epsilon = static_cast<T>(rescale_epsilon.value_or(0));
  parallel_over(T_ * B, T_ * B * (2 * A + 16), [&](int64_t begin, int64_t end) {
    bootstrap(q + begin * A, selector ? selector + begin * A : nullptr, end - begin, A, out + begin);
    for (int64_t n = begin; rescale_epsilon && n < end; ++n) out[n] = restored(out[n], epsilon);
  });
  return value;
}

struct Sum {
  double losses;
  int64_t counted;
};

template <class T>
struct Losses {
  int64_t A, B;
  const T *q_tm1, *r_t, *discount_t, *q_t, *selector, *weights;
  const int64_t* a_tm1;
  bool weights_by_lane, rescale;
  T huber_delta, epsilon;
  T *td_error, *grad_q_a;

  // Of a block of rows: errors, and gradients of the sum of their losses.
  Sum run(int64_t first, int64_t count) const {
    // Whole vectors, and sums by fours: behind the last row stand rows that are masked.
    const int64_t padded = (count + 3) / 4 * 4;
    T td[kBlockRows], weight[kBlockRows], loss[kBlockRows];
    targets(first, count, td);
    weights_of(first, count, weight);
    for (int64_t i = count; i < padded; ++i) td[i] = weight[i] = 0;
    const T* const q = q_tm1 + first * A;
    for (int64_t i = 0; i < count; ++i) td[i] -= q[i * A + a_tm1[first + i]];
    for (int64_t i = 0; i < padded; i += Simd<T>::kWidth) {
      const Vec<T> error = load<T>(td + i), w = load<T>(weight + i), none{};
      const Vec<T> slope = clamp<T>(error, -huber_delta, huber_delta);
      store<T>(loss + i, w == none ? none : w * slope * (error - slope / 2));
      store_first<T>(grad_q_a + first + i, w == none ? none : -w * slope, count - i);
      store_first<T>(td_error + first + i, w == none ? none : error, count - i);
    }
    Sum sum{};
    for (int64_t i = 0; i < count; ++i) sum.counted += weight[i] != 0;
    double parts[4] = {};
    for (int64_t i = 0; i < count; i += 4)
      for (int64_t j = 0; j < 4; ++j) parts[j] += loss[i + j];
    sum.losses = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    return sum;
  }

 private:
  void targets(int64_t first, int64_t count, T* target) const {
    if (q_t) {
      bootstrap(q_t + first * A, selector ? selector + first * A : nullptr, count, A, target);
      for (int64_t i = 0; rescale && i < count; ++i) target[i] = restored(target[i], epsilon);
      for (int64_t i = 0; i < count; ++i) target[i] = r_t[first + i] + discount_t[first + i] * target[i];
    } else {
      std::copy_n(r_t + first, count, target);
    }
    for (int64_t i = 0; rescale && i < count; ++i) target[i] = rescaled(target[i], epsilon);
  }

  void weights_of(int64_t first, int64_t count, T* weight) const {
    if (!weights) return std::fill_n(weight, count, T(1)), void();
    if (!weights_by_lane) return std::copy_n(weights + first, count, weight), void();
    for (int64_t i = 0, lane = first % B, run; i < count; i += run, lane = 0) {
      run = std::min(B - lane, count - i);
      std::copy_n(weights + lane, run, weight + i);
    }
  }
};

template <class T>
std::tuple<Tensor, Tensor, Tensor> forward(const Tensor& q_tm1, const Tensor& a_tm1, const Tensor& r_t,
                                           const OptionalTensor& discount_t, const OptionalTensor& q_t,
                                           const OptionalTensor& q_t_selector, const OptionalTensor& weights,
                                           std::optional<double> huber_delta, std::optional<double> rescale_epsilon) {
  const int64_t A = actions_of("q_tm1", q_tm1), T_ = q_tm1.size(0), B = q_tm1.size(1), N = T_ * B;
  STD_TORCH_CHECK(discount_t.has_value() == q_t.has_value(), "discount_t: want it with q_t");
  const bool weights_by_lane = weights && weights->dim() == 1;
  const Argument<T> q("q_tm1", q_tm1, {T_, B, A}), r("r_t", r_t, {T_, B}), discount("discount_t", discount_t, {T_, B});
  const Argument<T> next("q_t", q_t, {T_, B, A}), selector("q_t_selector", q_t_selector, {T_, B, A});
  const Argument<T> weight =
      weights_by_lane ? Argument<T>("weights", weights, {B}) : Argument<T>("weights", weights, {T_, B});
  const Argument<int64_t> a("a_tm1", a_tm1, {T_, B});
  check_range("a_tm1", a.get(), N, 0, A - 1);

  Tensor loss = new_tensor<T>({}), td_error = new_tensor<T>({T_, B}), grad_q_a = new_tensor<T>({T_, B});
  Losses<T> p{A, B, q.get(), r.get(), discount.get(), next.get(), selector.get(), weight.get(), a.get()};
  p.weights_by_lane = weights_by_lane, p.rescale = rescale_epsilon.has_value();
  p.huber_delta = static_cast<T>(huber_delta.value_or(std::numeric_limits<double>::infinity()));
  p.epsilon = static_cast<T>(rescale_epsilon.value_or(0));
  p.td_error = data<T>(td_error), p.grad_q_a = data<T>(grad_q_a);
  const int64_t blocks = (N + kBlockRows - 1) / kBlockRows;
  std::vector<Sum> sums(static_cast<size_t>(blocks));
  parallel_over(blocks, N * (2 * A + 32), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) sums[i] = p.run(i * kBlockRows, std::min(N - i * kBlockRows, kBlockRows));
  });
  Sum all{};
  for (const Sum& sum : sums) all.losses += sum.losses, all.counted += sum.counted;
  *data<T>(loss) = static_cast<T>(all.losses / static_cast<double>(all.counted));
  const T share = all.counted > 0 ? 1 / static_cast<T>(all.counted) : T(0);
  for (int64_t n = 0; n < N; ++n) p.grad_q_a[n] *= share;
  return {loss, td_error, grad_q_a};
}

// grad_q[t, b, a_tm1[t, b]] = scale grad_q_a[t, b], and zeros elsewhere.
template <class T>
Tensor backward(const Tensor& grad_q_a, const Tensor& a_tm1, const OptionalTensor& scale, int64_t A) {
  STD_TORCH_CHECK(grad_q_a.dim() == 2, "grad_q_a: got ", grad_q_a.dim(), " dimensions, want 2");
  const int64_t T_ = grad_q_a.size(0), B = grad_q_a.size(1);
  STD_TORCH_CHECK(A >= 0, "A: got ", A);
  const Argument<T> held_rows("grad_q_a", grad_q_a, {T_, B}), factor("scale", scale, {});
  const Argument<int64_t> held_a("a_tm1", a_tm1, {T_, B});
  const int64_t* a = held_a.get();
  const T* rows = held_rows.get();
  check_range("a_tm1", a, T_ * B, 0, A - 1);
  Tensor grad_q = new_tensor<T>({T_, B, A});
  T* out = data<T>(grad_q);
  const T by = factor.get() ? *factor.get() : T(1);
  parallel_over(T_ * B, T_ * B * (A + 8), [&](int64_t begin, int64_t end) {
    constexpr int64_t kRows = 64;  // few enough to be in L1 still
    for (int64_t first = begin, last; first < end; first = last) {
      last = std::min(first + kRows, end);
      std::fill(out + first * A, out + last * A, T(0));
      for (int64_t n = first; n < last; ++n) out[n * A + a[n]] = by * rows[n];
    }
  });
  return grad_q;
}

std::tuple<Tensor, Tensor, Tensor> forward_of_any_dtype(const Tensor& q_tm1, const Tensor& a_tm1, const Tensor& r_t,
                                                        const OptionalTensor& discount_t, const OptionalTensor& q_t,
                                                        const OptionalTensor& q_t_selector,
                                                        const OptionalTensor& weights,
                                                        std::optional<double> huber_delta,
                                                        std::optional<double> rescale_epsilon) {
  return with_dtype("q_tm1", q_tm1, [&](auto zero) {
    return forward<decltype(zero)>(q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector, weights, huber_delta,
                                   rescale_epsilon);
  });
}

Tensor backward_of_any_dtype(const Tensor& grad_q_a, const Tensor& a_tm1, const OptionalTensor& scale, int64_t A) {
  return with_dtype("grad_q_a", grad_q_a,
                    [&](auto zero) { return backward<decltype(zero)>(grad_q_a, a_tm1, scale, A); });
}

Tensor bootstrap_value_of_any_dtype(const Tensor& q_t, const OptionalTensor& q_t_selector,
                                    std::optional<double> rescale_epsilon) {
  return with_dtype("q_t", q_t,
                    [&](auto zero) { return bootstrap_value<decltype(zero)>(q_t, q_t_selector, rescale_epsilon); });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "td_loss_forward(Tensor q_tm1, Tensor a_tm1, Tensor r_t, Tensor? discount_t, Tensor? q_t, Tensor? q_t_selector, "
      "Tensor? weights, float? huber_delta, float? rescale_epsilon) -> (Tensor, Tensor, Tensor)");
  m.def("td_loss_backward(Tensor grad_q_a, Tensor a_tm1, Tensor? scale, int A) -> Tensor");
  m.def("bootstrap_value(Tensor q_t, Tensor? q_t_selector, float? rescale_epsilon) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) {
  m.impl("td_loss_forward", TORCH_BOX(&pyagent::forward_of_any_dtype));
  m.impl("td_loss_backward", TORCH_BOX(&pyagent::backward_of_any_dtype));
  m.impl("bootstrap_value", TORCH_BOX(&pyagent::bootstrap_value_of_any_dtype));
}

// torch ops of the loss of proximal policy optimisation (pyagent/ops/ppo_loss.py has the maths and the shapes).
//
// The forward keeps the probabilities and four numbers a row, from which the backward makes the gradients by any of
// the loss's parts without another exponential. Sums are those of blocks of rows, added in order.
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

constexpr int64_t kBlockRows = 64;

struct Sums {
  double policy, value, entropy, kl, clipped;
  int64_t rows;
};

template <class T>
struct Rows {
  int64_t A;
  const T *logits, *value, *old_log_prob, *advantage, *target;
  const int64_t* action;
  const bool *mask, *valid;
  T clip_range;
  T *probability, *largest, *log_sum, *entropy, *slope;  // the sum is that of exp(logits - largest)

  bool counts(int64_t n) const { return !valid || valid[n]; }

  // Of a block of rows, with room for A values and a vector more in `z`. Loops are split so that what is decided by
  // numbers that cannot be guessed is no branch.
  Sums forward(int64_t first, int64_t count, T* z) const {
    T log_ratio[kBlockRows], ratio[kBlockRows], bounded[kBlockRows], clipped[kBlockRows];
    for (int64_t i = 0, n = first; i < count; ++i, ++n) log_ratio[i] = counts(n) ? softmax(n, z) : skip(n);
    for (int64_t i = 0, n = first; i < count; ++i, ++n) {
      const T log_total = std::log(log_ratio[i]);
      log_sum[n] = log_total, entropy[n] += log_total;
      log_ratio[i] = counts(n) ? logits[n * A + action[n]] - largest[n] - log_total - old_log_prob[n] : T(0);
      ratio[i] = std::exp(log_ratio[i]);
    }
    const T low = 1 - clip_range, high = 1 + clip_range;
    for (int64_t i = 0, n = first; i < count; ++i, ++n) {
      clipped[i] = ratio[i] > high ? high : ratio[i] < low ? low : ratio[i];
      bounded[i] = clipped[i] * advantage[n];
      const T plain = ratio[i] * advantage[n];
      slope[n] = plain > bounded[i] ? T(0) : plain;
      bounded[i] = plain > bounded[i] ? bounded[i] : plain;
    }
    Sums sums{};
    for (int64_t i = 0, n = first; i < count; ++i, ++n) {
      if (!counts(n)) continue;
      const T error = value[n] - target[n];
      sums.policy -= bounded[i];
      sums.value += error * error;
      sums.entropy += entropy[n];
      sums.kl += ratio[i] - 1 - log_ratio[i];
      sums.clipped += ratio[i] != clipped[i];
      ++sums.rows;
    }
    return sums;
  }

 private:
  // A row that has no part: zeros, and 1 as the sum of exponentials.
  T skip(int64_t n) const {
    std::fill_n(probability + n * A, A, T(0));
    largest[n] = entropy[n] = 0;
    return 1;
  }

  // The row's probabilities; the sum of its exponentials, whose logarithm the entropy still lacks.
  T softmax(int64_t n, T* z) const {
    constexpr int64_t W = Simd<T>::kWidth;
    constexpr T kInfinity = std::numeric_limits<T>::infinity();
    const T* row = logits + n * A;
    if (mask) {
      const bool* allowed = mask + n * A;
      for (int64_t i = 0; i < A; ++i) z[i] = allowed[i] ? row[i] : -kInfinity;
    } else {
      std::copy_n(row, A, z);
    }
    std::fill_n(z + A, W, -kInfinity);
    const T most = largest_of(z, A);
    Vec<T> sum{}, moment{};
    for (int64_t i = 0; i < A; i += W) {
      const Vec<T> below = load<T>(z + i) - most, e = exp_nonpositive<T>(below);
      sum += e;
      moment += e > Vec<T>{} ? e * below : Vec<T>{};  // not 0 times infinity
      store<T>(z + i, e);
    }
    const T total = sum_lanes<T>(sum), share = 1 / total;
    for (int64_t i = 0; i < A; ++i) probability[n * A + i] = z[i] * share;
    largest[n] = most;
    entropy[n] = -sum_lanes<T>(moment) * share;
    return total;
  }
};

template <class T>
T read(const OptionalTensor& scalar, const char* name) {
  const Argument<T> held(name, scalar, {});
  return held.get() ? *held.get() : T(0);
}

using Forward = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <class T>
Forward forward(const Tensor& logits, const Tensor& value, const Tensor& action, const Tensor& old_log_prob,
                const Tensor& advantage, const Tensor& target, const OptionalTensor& mask, const OptionalTensor& valid,
                double clip_range, double ent_coef, double vf_coef) {
  STD_TORCH_CHECK(logits.dim() == 2, "logits: got ", logits.dim(), " dimensions, want 2");
  const int64_t N = logits.size(0), A = logits.size(1);
  const Argument<T> z("logits", logits, {N, A}), v("value", value, {N}), old("old_log_prob", old_log_prob, {N});
  const Argument<T> gain("advantage", advantage, {N}), wanted("target", target, {N});
  const Argument<int64_t> a("action", action, {N});
  const Argument<bool> allowed("mask", mask, {N, A}), counted("valid", valid, {N});
  Tensor probability = new_tensor<T>({N, A}), largest = new_tensor<T>({N}), log_sum = new_tensor<T>({N});
  Tensor entropy = new_tensor<T>({N}), slope = new_tensor<T>({N});
  Rows<T> p{A, z.get(), v.get(), old.get(), gain.get(), wanted.get(), a.get(), allowed.get(), counted.get()};
  p.clip_range = static_cast<T>(clip_range);
  p.probability = data<T>(probability), p.largest = data<T>(largest), p.log_sum = data<T>(log_sum),
  p.entropy = data<T>(entropy);
  p.slope = data<T>(slope);
  for (int64_t n = 0; n < N; ++n) {
    if (!p.counts(n)) continue;
    check_range("action", p.action + n, 1, 0, A - 1);
    STD_TORCH_CHECK(!p.mask || p.mask[n * A + p.action[n]], "action: that of row ", n, " is masked");
  }

  const int64_t blocks = (N + kBlockRows - 1) / kBlockRows;
  std::vector<Sums> sums(static_cast<size_t>(blocks));
  parallel_over(blocks, N * (32 * A + 128), [&](int64_t begin, int64_t end) {
    const auto row = scratch<T>(A + Simd<T>::kWidth);
    for (int64_t i = begin; i < end; ++i)
      sums[i] = p.forward(i * kBlockRows, std::min(N - i * kBlockRows, kBlockRows), row.get());
  });
  Sums all{};
  for (const Sums& one : sums) {
    all.policy += one.policy, all.value += one.value, all.entropy += one.entropy;
    all.kl += one.kl, all.clipped += one.clipped, all.rows += one.rows;
  }
  const auto mean = [&](double sum) {
    Tensor scalar = new_tensor<T>({});
    *data<T>(scalar) = static_cast<T>(sum / static_cast<double>(all.rows));
    return scalar;
  };
  return {mean(all.policy + vf_coef * all.value - ent_coef * all.entropy),
          mean(all.policy),
          mean(all.value),
          mean(all.entropy),
          mean(all.kl),
          mean(all.clipped),
          probability,
          largest,
          log_sum,
          entropy,
          slope};
}

// What the gradients of the four parts are times, by logits and by values.
template <class T>
std::tuple<Tensor, Tensor> backward(const OptionalTensor& grad_loss, const OptionalTensor& grad_policy,
                                    const OptionalTensor& grad_value_loss, const OptionalTensor& grad_entropy,
                                    const Tensor& logits, const Tensor& value, const Tensor& action,
                                    const Tensor& target, const OptionalTensor& valid, const Tensor& probability,
                                    const Tensor& largest, const Tensor& log_sum, const Tensor& entropy,
                                    const Tensor& slope, double ent_coef, double vf_coef) {
  STD_TORCH_CHECK(logits.dim() == 2, "logits: got ", logits.dim(), " dimensions, want 2");
  const int64_t N = logits.size(0), A = logits.size(1);
  const Argument<T> held_z("logits", logits, {N, A}), held_p("probability", probability, {N, A});
  const Argument<T> held_v("value", value, {N}), held_target("target", target, {N});
  const Argument<T> held_largest("largest", largest, {N}), held_sum("log_sum", log_sum, {N}),
      held_entropy("entropy", entropy, {N});
  const Argument<T> held_slope("slope", slope, {N});
  const Argument<int64_t> held_action("action", action, {N});
  const Argument<bool> held_valid("valid", valid, {N});
  const T *z = held_z.get(), *p = held_p.get(), *v = held_v.get(), *wanted = held_target.get();
  const T *most = held_largest.get(), *sum = held_sum.get(), *H = held_entropy.get(), *c = held_slope.get();
  const int64_t* a = held_action.get();
  const bool* counted = held_valid.get();
  const int64_t rows = counted ? std::count(counted, counted + N, true) : N;
  const T share = rows > 0 ? 1 / static_cast<T>(rows) : T(0), all = read<T>(grad_loss, "grad_loss");
  const T by_policy = (all + read<T>(grad_policy, "grad_policy")) * share;
  const T by_entropy = (read<T>(grad_entropy, "grad_entropy") - static_cast<T>(ent_coef) * all) * share;
  const T by_value = (static_cast<T>(vf_coef) * all + read<T>(grad_value_loss, "grad_value_loss")) * share;
  for (int64_t n = 0; n < N; ++n)
    if (!counted || counted[n]) check_range("action", a + n, 1, 0, A - 1);
  Tensor grad_logits = new_tensor<T>({N, A}), grad_value = new_tensor<T>({N});
  T *g = data<T>(grad_logits), *g_v = data<T>(grad_value);
  parallel_over(N, N * (8 * A + 16), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      if (counted && !counted[n]) {
        std::fill_n(g + n * A, A, T(0));
        g_v[n] = 0;
        continue;
      }
      const T to_all = by_policy * c[n] - by_entropy * (H[n] - sum[n]);
      for (int64_t i = n * A; i < (n + 1) * A; ++i)
        g[i] = p[i] == 0 ? T(0) : p[i] * (to_all - by_entropy * (z[i] - most[n]));
      g[n * A + a[n]] -= by_policy * c[n];
      g_v[n] = by_value * 2 * (v[n] - wanted[n]);
    }
  });
  return {grad_logits, grad_value};
}

Forward forward_of_any_dtype(const Tensor& logits, const Tensor& value, const Tensor& action,
                             const Tensor& old_log_prob, const Tensor& advantage, const Tensor& target,
                             const OptionalTensor& mask, const OptionalTensor& valid, double clip_range,
                             double ent_coef, double vf_coef) {
  return with_dtype("logits", logits, [&](auto zero) {
    return forward<decltype(zero)>(logits, value, action, old_log_prob, advantage, target, mask, valid, clip_range,
                                   ent_coef, vf_coef);
  });
}

std::tuple<Tensor, Tensor> backward_of_any_dtype(const OptionalTensor& grad_loss, const OptionalTensor& grad_policy,
                                                 const OptionalTensor& grad_value_loss,
                                                 const OptionalTensor& grad_entropy, const Tensor& logits,
                                                 const Tensor& value, const Tensor& action, const Tensor& target,
                                                 const OptionalTensor& valid, const Tensor& probability,
                                                 const Tensor& largest, const Tensor& log_sum, const Tensor& entropy,
                                                 const Tensor& slope, double ent_coef, double vf_coef) {
  return with_dtype("logits", logits, [&](auto zero) {
    return backward<decltype(zero)>(grad_loss, grad_policy, grad_value_loss, grad_entropy, logits, value, action,
                                    target, valid, probability, largest, log_sum, entropy, slope, ent_coef, vf_coef);
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "ppo_loss_forward(Tensor logits, Tensor value, Tensor action, Tensor old_log_prob, Tensor advantage, "
      "Tensor target, Tensor? mask, Tensor? valid, float clip_range, float ent_coef, float vf_coef) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "ppo_loss_backward(Tensor? grad_loss, Tensor? grad_policy, Tensor? grad_value_loss, Tensor? grad_entropy, "
      "Tensor logits, Tensor value, Tensor action, Tensor target, Tensor? valid, Tensor probability, Tensor largest, "
      "Tensor log_sum, "
      "Tensor entropy, Tensor slope, float ent_coef, float vf_coef) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) {
  m.impl("ppo_loss_forward", TORCH_BOX(&pyagent::forward_of_any_dtype));
  m.impl("ppo_loss_backward", TORCH_BOX(&pyagent::backward_of_any_dtype));
}

// ε-greedy actions (pyagent/ops/epsilon_greedy.py has the rule and the shapes). Rows are independent.
#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "parallel.h"
#include "rows.h"
#include "tensors.h"

namespace pyagent {
namespace {

constexpr int64_t kNone = -1;

// The allowed action of the largest value, the first of equals.
template <class T>
int64_t greedy(const T* q, const bool* mask, int64_t A) {
  if (!mask) {
    const T most = A > 0 ? largest_of(q, A) : std::numeric_limits<T>::quiet_NaN();
    return most != most ? kNone : first_of(q, A, most);
  }
  int64_t at = kNone;
  for (int64_t i = 0; i < A; ++i) {
    if (!mask[i]) continue;
    if (q[i] != q[i]) return kNone;
    if (at == kNone || q[i] > q[at]) at = i;
  }
  return at;
}

// The allowed action of a number in [0, 1), all equally likely; there is one.
int64_t any(double uniform, const bool* mask, int64_t A) {
  const int64_t count = mask ? std::count(mask, mask + A, true) : A;
  int64_t left = std::min(static_cast<int64_t>(uniform * static_cast<double>(count)), count - 1);
  for (int64_t i = 0; mask; ++i)
    if (mask[i] && left-- == 0) return i;
  return left;
}

template <class T>
Tensor choose(const Tensor& q, double epsilon, const OptionalTensor& epsilon_of_row, const Tensor& uniform,
              const OptionalTensor& mask) {
  STD_TORCH_CHECK(q.dim() == 2, "q: got ", q.dim(), " dimensions, want 2");
  const int64_t N = q.size(0), A = q.size(1);
  const Argument<T> held_q("q", q, {N, A});
  const Argument<double> held_epsilon("epsilon", epsilon_of_row, {N}), held_uniform("uniform", uniform, {N, 2});
  const Argument<bool> held_mask("mask", mask, {N, A});
  const double *u = held_uniform.get(), *epsilons = held_epsilon.get();
  const T* values = held_q.get();
  const bool* allowed = held_mask.get();
  for (int64_t i = 0; i < 2 * N; ++i) STD_TORCH_CHECK(u[i] >= 0 && u[i] < 1, "uniform: got ", u[i], ", want [0, 1)");
  Tensor action = new_tensor<int64_t>({N});
  int64_t* out = data<int64_t>(action);
  parallel_over(N, N * (8 * A + 32), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const bool* row_mask = allowed ? allowed + n * A : nullptr;
      out[n] = greedy(values + n * A, row_mask, A);
      if (out[n] != kNone && u[2 * n] < (epsilons ? epsilons[n] : epsilon)) out[n] = any(u[2 * n + 1], row_mask, A);
    }
  });
  for (int64_t n = 0; n < N; ++n) STD_TORCH_CHECK(out[n] != kNone, "q: row ", n, " has NaN or no allowed action");
  return action;
}

Tensor epsilon_greedy(const Tensor& q, double epsilon, const OptionalTensor& epsilon_of_row, const Tensor& uniform,
                      const OptionalTensor& mask) {
  return with_dtype("q", q,
                    [&](auto zero) { return choose<decltype(zero)>(q, epsilon, epsilon_of_row, uniform, mask); });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def("epsilon_greedy(Tensor q, float epsilon, Tensor? epsilon_of_row, Tensor uniform, Tensor? mask) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("epsilon_greedy", TORCH_BOX(&pyagent::epsilon_greedy)); }

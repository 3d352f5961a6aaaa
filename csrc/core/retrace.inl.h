// Retrace's targets: G_t = r_t + discount_t (E_t + c_t (G_{t+1} - q_t[a_t])), with E_t = sum_a pi_t[a] q_t[a] and
// c_t = lambda min(1, pi_t[a_t] / mu_t). What a row needs of its actions is made just before the scan goes through it.
#pragma once

#include "core/linear_scan.inl.h"

namespace pyagent {
namespace {

// sum_a pi[a] q[a]: few actions in their order, since lanes hide each other's latency; many in vectors.
template <class T>
PYAGENT_INLINE T expectation(const T* q, const T* pi, int64_t A) {
  constexpr int64_t W = Simd<T>::kWidth;
  T sum = 0;
  int64_t a = 0;
  if (A >= 4 * W) {
    Vec<T> sums{};
    for (; a + W <= A; a += W) sums += load(q + a) * load(pi + a);
    sum = sum_lanes<T>(sums);
  }
  for (; a < A; ++a) sum += q[a] * pi[a];
  return sum;
}

template <class T>
struct Retrace : Formula<RetraceArgs<T>, T> {
  alignas(64) T expected[kBlockLanes<T>], q_a[kBlockLanes<T>], pi_a[kBlockLanes<T>], mu[kBlockLanes<T>];

  void begin_row(int64_t t, int64_t first, int64_t count) {
    const auto& p = this->p;
    const int64_t row = p.B * p.A;
    for (int64_t b = 0; b < count; ++b) {
      const int64_t lane = t * p.B + first + b;
      const T *q = p.q_t + lane * p.A, *pi = p.pi_t + lane * p.A;
      fetch_before(q, row), fetch_before(pi, row);  // of the next step of the scan
      expected[b] = expectation(q, pi, p.A);
      // Nothing follows the last step, nor a truncated one: its action takes no part.
      const bool ends = t == p.T_ - 1 || (p.truncated && p.truncated[lane]);
      const int64_t a = p.a_t[lane];
      q_a[b] = ends ? T(0) : q[a];
      pi_a[b] = ends ? T(0) : pi[a];
      mu[b] = ends ? T(1) : p.mu_t[lane];
    }
  }

  template <class L>
  PYAGENT_INLINE auto final_value(const L& at) const {
    return at.of_block(expected);
  }

  template <class L, class V>
  PYAGENT_INLINE V operator()(const L& at, V r, V discount, V next) const {
    const V trace = this->p.lambda * at_most(at.of_block(pi_a) / at.of_block(mu), T(1));
    const V g = r + discount * (at.of_block(expected) + trace * (next - at.of_block(q_a)));
    at.put(this->p.out, g);
    return g;
  }
};

}  // namespace
}  // namespace pyagent

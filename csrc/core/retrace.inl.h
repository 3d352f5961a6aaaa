// Retrace's targets: G_t = r_t + discount_t (E_t + c_t (G_{t+1} - q_t[a_t])), with E_t = sum_a pi_t[a] q_t[a] and
// c_t = lambda min(1, pi_t[a_t] / mu_t).
//
// What a row needs of its actions is made just before the scan goes through it. Actions lie side by side, so a vector
// multiplies those of one lane, and the sums of as many lanes as it has places are then made together.
#pragma once

#include "core/linear_scan.inl.h"

namespace pyagent {
namespace {

template <class T>
struct Retrace : Formula<RetraceArgs<T>, T> {
  alignas(64) T expected[kBlockLanes<T>], q_a[kBlockLanes<T>], pi_a[kBlockLanes<T>];

  void begin_row(int64_t t, int64_t first, int64_t count) {
    const auto& p = this->p;
    const int64_t row = t * p.B + first;
    constexpr int64_t W = Simd<T>::kWidth;
    // A vector may reach into the next lane's actions, but not past the last lane's.
    const int64_t lanes = p.T_ * p.B, reach = p.A > 0 ? (W - 1) / p.A + 1 : 0;
    for (int64_t b = 0; b < count; b += W) {
      const bool whole = b + W <= count && row + b + W + reach <= lanes;
      const Vec<T> sums = whole ? expectations<true>(row + b, W) : expectations<false>(row + b, count - b);
      store_first<T>(expected + b, sums, count - b);
    }
    // Nothing follows the last step, nor a truncated one: its action takes no part.
    const bool last = t == p.T_ - 1;
    for (int64_t b = 0; b < count; ++b) {
      const int64_t at = (row + b) * p.A + p.a_t[row + b];
      q_a[b] = p.q_t[at], pi_a[b] = p.pi_t[at];
    }
    for (int64_t b = 0; (last || p.truncated) && b < count; ++b)
      if (last || p.truncated[row + b]) q_a[b] = pi_a[b] = 0;
  }

  template <class L>
  PYAGENT_INLINE auto final_value(const L& at) const {
    return at.of_block(expected);
  }

  template <class L, class V>
  PYAGENT_INLINE V operator()(const L& at, V r, V discount, V next) const {
    const V pi = at.of_block(pi_a), ratio = pi / at(this->p.mu_t);
    const V trace = pi == V{} ? V{} : this->p.lambda * at_most(ratio, T(1));
    const V g = r + discount * (at.of_block(expected) + trace * (next - at.of_block(q_a)));
    at.put(this->p.out, g);
    return g;
  }

 private:
  // E of `count` lanes, at most a vector's.
  template <bool kWhole>
  PYAGENT_INLINE Vec<T> expectations(int64_t lane, int64_t count) const {
    constexpr int W = Simd<T>::kWidth;
    const int64_t A = this->p.A, row = this->p.B * A, rest = A % W;
    typename Simd<T>::Int place;
    for (int i = 0; i < W; ++i) place[i] = i;
    const auto within = place < static_cast<decltype(+place[0])>(rest);
    const T *q = this->p.q_t + lane * A, *pi = this->p.pi_t + lane * A;
    Vec<T> sums[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i, q += A, pi += A) {
      sums[i] = Vec<T>{};
      if (!kWhole && i >= count) continue;
      fetch_before(q, row), fetch_before(pi, row);  // for the next row; from L2 too
      int64_t a = 0;
      for (; a + W <= A; a += W) sums[i] += load(q + a) * load(pi + a);
      const Vec<T> product =
          kWhole ? load(q + a) * load(pi + a) : load_first<T>(q + a, rest) * load_first<T>(pi + a, rest);
      sums[i] += within ? product : Vec<T>{};
    }
    sum_each<T>(sums);
    return sums[0];
  }
};

}  // namespace
}  // namespace pyagent

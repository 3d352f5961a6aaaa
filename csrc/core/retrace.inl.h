// Retrace's targets: G_t = r_t + discount_t (E_t + c_t (G_{t+1} - q_t[a_t])), with E_t = sum_a pi_t[a] q_t[a] and
// c_t = lambda min(1, pi_t[a_t] / mu_t).
//
// What a row needs of its actions is read just before the scan goes through it, for as many lanes at a time as a vector
// has places. Actions lie side by side: where a lane has few of them a vector is loaded with those of several lanes,
// permutations bring them together and choose a_t's; else a vector multiplies those of one lane.
#pragma once

#include "core/linear_scan.inl.h"

namespace pyagent {
namespace {

template <class T>
struct Retrace : Formula<RetraceArgs<T>, T> {
  // Wide blocks: q_t and pi_t are most of what is read, and longer runs of them leave less to wait for.
  static constexpr int64_t kLanes = 16384 / sizeof(T);
  alignas(64) T expected[kLanes], q_a[kLanes], pi_a[kLanes];

  explicit Retrace(const RetraceArgs<T>& args) : Formula<RetraceArgs<T>, T>{args} {}  // leaves the arrays as they are

  void begin_row(int64_t t, int64_t first, int64_t count) {
    const auto& p = this->p;
    const int64_t row = t * p.B + first;
    read_row<kLongest>(row, count);
    // Nothing follows the last step, nor a truncated one: its action takes no part.
    const bool last = t == p.T_ - 1;
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
  using Int = typename Simd<T>::Int;
  using Number = decltype(Int{}[0] + 0);
  static constexpr int W = Simd<T>::kWidth;
  // Where a permutation is no instruction, every lane is read as one of many actions.
  static constexpr int kLongest = 2 * W, kShortest = PYAGENT_VECTOR_BYTES > 16 ? 2 : kLongest;

  // kMost: a power of two that the actions of a lane do not exceed, the least one; or kLongest, and any number.
  template <int kMost>
  void read_row(int64_t row, int64_t count) {
    const int64_t A = this->p.A, end = this->p.T_ * this->p.B * A;
    if constexpr (kMost > kShortest)
      if (A <= kMost / 2) return read_row<kMost / 2>(row, count);
    int64_t b = 0;
    // A vector may reach into the next lane's actions, but not past the last lane's.
    for (; b + W <= count && (row + b + W) * A + W <= end; b += W) read_lanes<kMost>(row + b, b, All{});
    for (; b < count; b += W) read_some_lanes<kMost>(row + b, b, count - b);
  }

  // Not inlined, so that what it takes is no burden to the loop beside it.
  template <int kMost>
  __attribute__((noinline)) void read_some_lanes(int64_t lane, int64_t b, int64_t count) {
    read_lanes<kMost>(lane, b, count);
  }

  template <int kMost, class Count>
  PYAGENT_INLINE void read_lanes(int64_t lane, int64_t b, Count count) {
    const auto& p = this->p;
    const T *q = p.q_t + lane * p.A, *pi = p.pi_t + lane * p.A;
    if constexpr (kMost < kLongest)
      read_short<kMost>(q, pi, p.a_t + lane, b, count);
    else
      read_long(q, pi, p.a_t + lane, b, count);
  }

  template <int kMost, class Count>
  PYAGENT_INLINE void read_short(const T* q, const T* pi, const int64_t* a, int64_t b, Count count) {
    constexpr int kGroup = W / kMost, kHalf = kMost / 2;  // lanes of a vector; actions added to the others
    const int64_t A = this->p.A;
    const Int i = lane_numbers<T>(), low = in_pair<kGroup>(i / kHalf) + i % kHalf;
    const auto within = i % kHalf + kHalf < static_cast<Number>(A);
    Vec<T> qs[kMost], pis[kMost], products[kMost], sums[kHalf];
#pragma GCC unroll 16
    for (int v = 0; v < kMost; ++v, q += kGroup * A, pi += kGroup * A) {
      qs[v] = load_first<T>(q, (count - v * kGroup) * A), pis[v] = load_first<T>(pi, (count - v * kGroup) * A);
      products[v] = qs[v] * pis[v];
    }
#pragma GCC unroll 8
    for (int v = 0; v < kHalf; ++v) {
      const Vec<T>&x = products[2 * v], &y = products[2 * v + 1];
      sums[v] = permute<T>(x, y, low) + (within ? permute<T>(x, y, low + kHalf) : Vec<T>{});
    }
    sum_neighbours<T, kHalf>(sums);
    store_first<T>(expected + b, sums[0], count);
    alignas(64) Number actions[W] = {};
    for (int64_t j = 0; j < W && count > j; ++j) actions[j] = static_cast<Number>(a[j]);
    Int chosen;
    __builtin_memcpy(&chosen, actions, sizeof(chosen));
    chosen += in_pair<kGroup>(i);
    store_first<T>(q_a + b, choose<kMost>(qs, chosen), count);
    store_first<T>(pi_a + b, choose<kMost>(pis, chosen), count);
  }

  // Where a lane's actions start in a pair of vectors.
  template <int kGroup>
  PYAGENT_INLINE Int in_pair(Int lane) const {
    return lane / kGroup % 2 * W + lane % kGroup * static_cast<Number>(this->p.A);
  }

  // Every lane's element of its pair of vectors.
  template <int kMost>
  static PYAGENT_INLINE Vec<T> choose(const Vec<T> (&x)[kMost], Int chosen) {
    const Int vector = lane_numbers<T>() / (W / kMost);
    Vec<T> found = permute<T>(x[0], x[1], chosen);
#pragma GCC unroll 8
    for (int v = 2; v < kMost; v += 2) found = vector < v ? found : permute<T>(x[v], x[v + 1], chosen);
    return found;
  }

  template <class Count>
  PYAGENT_INLINE void read_long(const T* q, const T* pi, const int64_t* a, int64_t b, Count count) {
    const int64_t A = this->p.A;
    const auto within = lane_numbers<T>() < static_cast<Number>(A % W);
    for (int64_t i = 0; i < W && count > i; ++i) q_a[b + i] = q[i * A + a[i]], pi_a[b + i] = pi[i * A + a[i]];
    Vec<T> sums[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i, q += A, pi += A) {
      sums[i] = Vec<T>{};
      int64_t j = 0;
      for (; j + W <= A && count > i; j += W) sums[i] += load(q + j) * load(pi + j);
      const auto left = (count - i) * A - j;
      const Vec<T> product = load_first<T>(q + j, left) * load_first<T>(pi + j, left);
      sums[i] += within ? product : Vec<T>{};
    }
    sum_each<T>(sums);
    store_first<T>(expected + b, sums[0], count);
  }
};

}  // namespace
}  // namespace pyagent

// The one inner loop of the library: M rows times a packed panel of N vectors, accumulators in registers.
//
// A panel holds, for k = 0..K-1, N vectors side by side: [K][N][width]. Columns beyond the matrix are zeros.
#pragma once

#include "core/simd.h"

namespace pyagent {
namespace {

// Accumulators, the smaller operand of a step, and one vector of the other must fit the register file.
constexpr int panel_rows(int N) {
  int M = 1;
  while ((M + 1) * N + (M + 1 < N ? M + 1 : N) + 1 <= PYAGENT_VECTOR_REGISTERS) ++M;
  return M;
}

// Vectors in a panel whose columns are plain outputs (not gates): two FMAs need 8-10 independent sums in flight.
constexpr int kPlainVectors = PYAGENT_VECTOR_REGISTERS == 32 ? 4 : 2;

template <class T, int M, int N>
PYAGENT_INLINE void accumulate(Vec<T> (&sum)[M][N], const T* const (&a)[M], const T* panel, int64_t K) {
  constexpr int W = Simd<T>::kWidth;
  for (int64_t k = 0; k < K; ++k, panel += N * W) {
    if constexpr (M < N) {
      Vec<T> x[M];
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) x[m] = broadcast(a[m][k]);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        const Vec<T> w = load(panel + n * W);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) sum[m][n] = fma(x[m], w, sum[m][n]);
      }
    } else {
      Vec<T> w[N];
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) w[n] = load(panel + n * W);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        const Vec<T> x = broadcast(a[m][k]);
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) sum[m][n] = fma(x, w[n], sum[m][n]);
      }
    }
  }
}

template <int kValue>
struct Int {
  static constexpr int value = kValue;
};

// Calls f(Int<count>{}) for a count in 1..M.
template <int M, class F>
PYAGENT_INLINE void with_count(int64_t count, const F& f) {
  if (count == M) {
    f(Int<M>{});
  } else if constexpr (M > 1) {
    with_count<M - 1>(count, f);
  }
}

// Calls f(first, Int<size>{}) over groups of at most M rows, of sizes as equal as possible: no thin group at the end.
template <int M, class F>
PYAGENT_INLINE void for_row_groups(int64_t rows, const F& f) {
  int64_t groups = (rows + M - 1) / M;
  for (int64_t first = 0; groups > 0; --groups) {
    const int64_t size = (rows - first + groups - 1) / groups;
    with_count<M>(size, [&](auto count) { f(first, count); });
    first += size;
  }
}

// Calls f(All{}) where `units` of the n exist, else f(n): the usual case without a check a vector.
template <class F>
PYAGENT_INLINE void with_whole_blocks(int64_t n, int64_t units, const F& f) {
  if (n >= units)
    f(All{});
  else
    f(n);
}

PYAGENT_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace
}  // namespace pyagent

// Matrix products around the recurrence: projections, and the gradients of weights.
//
// Blocks of B are packed into panels, transposed blocks of A into rows; the inner loop is the recurrence's. Every
// element of C is one chain of fused multiply-adds in the order of k, so the result does not depend on how rows are
// split.
#pragma once

#include "core/dispatch.h"
#include "core/panel.inl.h"

namespace pyagent {
namespace {

// Panels of B: kDepth * kPlainVectors vectors = 16-64 KB, all columns of a block together about a second-level cache.
constexpr int64_t kDepth = 256;
constexpr int64_t kBlockRows = 64;
// Rows of a packed block of A lie this far apart: a power of two would put them all in the same few cache sets.
constexpr int64_t kRowStride = kDepth + 16;
template <class T>
constexpr int64_t kBlockColumns = 1024 / static_cast<int64_t>(sizeof(T));  // whole panels of any width
// Rows at a time: no more than keep the multipliers busy.
constexpr int plain_rows(int N) { return panel_rows(N) < 12 ? panel_rows(N) : 12; }

PYAGENT_INLINE int64_t at_most(int64_t n, int64_t limit) { return n < limit ? n : limit; }

template <class T>
PYAGENT_INLINE void copy(const T* from, int64_t count, T* to) {
  constexpr int64_t W = Simd<T>::kWidth;
  int64_t i = 0;
  for (; i + W <= count; i += W) store<T>(to + i, load(from + i));
  for (; i < count; ++i) to[i] = from[i];
}

template <class T>
PYAGENT_INLINE const T* row_of(const MatrixRows<T>& matrix, int64_t i) {
  return matrix.rows ? matrix.rows[i] : matrix.data + i * matrix.stride;
}

// Few rows of A against rows of B that are contiguous in k: dot products, where packing would cost more than it saves.
constexpr int64_t kFewRows = 4;

template <class T>
bool takes_dot_products(const MatmulArgs<T>& p) {
  return p.M <= kFewRows && p.b_transposed && !p.a_transposed;
}

template <class T>
int64_t matmul_scratch(const MatmulArgs<T>& p) {
  if (takes_dot_products(p)) return 0;
  const int64_t elements = kBlockColumns<T> * kDepth + (p.a_transposed ? kBlockRows * kRowStride : 0);
  return elements * static_cast<int64_t>(sizeof(T));
}

// to[j * stride + i] = from[i][j], for at most a vector's width of rows.
template <class T>
PYAGENT_INLINE void copy_transposed(const T* const* from, int64_t rows, int64_t length, T* to, int64_t stride) {
  constexpr int W = Simd<T>::kWidth;
  int64_t j = 0;
  for (; rows == W && j + W <= length; j += W) {
    Vec<T> block[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i) block[i] = load(from[i] + j);
    transpose<T>(block);
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i) store<T>(to + (j + i) * stride, block[i]);
  }
  for (; j < length; ++j)
    for (int64_t i = 0; i < rows; ++i) to[j * stride + i] = from[i][j];
}

// panels[panel][k][column], a panel being N vectors wide, of B[k_begin.., n_begin..], `depth` by `columns`, padded with
// zeros to whole panels.
template <class T, int N>
void pack_columns(const MatmulArgs<T>& p, int64_t k_begin, int64_t depth, int64_t n_begin, int64_t columns, T* panels) {
  constexpr int64_t W = Simd<T>::kWidth, P = N * W;
  for (int64_t n = 0; n < columns; n += P, panels += P * depth) {
    const int64_t width = at_most(columns - n, P);
    if (width < P)
      for (int64_t i = 0; i < P * depth; ++i) panels[i] = T(0);
    if (p.b_transposed) {
      for (int64_t j = 0; j < width; j += W) {
        const T* from[W];
        const int64_t rows = at_most(width - j, W);
        for (int64_t i = 0; i < rows; ++i) from[i] = row_of(p.b, n_begin + n + j + i) + k_begin;
        copy_transposed(from, rows, depth, panels + j, P);
      }
    } else {
      for (int64_t k = 0; k < depth; ++k) copy(row_of(p.b, k_begin + k) + n_begin + n, width, panels + k * P);
    }
  }
}

// rows[m][k] of A[m_begin.., k_begin..], from A stored with k outside.
template <class T>
void pack_rows(const MatmulArgs<T>& p, int64_t m_begin, int64_t count, int64_t k_begin, int64_t depth, T* rows) {
  constexpr int64_t W = Simd<T>::kWidth;
  for (int64_t k = 0; k < depth; k += W) {
    const T* from[W];
    const int64_t width = at_most(depth - k, W);
    for (int64_t i = 0; i < width; ++i) from[i] = row_of(p.a, k_begin + k + i) + m_begin;
    copy_transposed(from, width, count, rows + k, kRowStride);
  }
}

// C[m_begin + 0..count, n_begin + 0..columns] += A times the packed panels; the first k starts from the bias.
// A's rows are those of `a` from a_begin on.
template <class T, int N>
void multiply_block(const MatmulArgs<T>& p, const MatrixRows<T>& a, int64_t a_begin, int64_t m_begin, int64_t count,
                    int64_t k_begin, int64_t depth, int64_t n_begin, int64_t columns, const T* panels) {
  constexpr int W = Simd<T>::kWidth;
  for (int64_t n = 0; n < columns; n += N * W, panels += N * W * depth) {
    for_row_groups<plain_rows(N)>(count, [&](int64_t first, auto size) {
      constexpr int M = decltype(size)::value;
      T* c[M];
      const T* rows[M];
      Vec<T> sum[M][N];
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        rows[m] = row_of(a, a_begin + first + m) + (p.a_transposed ? 0 : k_begin);
        c[m] = p.c + (m_begin + first + m) * p.c_stride + n_begin + n;
        const T* start = k_begin > 0 || p.accumulate ? c[m] : p.bias ? p.bias + n_begin + n : nullptr;
#pragma GCC unroll 16
        for (int i = 0; i < N; ++i)
          sum[m][i] = start && columns - n > i * W ? load_first(start + i * W, columns - n - i * W) : Vec<T>{};
      }
      accumulate<T, M, N>(sum, rows, panels, depth);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
        for (int i = 0; i < N; ++i)
          if (columns - n > i * W) store_first<T>(c[m] + i * W, sum[m][i], columns - n - i * W);
    });
  }
}

template <class T>
void dot_products(const MatmulArgs<T>& p, int64_t m_begin, int64_t m_end) {
  constexpr int W = Simd<T>::kWidth, kSums = 8;
  for (int64_t m = m_begin; m < m_end; ++m) {
    const T* a = row_of(p.a, m);
    for (int64_t n = 0; n < p.N; n += kSums) {
      const int64_t count = at_most(p.N - n, kSums);
      const T* b[kSums];
      Vec<T> sum[kSums];
#pragma GCC unroll 16
      for (int i = 0; i < kSums; ++i) {
        b[i] = row_of(p.b, n + at_most(i, count - 1));
        sum[i] = Vec<T>{};
      }
      int64_t k = 0;
      for (; k + W <= p.K; k += W) {
        const Vec<T> x = load(a + k);
#pragma GCC unroll 16
        for (int i = 0; i < kSums; ++i) sum[i] = fma(x, load(b[i] + k), sum[i]);
      }
      if (k < p.K) {
        const Vec<T> x = load_first(a + k, p.K - k);
#pragma GCC unroll 16
        for (int i = 0; i < kSums; ++i) sum[i] = fma(x, load_first(b[i] + k, p.K - k), sum[i]);
      }
      T total[kSums];
#pragma GCC unroll 16
      for (int i = 0; i < kSums; ++i) total[i] = sum_lanes<T>(sum[i]);
      T* c = p.c + m * p.c_stride + n;
      for (int64_t i = 0; i < count; ++i) c[i] = total[i] + (p.accumulate ? c[i] : p.bias ? p.bias[n + i] : T(0));
    }
  }
}

template <class T, int N>
void multiply_panels(const MatmulArgs<T>& p, int64_t m_begin, int64_t m_end, T* panels) {
  T* packed_rows = panels + kBlockColumns<T> * kDepth;
  for (int64_t n = 0; n < p.N; n += kBlockColumns<T>) {
    const int64_t columns = at_most(p.N - n, kBlockColumns<T>);
    for (int64_t k = 0; k < p.K; k += kDepth) {
      const int64_t depth = at_most(p.K - k, kDepth);
      pack_columns<T, N>(p, k, depth, n, columns, panels);
      for (int64_t m = m_begin; m < m_end; m += kBlockRows) {
        const int64_t count = at_most(m_end - m, kBlockRows);
        MatrixRows<T> a = p.a;
        if (p.a_transposed) {
          pack_rows(p, m, count, k, depth, packed_rows);
          a = {packed_rows, kRowStride, nullptr};
        }
        multiply_block<T, N>(p, a, p.a_transposed ? 0 : m, m, count, k, depth, n, columns, panels);
      }
    }
  }
}

template <class T>
void matmul(const MatmulArgs<T>& p, int64_t m_begin, int64_t m_end, void* scratch) {
  if (takes_dot_products(p)) return dot_products(p, m_begin, m_end);
  T* panels = static_cast<T*>(scratch);
  if (p.K == 0) {
    if (p.accumulate) return;
    for (int64_t m = m_begin; m < m_end; ++m)
      for (int64_t n = 0; n < p.N; ++n) p.c[m * p.c_stride + n] = p.bias ? p.bias[n] : T(0);
  } else if (p.N <= Simd<T>::kWidth) {
    multiply_panels<T, 1>(p, m_begin, m_end, panels);
  } else {
    multiply_panels<T, kPlainVectors>(p, m_begin, m_end, panels);
  }
}

template <class T>
void sum_rows(const RowSumArgs<T>& p, int64_t c_begin, int64_t c_end) {
  for (int64_t i = 0; i < p.count; ++i) {
    const T* from = p.data + i * p.stride;
    T* to = p.out + (p.index ? p.index[i] : 0) * p.out_stride;
    for (int64_t c = c_begin; c < c_end; ++c) to[c] += from[c];
  }
}

}  // namespace
}  // namespace pyagent

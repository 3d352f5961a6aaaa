// One step of one layer, without gradient: the products with W_ih and W_hh, gates, and the new state.
//
// Units are taken a block at a time, with every gate of the block in registers when its sums are done. The weights are
// read as they are, or packed in the order in which the inner loop reads them, biases included, so that a lane alone
// (whose step is bound by reading the weights) reads one stream. Each element is summed in one order, whatever its
// neighbours, the lanes, and the thread that does it.
#pragma once

#include "core/dispatch.h"
#include "core/panel.inl.h"

namespace pyagent {
namespace {

// Vectors a block: every gate of as many units as a vector holds, or more units where a cell has one gate.
constexpr int step_vectors(int64_t cell) {
  return gates_of(cell) == 1 ? kPlainVectors : static_cast<int>(gates_of(cell));
}
template <class T>
constexpr int64_t step_units(int64_t cell) {
  return step_vectors(cell) / gates_of(cell) * Simd<T>::kWidth;
}
// Vectors of biases before a block's weights: what its sums start from, and the GRU's b_hn.
constexpr int step_biases(int64_t cell) { return step_vectors(cell) + (cell == kGru ? 1 : 0); }

template <class T>
int64_t step_packed_size(int64_t cell, int64_t I, int64_t H) {
  return ceil_div(H, step_units<T>(cell)) * Simd<T>::kWidth * (step_biases(cell) + step_vectors(cell) * (I + H));
}

// Vector n of the block at u: where its rows stand in a matrix of G*H rows, and how many there are.
template <class T>
struct StepRows {
  int64_t first, count;
  StepRows(int64_t cell, int64_t H, int64_t u, int n) {
    const int64_t gate = gates_of(cell) == 1 ? 0 : n, unit = gates_of(cell) == 1 ? u + n * Simd<T>::kWidth : u;
    first = gate * H + unit, count = H - unit;
  }
};

// What the sums of vector n start from where there is a product with W_ih.
template <class T>
PYAGENT_INLINE Vec<T> step_bias(const StepArgs<T>& p, StepRows<T> rows, bool own) {
  Vec<T> bias{};
  if (p.bias_ih && rows.count > 0) bias = load_first(p.bias_ih + rows.first, rows.count);
  if (p.bias_hh && rows.count > 0 && !own) bias += load_first(p.bias_hh + rows.first, rows.count);
  return bias;
}

// The GRU's b_hn.
template <class T>
PYAGENT_INLINE Vec<T> step_own_bias(const StepArgs<T>& p, int64_t u) {
  return p.bias_hh ? load_first(p.bias_hh + 2 * p.H + u, p.H - u) : Vec<T>{};
}

// to[k][n][unit] of one block, from the rows of a matrix [G*H, K]; a square at a time, so that what is read stays near.
template <class T>
void pack_block(int64_t cell, int64_t H, int64_t u, const T* weight, int64_t K, T* to) {
  constexpr int W = Simd<T>::kWidth;
  const int N = step_vectors(cell);
  for (int n = 0; n < N; ++n) {
    const StepRows<T> rows(cell, H, u, n);
    for (int64_t k_begin = 0; k_begin < K; k_begin += W) {
      const int64_t k_end = k_begin + W < K ? k_begin + W : K;
      for (int64_t j = 0; j < W; ++j)
        for (int64_t k = k_begin; k < k_end; ++k)
          to[(k * N + n) * W + j] = j < rows.count ? weight[(rows.first + j) * K + k] : T(0);
    }
  }
}

// packed[block]: biases [step_biases][unit], weights of the input [I][n][unit], weights of the state [H][n][unit].
template <class T>
void step_pack(const StepArgs<T>& p, T* packed) {
  constexpr int W = Simd<T>::kWidth;
  const int N = step_vectors(p.cell);
  for (int64_t u = 0; u < p.H; u += step_units<T>(p.cell)) {
    for (int n = 0; n < N; ++n, packed += W)
      store<T>(packed, step_bias(p, StepRows<T>(p.cell, p.H, u, n), p.cell == kGru && n == 2));
    if (p.cell == kGru) store<T>(packed, step_own_bias(p, u)), packed += W;
    pack_block(p.cell, p.H, u, p.weight_ih, p.I, packed);
    pack_block(p.cell, p.H, u, p.weight_hh, p.H, packed + p.I * N * W);
    packed += (p.I + p.H) * N * W;
  }
}

// Element j: row j of `rows` [count, K] times x. One sum a row: enough to hide the latency of a multiply-add.
template <class T>
PYAGENT_INLINE Vec<T> dot_rows(const T* rows, int64_t count, const T* x, int64_t K) {
  constexpr int W = Simd<T>::kWidth;
  const T* row[W];
  Vec<T> sum[W];
#pragma GCC unroll 16
  for (int j = 0; j < W; ++j) {
    row[j] = rows + (j < count ? j : 0) * K;
    sum[j] = Vec<T>{};
  }
  int64_t k = 0;
  for (; k + W <= K; k += W) {
    const Vec<T> part = load(x + k);
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) sum[j] = fma(part, load(row[j] + k), sum[j]);
  }
  if (k < K) {
    const Vec<T> part = load_first(x + k, K - k);
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) sum[j] = fma(part, load_first(row[j] + k, K - k), sum[j]);
  }
  sum_each<T>(sum);
  return sum[0];
}

// sum[m][n] += the block's weights times x[m], from packed weights or from the rows of [G*H, K] as they are: there the
// rows of one vector stay near while the lanes pass.
template <class T, int64_t kCell, bool kPacked, int M, int N>
PYAGENT_INLINE void step_products(Vec<T> (&sum)[M][N], const StepArgs<T>& p, const T* packed, const T* weight,
                                  const T* const* x, int64_t K, int64_t u, int64_t lanes) {
  if constexpr (kPacked) {
    const T* row[M];
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) row[m] = x[m];
    accumulate<T, M, N>(sum, row, packed, K);
  } else {
    for (int n = 0; n < N; ++n) {
      const StepRows<T> rows(kCell, p.H, u, n);
      if (rows.count <= 0) break;
      for (int64_t m = 0; m < lanes; ++m) sum[m][n] += dot_rows(weight + rows.first * K, rows.count, x[m], K);
    }
  }
}

// One block of units of one lane: sums in, state out. `own` is the GRU's input part of n.
template <class T, int64_t kCell, int N>
PYAGENT_INLINE void finish_step(const StepArgs<T>& p, int64_t b, Vec<T> (&sum)[N], Vec<T> own, int64_t u) {
  constexpr int W = Simd<T>::kWidth;
  const auto write = [&](int64_t unit, Vec<T> h) {
    store_first<T>(p.h + b * p.H + unit, h, p.H - unit);
    if (p.output) store_first<T>(p.output + b * p.H + unit, h, p.H - unit);
  };
  if constexpr (kCell == kLstm) {
    const Vec<T> i = sigmoid<T>(sum[0]), f = sigmoid<T>(sum[1]), g = tanh<T>(sum[2]), o = sigmoid<T>(sum[3]);
    const Vec<T> c = fma(f, load_first(p.c_prev[b] + u, p.H - u), i * g);
    store_first<T>(p.c + b * p.H + u, c, p.H - u);
    write(u, o * tanh<T>(c));
  } else if constexpr (kCell == kGru) {
    const Vec<T> r = sigmoid<T>(sum[0]), z = sigmoid<T>(sum[1]), n = tanh<T>(fma(r, sum[2], own));
    write(u, fma(z, load_first(p.h_prev[b] + u, p.H - u) - n, n));
  } else {
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) {
      const int64_t unit = u + n * W;
      if (unit >= p.H) break;
      if constexpr (kCell == kTanh)
        write(unit, tanh<T>(sum[n]));
      else
        write(unit, sum[n] < Vec<T>{} ? Vec<T>{} : sum[n]);
    }
  }
}

// Lanes [first, first + lanes) of the block of units at u; packed weights take M lanes exactly, others up to M. A
// function each: inlined into one, the compiler keeps some sums in memory.
template <class T, int64_t kCell, bool kPacked, int M>
__attribute__((noinline)) void step_lanes(const StepArgs<T>& p, const T* block, int64_t u, int64_t first,
                                          int64_t lanes) {
  constexpr int N = step_vectors(kCell), W = Simd<T>::kWidth;
  Vec<T> sum[M][N], own[M] = {};
  const T *const *x = p.x + first, *const *h_prev = p.h_prev + first;
#pragma GCC unroll 16
  for (int m = 0; m < (kPacked ? M : lanes); ++m)
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) {
      const StepRows<T> rows(kCell, p.H, u, n);
      if (p.projected)
        sum[m][n] = rows.count > 0 ? load_first(x[m] + rows.first, rows.count) : Vec<T>{};
      else
        sum[m][n] = kPacked ? load(block + n * W) : step_bias(p, rows, kCell == kGru && n == 2);
    }
  const T *input = kPacked ? block + step_biases(kCell) * W : nullptr, *state = kPacked ? input + p.I * N * W : nullptr;
  if (!p.projected) step_products<T, kCell, kPacked>(sum, p, input, p.weight_ih, x, p.I, u, lanes);
  if constexpr (kCell == kGru) {
    const Vec<T> bias = kPacked ? load(block + N * W) : step_own_bias(p, u);
#pragma GCC unroll 16
    for (int m = 0; m < (kPacked ? M : lanes); ++m) own[m] = sum[m][2], sum[m][2] = bias;
  }
  step_products<T, kCell, kPacked>(sum, p, state, p.weight_hh, h_prev, p.H, u, lanes);
#pragma GCC unroll 16
  for (int m = 0; m < (kPacked ? M : lanes); ++m) finish_step<T, kCell>(p, first + m, sum[m], own[m], u);
}

constexpr int64_t kStepLanes = 64;  // a part has at most so many
constexpr int kUnpackedLanes = 8;   // pass while the rows of one vector are near

template <class T>
int64_t step_parts(const StepArgs<T>& p) {
  return ceil_div(p.H, step_units<T>(p.cell)) * ceil_div(p.B, kStepLanes);
}

template <class T, int64_t kCell>
void step_layer(const StepArgs<T>& p, int64_t part_begin, int64_t part_end) {
  const int64_t groups = ceil_div(p.B, kStepLanes),
                block_size = step_packed_size<T>(kCell, p.I, p.H) / ceil_div(p.H, step_units<T>(kCell));
  for (int64_t part = part_begin; part < part_end; ++part) {
    const int64_t number = part / groups, group = part % groups, u = number * step_units<T>(kCell);
    const int64_t begin = group * p.B / groups, lanes = (group + 1) * p.B / groups - begin;
    if (p.packed) {
      for_row_groups<panel_rows(step_vectors(kCell))>(lanes, [&](int64_t first, auto size) {
        step_lanes<T, kCell, true, decltype(size)::value>(p, p.packed + number * block_size, u, begin + first, 0);
      });
    } else {
      for (int64_t first = 0; first < lanes; first += kUnpackedLanes)
        step_lanes<T, kCell, false, kUnpackedLanes>(p, nullptr, u, begin + first,
                                                    lanes - first < kUnpackedLanes ? lanes - first : kUnpackedLanes);
    }
  }
}

template <class T>
void step(const StepArgs<T>& p, int64_t part_begin, int64_t part_end) {
  switch (p.cell) {
    case kTanh:
      return step_layer<T, kTanh>(p, part_begin, part_end);
    case kRelu:
      return step_layer<T, kRelu>(p, part_begin, part_end);
    case kGru:
      return step_layer<T, kGru>(p, part_begin, part_end);
    case kLstm:
      return step_layer<T, kLstm>(p, part_begin, part_end);
  }
}

}  // namespace
}  // namespace pyagent

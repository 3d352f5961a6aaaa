// W_hh packed into panels, and the products of lanes with one of them.
//
// Forward, one panel holds for a block of `width` hidden units all gates of these units side by side, so that a group
// of lanes has every gate of the block in registers when its sums are done; where a cell has one gate, several blocks.
// Backward, a panel holds columns of W_hh. Columns beyond the matrix are zeros.
#pragma once

#include "core/dispatch.h"
#include "core/matmul.inl.h"
#include "core/matmul_bf16.inl.h"
#include "core/panel.inl.h"

namespace pyagent {
namespace {

template <class T>
constexpr int64_t kUnits = Simd<Real<T>>::kWidth;

constexpr int forward_gates(int64_t cell) { return static_cast<int>(gates_of(cell)); }
constexpr int forward_blocks(int64_t cell) { return forward_gates(cell) == 1 ? kPlainVectors : 1; }
constexpr int forward_vectors(int64_t cell) { return forward_gates(cell) * forward_blocks(cell); }

// How deep a panel is for K terms a sum.
template <class T>
PYAGENT_INLINE int64_t panel_depth(int64_t K) {
  return K;
}
template <>
PYAGENT_INLINE int64_t panel_depth<Bf16>(int64_t K) {
  return depth_in_panel(K);
}

template <class T>
int64_t packed_forward_size(int64_t cell, int64_t H) {
  const int64_t units = forward_blocks(cell) * kUnits<T>;
  return ceil_div(H, units) * units * gates_of(cell) * panel_depth<T>(H);
}

template <class T>
int64_t packed_backward_size(int64_t cell, int64_t H) {
  const int64_t units = kPlainVectors * kUnits<T>;
  return ceil_div(H, units) * units * panel_depth<T>(gates_of(cell) * H);
}

// One vector of a panel's columns: to[k * stride + column] from rows contiguous in k, `count` of them.
template <class T>
void pack_vector(const T* rows, int64_t row_stride, int64_t count, int64_t depth, T* to, int64_t stride) {
  const T* from[kUnits<T>];
  for (int64_t i = 0; i < kUnits<T> && i < count; ++i) from[i] = rows + i * row_stride;
  if (count < kUnits<T>)
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t i = 0; i < kUnits<T>; ++i) to[k * stride + i] = T(0);
  if (count > 0) copy_transposed(from, at_most(count, kUnits<T>), depth, to, stride);
}

// The same of pairs: to[k / 2 * 2 * stride + 2 * column + k % 2].
void pack_vector(const Bf16* rows, int64_t row_stride, int64_t count, int64_t depth, Bf16* to, int64_t stride) {
  for (int64_t k = (depth + 1) / 2 * 2; k < depth_in_panel(depth); k += 2) store_pairs(to + k * stride, Pairs{});
  // Rows that do not exist are not read, but their addresses are made: they must not overflow.
  pack_across([&](int64_t i) { return rows + at_most(i, count - 1) * row_stride; }, count, depth, to, 2 * stride);
}

template <class T>
PYAGENT_INLINE constexpr int64_t vector_offset(int64_t n) {
  return n * kUnits<T>;
}
template <>
PYAGENT_INLINE constexpr int64_t vector_offset<Bf16>(int64_t n) {
  return 2 * n * kUnits<Bf16>;
}

// packed[panel][k][gate][unit in block], or packed[panel][k][block][unit] for one gate; of Bf16 by pairs of k.
template <class T>
void pack_forward(int64_t cell, int64_t H, const T* weight_hh, T* packed) {
  const int64_t gates = gates_of(cell), blocks = forward_blocks(cell), stride = gates * blocks * kUnits<T>;
  for (int64_t u = 0; u < H; u += blocks * kUnits<T>, packed += stride * panel_depth<T>(H))
    for (int64_t g = 0; g < gates; ++g)
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t unit = u + block * kUnits<T>;
        pack_vector(weight_hh + (g * H + at_most(unit, H)) * H, H, H - unit, H,
                    packed + vector_offset<T>(g * blocks + block), stride);
      }
}

template <class T>
void pack_backward_panel(const T* weight_hh, int64_t H, int64_t units, int64_t K, T* panel) {
  constexpr int64_t kColumns = kPlainVectors * kUnits<T>;
  for (int64_t k = 0; k < K; ++k, panel += kColumns) {
    copy(weight_hh + k * H, at_most(units, kColumns), panel);
    for (int64_t j = units; j < kColumns; ++j) panel[j] = T(0);
  }
}

void pack_backward_panel(const Bf16* weight_hh, int64_t H, int64_t units, int64_t K, Bf16* panel) {
  constexpr int64_t kColumns = kPlainVectors * kUnits<Bf16>;
  pack_along<kPlainVectors>([&](int64_t k) { return weight_hh + k * H; }, units, K, panel);
  for (int64_t i = (K + 1) / 2 * 2 * kColumns; i < depth_in_panel(K) * kColumns; ++i) panel[i] = {};
}

// packed[panel][k][unit]: k runs over the gates' rows of W_hh, units over its columns; of Bf16 by pairs of k.
template <class T>
void pack_backward(int64_t cell, int64_t H, const T* weight_hh, T* packed) {
  constexpr int64_t kColumns = kPlainVectors * kUnits<T>;
  const int64_t K = gates_of(cell) * H;
  for (int64_t u = 0; u < H; u += kColumns, packed += kColumns * panel_depth<T>(K))
    pack_backward_panel(weight_hh + u, H, H - u, K, packed);
}

#if defined(PYAGENT_TILES)
constexpr bool kHasTiles = true;
#else
constexpr bool kHasTiles = false;
#endif
template <class T>
constexpr bool kUsesTiles = false;
template <>
constexpr bool kUsesTiles<Bf16> = kHasTiles;

// Rows of the lanes side by side, as tiles need them; nothing for vectors.
template <class T>
int64_t operand_bytes(int64_t K) {
  return kUsesTiles<T> ? depth_in_panel(K) * static_cast<int64_t>(sizeof(T)) : 0;
}

// Copies every lane's operand, with zeros up to a whole depth. `operands` has room for operand_bytes a lane.
template <class T, class Lane>
PYAGENT_INLINE void gather_operands(const Lane* lanes, int64_t count, int64_t K, T* operands) {
  if constexpr (kUsesTiles<T>)
    for (int64_t i = 0; i < count; ++i, operands += depth_in_panel(K))
      for (int64_t k = 0; k < depth_in_panel(K); k += 2 * kLanes)
        store_pairs(operands + k, load_first_pairs(lanes[i].operand + k, K - k));
}

// For every lane: start(lane, sum), sum += operand times the panel's N vectors, finish(lane, sum).
template <class T, int N, class Lane, class Start, class Finish>
PYAGENT_INLINE void multiply_panel(const Lane* lanes, int64_t count, const T* operands, const T* panel, int64_t K,
                                   const Start& start, const Finish& finish) {
#if defined(PYAGENT_TILES)
  if constexpr (kUsesTiles<T>) {
    constexpr int kColumns = N * kLanes;
    alignas(64) float tiles[2 * kTileRows * kColumns];
    int64_t configured = 0;
    for (int64_t first = 0; first < count; first += 2 * kTileRows) {
      const int64_t rows = at_most(count - first, 2 * kTileRows), depth = depth_in_panel(K);
      if (rows != configured) configure_tile_rows(configured = rows);
      const T* a = operands + first * depth;
      for (int n = 0; n + 1 < N; n += 2)
        accumulate_tiles<2>(rows, true, tiles + n * kLanes, kColumns, a, depth, panel + 2 * n * kLanes, 2 * kColumns,
                            K);
      if constexpr (N % 2 == 1)
        accumulate_tiles<1>(rows, true, tiles + (N - 1) * kLanes, kColumns, a, depth, panel + 2 * (N - 1) * kLanes,
                            2 * kColumns, K);
      for (int64_t i = 0; i < rows; ++i) {
        Vec<float> sum[N];
        start(lanes[first + i], sum);
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n) sum[n] += load(tiles + i * kColumns + n * kLanes);
        finish(lanes[first + i], sum);
      }
    }
    release_tiles();
    return;
  }
#endif
  for_row_groups<panel_rows(N)>(count, [&](int64_t first, auto size) {
    constexpr int M = decltype(size)::value;
    const Lane* lane = lanes + first;
    Vec<Real<T>> sum[M][N];
    const T* operand[M];
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      operand[m] = lane[m].operand;
      start(lane[m], sum[m]);
    }
    accumulate(sum, operand, panel, K);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) finish(lane[m], sum[m]);
  });
}

}  // namespace
}  // namespace pyagent

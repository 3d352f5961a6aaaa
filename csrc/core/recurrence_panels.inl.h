// W_hh packed into panels, and the products of lanes with one of them.
//
// Forward, one panel holds for a block of `width` hidden units all gates of these units side by side, so that a group
// of lanes has every gate of the block in registers when its sums are done; where a cell has one gate, several blocks.
// Backward, a panel holds columns of W_hh. Columns beyond the matrix are zeros.
//
// Numbers of type T are multiplied as they are, P = T, or on tiles floats as two Bf16 each (split_bf16.inl.h): a panel
// of their high parts, behind it one of the low parts.
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

// Whether panels are of pairs of k.
template <class P>
constexpr bool kPaired = false;
template <>
constexpr bool kPaired<Bf16> = true;

// How deep a panel of one part is for K terms a sum.
template <class P>
PYAGENT_INLINE int64_t panel_depth(int64_t K) {
  return kPaired<P> ? depth_in_panel(K) : K;
}

// In numbers of type T: the parts of one together are as large as itself.
template <class T, class P>
int64_t packed_forward_size(int64_t cell, int64_t H) {
  const int64_t units = forward_blocks(cell) * kUnits<T>;
  return ceil_div(H, units) * units * gates_of(cell) * panel_depth<P>(H);
}

template <class T, class P>
int64_t packed_backward_size(int64_t cell, int64_t H) {
  const int64_t units = kPlainVectors * kUnits<T>;
  return ceil_div(H, units) * units * panel_depth<P>(gates_of(cell) * H);
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

// The same of pairs, from `to` on.
template <class T>
void pack_vector_of_pairs(const T* rows, int64_t row_stride, int64_t count, int64_t depth, int part, Bf16* to,
                          PanelLayout layout) {
  // Rows that do not exist are not read, but their addresses are made: they must not overflow.
  pack_across([&](int64_t i) { return rows + at_most(i, count - 1) * row_stride; }, count, depth, part, to, layout);
}

// packed[panel][k][gate][unit in block], or packed[panel][k][block][unit] for one gate; of Bf16 by pairs of k.
template <class T, class P>
void pack_forward(int64_t cell, int64_t H, const T* weight_hh, T* packed) {
  const int64_t gates = gates_of(cell), blocks = forward_blocks(cell), stride = gates * blocks * kUnits<T>;
  [[maybe_unused]] const PanelLayout layout = panel_layout(gates * blocks);
  P* to = reinterpret_cast<P*>(packed);
  for (int64_t u = 0; u < H; u += blocks * kUnits<T>)
    for (int part = 0; part < kParts<T, P>; ++part, to += stride * panel_depth<P>(H))
      for (int64_t g = 0; g < gates; ++g)
        for (int64_t block = 0; block < blocks; ++block) {
          const int64_t unit = u + block * kUnits<T>, vector = g * blocks + block;
          const T* rows = weight_hh + (g * H + at_most(unit, H)) * H;
          if constexpr (kPaired<P>)
            pack_vector_of_pairs(rows, H, H - unit, H, part, to + vector * layout.vector, layout);
          else
            pack_vector(rows, H, H - unit, H, to + vector * kUnits<T>, stride);
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

// packed[panel][k][unit]: k runs over the gates' rows of W_hh, units over its columns; of Bf16 by pairs of k.
template <class T, class P>
void pack_backward(int64_t cell, int64_t H, const T* weight_hh, T* packed) {
  constexpr int64_t kColumns = kPlainVectors * kUnits<T>;
  const int64_t K = gates_of(cell) * H;
  P* to = reinterpret_cast<P*>(packed);
  for (int64_t u = 0; u < H; u += kColumns)
    for (int part = 0; part < kParts<T, P>; ++part, to += kColumns * panel_depth<P>(K))
      if constexpr (kPaired<P>)
        pack_along<kPlainVectors>([&](int64_t k) { return weight_hh + u + k * H; }, H - u, K, part, to);
      else
        pack_backward_panel(weight_hh + u, H, H - u, K, to);
}

#if defined(PYAGENT_TILES)
constexpr bool kHasTiles = true;
#else
constexpr bool kHasTiles = false;
#endif
template <class P>
constexpr bool kUsesTiles = kPaired<P> && kHasTiles;

// Rows of the lanes side by side, as tiles need them; nothing for vectors.
template <class T, class P>
int64_t operand_bytes(int64_t K) {
  return kUsesTiles<P> ? depth_in_panel(K) * static_cast<int64_t>(sizeof(T)) : 0;
}

#if defined(PYAGENT_TILES)

// Operands of up to 32 lanes together, in the order in which tiles read them: [part][K / 32][lane][32].
constexpr int64_t kLaneGroup = 2 * kTileRows;

template <class T>
PYAGENT_INLINE PairRows operands_of_group(const Bf16* operands, int64_t first, int64_t rows, int64_t depth) {
  return {operands + first * kParts<T, Bf16> * depth, kTileDepth, rows * kTileDepth, rows * depth};
}

template <class T, int N, class Lane, class Start, class Finish>
PYAGENT_INLINE void multiply_panel_on_tiles(Tiles& tiles, const Lane* lanes, int64_t count, const Bf16* operands,
                                            const Bf16* panel, int64_t K, const Start& start, const Finish& finish) {
  constexpr int kColumns = N * kLanes, kNumParts = kParts<T, Bf16>;
  const int64_t depth = depth_in_panel(K);
  const PanelLayout layout = panel_layout(N);
  const auto vectors = [&](int n) {
    return PairRows{panel + n * layout.vector, layout.pair, layout.step, depth * kColumns};
  };
  alignas(64) float made[kLaneGroup * kColumns];
  for (int64_t first = 0; first < count; first += kLaneGroup) {
    const int64_t rows = at_most(count - first, kLaneGroup);
    tiles.configure(rows);
    const PairRows a = operands_of_group<T>(operands, first, rows, depth);
    for (int n = 0; n + 1 < N; n += 2)
      accumulate_tiles<kNumParts, 2>(rows, true, made + n * kLanes, kColumns, a, vectors(n), K);
    if constexpr (N % 2 == 1)
      accumulate_tiles<kNumParts, 1>(rows, true, made + (N - 1) * kLanes, kColumns, a, vectors(N - 1), K);
    for (int64_t i = 0; i < rows; ++i) {
      Vec<float> sum[N];
      start(lanes[first + i], sum);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) sum[n] += load(made + i * kColumns + n * kLanes);
      finish(lanes[first + i], sum);
    }
  }
}

#else

struct Tiles {
  void release() {}
};

#endif

// Copies every lane's operand where tiles are used, with zeros up to a whole depth. `operands` has room for
// operand_bytes a lane.
template <class T, class P, class Lane>
PYAGENT_INLINE void gather_operands(const Lane* lanes, int64_t count, int64_t K, P* operands) {
#if defined(PYAGENT_TILES)
  if constexpr (kUsesTiles<P>)
    for (int64_t first = 0; first < count; first += kLaneGroup) {
      const int64_t rows = at_most(count - first, kLaneGroup), depth = depth_in_panel(K);
      const PairRows to = operands_of_group<T>(operands, first, rows, depth);
      for (int64_t i = 0; i < rows; ++i)
        copy_row(lanes[first + i].operand, K, const_cast<Bf16*>(to.data) + i * to.stride, to.step, to.low);
    }
#endif
}

// For every lane: start(lane, sum), sum += operand times the panel's N vectors, finish(lane, sum).
template <class T, class P, int N, class Lane, class Start, class Finish>
PYAGENT_INLINE void multiply_panel([[maybe_unused]] Tiles& tiles, const Lane* lanes, int64_t count, const P* operands,
                                   const P* panel, int64_t K, const Start& start, const Finish& finish) {
#if defined(PYAGENT_TILES)
  if constexpr (kUsesTiles<P>)
    return multiply_panel_on_tiles<T, N>(tiles, lanes, count, operands, panel, K, start, finish);
#endif
  if constexpr (!kUsesTiles<P>)
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

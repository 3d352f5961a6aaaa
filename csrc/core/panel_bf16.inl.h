// The inner loop of products of Bf16, two k at a time, with sums in float.
//
// A panel holds, for k = 0, 2, ..., N vectors of pairs side by side: [ceil(K / 2)][N][width][2]. Where it is read by
// tiles, every tile's 16 pairs of k lie together: [ceil(K / 32)][N][16][width][2]. Beyond K are zeros up to a pair, or
// a tile; so are columns beyond the matrix.
#pragma once

#include "core/bf16.h"
#include "core/panel.inl.h"

namespace pyagent {
namespace {

#if defined(PYAGENT_TILES)
constexpr int64_t kTileRows = 16, kTileDepth = 32;
constexpr int64_t kDepthUnit = kTileDepth;
#else
constexpr int64_t kDepthUnit = 2;
#endif

PYAGENT_INLINE int64_t depth_in_panel(int64_t depth) { return ceil_div(depth, kDepthUnit) * kDepthUnit; }

// Where a panel of N vectors has its vector n, the next pair of k, and that `kLanes` pairs on.
struct PanelLayout {
  int64_t vector, pair, step;
};

PYAGENT_INLINE PanelLayout panel_layout(int64_t N) {
#if defined(PYAGENT_TILES)
  return {kTileRows * kTileDepth, kTileDepth, N * kTileRows * kTileDepth};
#else
  return {2 * kLanes, 2 * N * kLanes, 2 * N * kLanes * kLanes};
#endif
}

// Rows of A, or a panel's pairs of k, `stride` elements apart, and what a tile takes next `step` elements on; of floats
// the high parts, and the low ones `low` behind them.
struct PairRows {
  const Bf16* data;
  int64_t stride, step, low;
};

// sum[m][n] += pair(m) times the panel's vectors at one k.
template <int M, int N, class F>
PYAGENT_INLINE void accumulate_pair(Vec<float> (&sum)[M][N], const F& pair, const Bf16* panel) {
#if defined(__AVX512BF16__) && PYAGENT_VECTOR_BYTES == 64
  Pairs w[N];
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) w[n] = load_pairs(panel + 2 * n * kLanes);
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
    const Pairs x = pair(m);
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) sum[m][n] = dot_pairs(x, w[n], sum[m][n]);
  }
#else
  // One half after the other: the register file has no room for both, so pairs are loaded twice, which a compiler only
  // does where it has to think that memory has changed.
  const auto accumulate_half = [&](auto half) __attribute__((always_inline)) {
    Vec<float> w[N];
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) w[n] = half(load_pairs(panel + 2 * n * kLanes));
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const Vec<float> x = half(pair(m));
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) sum[m][n] = fma(x, w[n], sum[m][n]);
    }
  };
  accumulate_half([](Pairs x) __attribute__((always_inline)) { return even(x); });
  __asm__("" : : : "memory");
  accumulate_half([](Pairs x) __attribute__((always_inline)) { return odd(x); });
#endif
}

// Rows that are contiguous in k.
template <int M, int N>
PYAGENT_INLINE void accumulate(Vec<float> (&sum)[M][N], const Bf16* const (&a)[M], const Bf16* panel, int64_t K) {
  int64_t k = 0;
  for (; k + 1 < K; k += 2, panel += 2 * N * kLanes)
    accumulate_pair(sum, [&](int m) __attribute__((always_inline)) { return broadcast_pair(a[m] + k); }, panel);
  if (k < K) accumulate_pair(sum, [&](int m) __attribute__((always_inline)) { return Pairs{} + a[m][k].bits; }, panel);
}

}  // namespace
}  // namespace pyagent

// Panels of pairs, filled from matrices of Bf16, or of one part of floats, that are contiguous in k or in the columns,
// a vector of columns at a time.
#pragma once

#include "core/panel_bf16.inl.h"
#include "core/split_bf16.inl.h"

namespace pyagent {
namespace {

// Exchanges the lanes of a that have bit `kBit` with those of b that have not.
template <int kBit, int... lane>
PYAGENT_INLINE void exchange(Pairs& a, Pairs& b, Lanes<lane...>) {
  const Pairs low = shuffle(a, b, Lanes<(lane & kBit ? kLanes + lane - kBit : lane)...>{});
  b = shuffle(a, b, Lanes<(lane & kBit ? kLanes + lane : lane + kBit)...>{});
  a = low;
}

template <int kBit>
PYAGENT_INLINE void exchange_rows(Pairs (&x)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    if (!(i & kBit)) exchange<kBit>(x[i], x[i + kBit], typename FirstLanes<kLanes>::Type{});
  if constexpr (2 * kBit < kLanes) exchange_rows<2 * kBit>(x);
}

PYAGENT_INLINE void transpose(Pairs (&x)[kLanes]) { exchange_rows<1>(x); }

// A row that is contiguous in k: every vector of its pairs `step` elements behind the one before, its low part `low`
// behind the high one. Writes whole vectors of pairs, zeros beyond depth.
template <class T>
PYAGENT_INLINE void copy_row(const T* from, int64_t depth, Bf16* to, int64_t step, int64_t low) {
  constexpr int kNumParts = kParts<T, Bf16>;
  for (int64_t k = 0; k < depth; k += 2 * kLanes, to += step) {
    Pairs parts[kNumParts];
#pragma GCC unroll 2
    for (int part = 0; part < kNumParts; ++part) parts[part] = pairs_of(from + k, depth - k, part);
#pragma GCC unroll 2
    for (int part = 0; part < kNumParts; ++part) store_pairs(to + part * low, parts[part]);
  }
}

// One vector of columns of a panel, from `to` on. `row(column)` is contiguous in k; of the columns, `count` exist.
template <class F>
PYAGENT_INLINE void pack_across(const F& row, int64_t count, int64_t depth, int part, Bf16* to, PanelLayout layout) {
  for (int64_t k = 0; k < depth; k += 2 * kLanes, to += layout.step) {
    Pairs x[kLanes];
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) x[j] = j < count ? pairs_of(row(j) + k, depth - k, part) : Pairs{};
    transpose(x);
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j)
      if (k + 2 * j < depth_in_panel(depth)) store_pairs(to + j * layout.pair, x[j]);
  }
}

// Pairs of rows k and k + 1 of the matrix whose rows are `row(k)`: `count` of them, zeros beyond these and beyond
// depth.
template <class F>
PYAGENT_INLINE Pairs pairs_of_rows(const F& row, int64_t k, int64_t depth, int part, int64_t column, int64_t count) {
  if (k >= depth || count <= 0) return Pairs{};
  const Pairs first = halves_of(row(k) + column, count, part);
  return k + 1 == depth ? first : first | halves_of(row(k + 1) + column, count, part) << 16;
}

// The N vectors of a panel from rows that are contiguous in the columns: `row(k)`. Of the columns, `count` exist.
template <int N, class F>
PYAGENT_INLINE void pack_along(const F& row, int64_t count, int64_t depth, int part, Bf16* panel) {
  const PanelLayout layout = panel_layout(N);
  for (int64_t k = 0; k < depth; k += 2 * kLanes, panel += layout.step)
    for (int64_t j = 0; j < kLanes && k + 2 * j < depth_in_panel(depth); ++j)
#pragma GCC unroll 16
      for (int i = 0; i < N; ++i)
        store_pairs(panel + i * layout.vector + j * layout.pair,
                    pairs_of_rows(row, k + 2 * j, depth, part, i * kLanes, count - i * kLanes));
}

// The other way round: from the same rows, `count` columns as rows contiguous in k, `stride` elements apart, every
// vector of pairs `step` behind the one before. Writes whole vectors both ways, zeros beyond count and depth.
template <class F>
PYAGENT_INLINE void pack_columns(const F& row, int64_t count, int64_t depth, int part, Bf16* to, int64_t stride,
                                 int64_t step) {
  for (int64_t k = 0; k < depth; k += 2 * kLanes, to += step)
    for (int64_t i = 0; i < count; i += kLanes) {
      Pairs x[kLanes];
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) x[j] = pairs_of_rows(row, k + 2 * j, depth, part, i, count - i);
      transpose(x);
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) store_pairs(to + (i + j) * stride, x[j]);
    }
}

}  // namespace
}  // namespace pyagent

// Panels of pairs, filled from matrices of Bf16 that are contiguous in k or in the columns, a vector of columns at a
// time.
#pragma once

#include "core/bf16.h"

namespace pyagent {
namespace {

template <int... lane>
struct Lanes {};

template <int count, int... lane>
struct FirstLanes : FirstLanes<count - 1, count - 1, lane...> {};

template <int... lane>
struct FirstLanes<0, lane...> {
  using Type = Lanes<lane...>;
};

// Lanes of a and b by index: those of b follow those of a.
template <int... index>
PYAGENT_INLINE Pairs shuffle(Pairs a, Pairs b, Lanes<index...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, index...);
#else
  return __builtin_shuffle(a, b, Pairs{index...});
#endif
}

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

// One vector of columns of a panel: to[k / 2 * stride + 2 * column]. `row(column)` is contiguous in k; of the columns,
// `count` exist.
template <class F>
PYAGENT_INLINE void pack_across(const F& row, int64_t count, int64_t depth, Bf16* to, int64_t stride) {
  for (int64_t k = 0; k < depth; k += 2 * kLanes) {
    Pairs x[kLanes];
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j) x[j] = j < count ? load_first_pairs(row(j) + k, depth - k) : Pairs{};
    transpose(x);
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j)
      if (k + 2 * j < depth) store_pairs(to + (k / 2 + j) * stride, x[j]);
  }
}

// The same from rows that are contiguous in the columns: `row(k)`.
template <class F>
PYAGENT_INLINE void pack_along(const F& row, int64_t count, int64_t depth, Bf16* to, int64_t stride) {
  for (int64_t k = 0; k < depth; k += 2, to += stride) {
    const bool alone = k + 1 == depth;
    store_pairs(to, interleave(row(k), row(alone ? k : k + 1), count) & (alone ? 0xffff : 0xffffffff));
  }
}

}  // namespace
}  // namespace pyagent

// Numbers as the Bf16 that products are made of: a Bf16 is its own only part, a float the sum of two, so that
//   x y = high(x) high(y) + high(x) low(y) + low(x) high(y), to about 2^-16 of |x| |y|.
#pragma once

#include "core/bf16.h"

namespace pyagent {
namespace {

// How many numbers of type P a T is in products of P.
template <class T, class P>
constexpr int kParts = sizeof(T) / sizeof(P);

// The high part (0) or the low one (1) of floats.
PYAGENT_INLINE Vec<float> part_of(Vec<float> v, int part) {
  const Vec<float> high = nearest(v);
  // Infinity and NaN are low, with nothing high, and so in one product alone: others would multiply infinity by zero.
  const auto finite = high - high == Vec<float>{};
  if (part == 0) return finite ? high : Vec<float>{};
  return finite ? nearest(v - high) : high;
}

// A part of the first n of a vector's numbers in the low half of every 32 bits, zeros behind them.
PYAGENT_INLINE Pairs halves_of(const Bf16* p, int64_t n, int) { return load_first_halves(p, n); }

PYAGENT_INLINE Pairs halves_of(const float* p, int64_t n, int part) {
  return (Pairs)part_of(load_first(p, n), part) >> 16;
}

template <int... lane>
PYAGENT_INLINE Pairs paired(Pairs a, Pairs b, Lanes<lane...>) {
  return shuffle(a, b, Lanes<2 * lane...>{}) >> 16 | shuffle(a, b, Lanes<2 * lane + 1 ...>{});
}

// A part of the first n of two vectors' numbers as pairs, zeros behind them.
PYAGENT_INLINE Pairs pairs_of(const Bf16* p, int64_t n, int) { return load_first_pairs(p, n); }

PYAGENT_INLINE Pairs pairs_of(const float* p, int64_t n, int part) {
  const Vec<float> first = part_of(load_first(p, n), part);
  if (n <= kLanes) return paired((Pairs)first, Pairs{}, FirstLanes<kLanes>::Type{});
  return paired((Pairs)first, (Pairs)part_of(load_first(p + kLanes, n - kLanes), part), FirstLanes<kLanes>::Type{});
}

}  // namespace
}  // namespace pyagent

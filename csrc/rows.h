// What the ops on rows of values share. Their vectors are of 16 bytes on every processor and nothing is fused, so that
// a result has the same bits everywhere: an action drawn on one machine is drawn on all.
#pragma once

#define PYAGENT_VECTOR_BYTES 16
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/simd.h"

namespace pyagent {
namespace {

// The largest of count >= 1 values; NaN if one is.
template <class T>
PYAGENT_INLINE T largest_of(const T* values, int64_t count) {
  constexpr int64_t W = Simd<T>::kWidth;
  if (count < W) {
    T most = values[0];
    for (int64_t i = 1; i < count; ++i) most = most >= values[i] || most != most ? most : values[i];
    return most;
  }
  Vec<T> most = load(values);
  auto is_nan = most != most;
  const auto take = [&](Vec<T> x) {
    is_nan |= x != x;
    most = x > most ? x : most;
  };
  for (int64_t i = W; i + W <= count; i += W) take(load(values + i));
  take(load(values + count - W));  // the last ones, some of them again
  T all = most[0];
  auto any_nan = is_nan[0];
  for (int64_t i = 1; i < W; ++i) {
    all = most[i] > all ? most[i] : all;
    any_nan |= is_nan[i];
  }
  return any_nan ? std::numeric_limits<T>::quiet_NaN() : all;
}

// Where `value`, which is among the count values, stands first.
template <class T>
PYAGENT_INLINE int64_t first_of(const T* values, int64_t count, T value) {
  using Int = typename Simd<T>::Int;
  constexpr int64_t W = Simd<T>::kWidth;
  int64_t i = 0;
  // Backwards and without a branch that depends on a value, where a row is short: where it stands cannot be guessed.
  constexpr int64_t kShort = 64;
  if (count >= W && count <= kShort) {
    Int lane{};
    for (int64_t j = 0; j < W; ++j) lane[j] = static_cast<int>(j);
    const Vec<T> wanted = broadcast(value);
    using Place = decltype(lane[0] + 0);
    Int at = lane + static_cast<Place>(count);
    for (i = count - W;; i -= W) {
      const int64_t first = i > 0 ? i : 0;
      const auto equal = load(values + first) == wanted;
      at = equal ? lane + static_cast<Place>(first) : at;
      if (first == 0) break;
    }
    int64_t least = at[0];
    for (int64_t j = 1; j < W; ++j) least = at[j] < least ? at[j] : least;
    return least;
  }
  while (i + 1 < count && values[i] != value) ++i;
  return i;
}

}  // namespace
}  // namespace pyagent

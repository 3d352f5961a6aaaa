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

// Per lane the largest of count >= W values, and whether any is NaN.
template <class T>
PYAGENT_INLINE Vec<T> largest_of_lanes(const T* values, int64_t count, typename Simd<T>::Int* is_nan) {
  constexpr int64_t W = Simd<T>::kWidth;
  Vec<T> most = load(values);
  *is_nan |= most != most;
  const auto take = [&](Vec<T> x) {
    *is_nan |= x != x;
    most = x > most ? x : most;
  };
  for (int64_t i = W; i + W <= count; i += W) take(load(values + i));
  take(load(values + count - W));  // the last ones, some of them again
  return most;
}

template <class T>
PYAGENT_INLINE bool any_of(typename Simd<T>::Int lanes) {
  typedef int64_t Halves __attribute__((vector_size(PYAGENT_VECTOR_BYTES)));
  const Halves halves = (Halves)lanes;
  return (halves[0] | halves[1]) != 0;
}

// The largest of count >= 1 values; NaN if one is.
template <class T>
PYAGENT_INLINE T largest_of(const T* values, int64_t count) {
  constexpr int64_t W = Simd<T>::kWidth;
  if (count < W) {
    T most = values[0];
    for (int64_t i = 1; i < count; ++i) most = most >= values[i] || most != most ? most : values[i];
    return most;
  }
  typename Simd<T>::Int is_nan{};
  const Vec<T> lanes = largest_of_lanes(values, count, &is_nan);
  T most = lanes[0];
  for (int64_t i = 1; i < W; ++i) most = lanes[i] > most ? lanes[i] : most;
  return any_of<T>(is_nan) ? std::numeric_limits<T>::quiet_NaN() : most;
}

// The same of each of many rows: as many at a time as a vector has lanes, turned so that lanes become rows.
template <class T>
void largest_of_rows(const T* values, int64_t rows, int64_t count, T* largest) {
  constexpr int64_t W = Simd<T>::kWidth;
  int64_t n = 0;
  for (; count >= W && n + W <= rows; n += W) {
    typename Simd<T>::Int is_nan{};
    Vec<T> lanes[W];
    for (int64_t i = 0; i < W; ++i) lanes[i] = largest_of_lanes(values + (n + i) * count, count, &is_nan);
    if (any_of<T>(is_nan)) {
      for (int64_t i = 0; i < W; ++i) largest[n + i] = largest_of(values + (n + i) * count, count);
      continue;
    }
    transpose<T>(lanes);
    for (int64_t i = 1; i < W; ++i) lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
    store<T>(largest + n, lanes[0]);
  }
  for (; n < rows; ++n) largest[n] = largest_of(values + n * count, count);
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

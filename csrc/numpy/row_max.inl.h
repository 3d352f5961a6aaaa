// The largest of a row of action values, NaN where there is one, as numpy has it.
#pragma once

#include <cstdint>
#include <type_traits>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "numpy/table_kernels.h"

namespace pyagent {
namespace {

// An element at a time.
template <class T>
struct ScalarMax {
  int64_t A;
  T operator()(const T* row) const {
    T best = row[0];
    for (int64_t a = 1; a < A && best == best; ++a)
      if (!(row[a] <= best)) best = row[a];
    return best;
  }
};

#if defined(__SSE2__)

struct FourFloats {
  using Vec = __m128;
  static constexpr int64_t kWidth = 4;
  PYAGENT_INLINE static Vec load(const float* p) { return _mm_loadu_ps(p); }
  PYAGENT_INLINE static Vec max(Vec x, Vec y) { return _mm_max_ps(x, y); }
  PYAGENT_INLINE static Vec nan(Vec x, Vec y) { return _mm_cmpunord_ps(x, y); }
  PYAGENT_INLINE static Vec either(Vec x, Vec y) { return _mm_or_ps(x, y); }
  PYAGENT_INLINE static bool any(Vec x) { return _mm_movemask_ps(x) != 0; }
  PYAGENT_INLINE static float largest(Vec x) {
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_shuffle_ps(x, x, 1)));
  }
};

struct TwoDoubles {
  using Vec = __m128d;
  static constexpr int64_t kWidth = 2;
  PYAGENT_INLINE static Vec load(const double* p) { return _mm_loadu_pd(p); }
  PYAGENT_INLINE static Vec max(Vec x, Vec y) { return _mm_max_pd(x, y); }
  PYAGENT_INLINE static Vec nan(Vec x, Vec y) { return _mm_cmpunord_pd(x, y); }
  PYAGENT_INLINE static Vec either(Vec x, Vec y) { return _mm_or_pd(x, y); }
  PYAGENT_INLINE static bool any(Vec x) { return _mm_movemask_pd(x) != 0; }
  PYAGENT_INLINE static double largest(Vec x) { return _mm_cvtsd_f64(_mm_max_sd(x, _mm_unpackhi_pd(x, x))); }
};

// Rows of at least a vector: the ends first, then what lies between; the last vectors overlap, so that no element is
// left over.
template <class Simd, class T>
struct VectorMax {
  int64_t A;
  PYAGENT_INLINE T operator()(const T* row) const {
    constexpr int64_t kWidth = Simd::kWidth;
    const auto first = Simd::load(row), last = Simd::load(row + A - kWidth);
    auto best = Simd::max(first, last), nan = Simd::nan(first, last);
    for (int64_t a = kWidth; a < A - kWidth; a += kWidth) {
      const auto next = Simd::load(row + a);
      best = Simd::max(best, next);
      nan = Simd::either(nan, Simd::nan(next, next));
    }
    // The comparisons above lose a NaN.
    return __builtin_expect(Simd::any(nan), 0) ? ScalarMax<T>{A}(row) : Simd::largest(best);
  }
};

#if defined(__AVX2__)

struct EightFloats {
  using Vec = __m256;
  static constexpr int64_t kWidth = 8;
  PYAGENT_INLINE static Vec load(const float* p) { return _mm256_loadu_ps(p); }
  PYAGENT_INLINE static Vec max(Vec x, Vec y) { return _mm256_max_ps(x, y); }
  PYAGENT_INLINE static Vec nan(Vec x, Vec y) { return _mm256_cmp_ps(x, y, _CMP_UNORD_Q); }
  PYAGENT_INLINE static Vec either(Vec x, Vec y) { return _mm256_or_ps(x, y); }
  PYAGENT_INLINE static bool any(Vec x) { return _mm256_movemask_ps(x) != 0; }
  PYAGENT_INLINE static float largest(Vec x) {
    return FourFloats::largest(_mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
  }
};

struct FourDoubles {
  using Vec = __m256d;
  static constexpr int64_t kWidth = 4;
  PYAGENT_INLINE static Vec load(const double* p) { return _mm256_loadu_pd(p); }
  PYAGENT_INLINE static Vec max(Vec x, Vec y) { return _mm256_max_pd(x, y); }
  PYAGENT_INLINE static Vec nan(Vec x, Vec y) { return _mm256_cmp_pd(x, y, _CMP_UNORD_Q); }
  PYAGENT_INLINE static Vec either(Vec x, Vec y) { return _mm256_or_pd(x, y); }
  PYAGENT_INLINE static bool any(Vec x) { return _mm256_movemask_pd(x) != 0; }
  PYAGENT_INLINE static double largest(Vec x) {
    return TwoDoubles::largest(_mm_max_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1)));
  }
};

#endif
#endif

// f(max), where max(row) is the largest of a row of A values: chosen once for many rows.
template <class T, class F>
PYAGENT_INLINE void with_row_max(int64_t A, const F& f) {
#if defined(__AVX2__)
  using Wide = std::conditional_t<sizeof(T) == 4, EightFloats, FourDoubles>;
  if (A >= Wide::kWidth) return f(VectorMax<Wide, T>{A});
#endif
#if defined(__SSE2__)
  using Narrow = std::conditional_t<sizeof(T) == 4, FourFloats, TwoDoubles>;
  if (A >= Narrow::kWidth) return f(VectorMax<Narrow, T>{A});
#endif
  f(ScalarMax<T>{A});
}

// The first of the largest, or the first NaN. Backwards and without branches: where a row's largest stands is nothing
// that a processor could guess.
template <class T, class Max>
PYAGENT_INLINE int64_t row_argmax(const T* row, const Max& max) {
  const T best = max(row);
  int64_t first = 0;
  if (best == best) {
    for (int64_t a = max.A - 1; a >= 0; --a) first = row[a] == best ? a : first;
  } else {
    while (row[first] == row[first]) ++first;
  }
  return first;
}

}  // namespace
}  // namespace pyagent

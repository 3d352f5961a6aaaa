// The largest of a row of action values, NaN where there is one, as numpy has it.
#pragma once

#include "numpy/arrays.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace pyagent {

template <class T>
T row_max_with_nan(const T* row, int64_t A) {
  T best = row[0];
  for (int64_t a = 1; a < A && best == best; ++a)
    if (!(row[a] <= best)) best = row[a];
  return best;
}

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

// The ends first, then what lies between: the last vectors overlap, so that no element is left over.
template <class Simd, class T>
PYAGENT_INLINE T vector_row_max(const T* row, int64_t A) {
  constexpr int64_t kWidth = Simd::kWidth;
  if (A < kWidth) return row_max_with_nan(row, A);
  const auto first = Simd::load(row), last = Simd::load(row + A - kWidth);
  auto best = Simd::max(first, last), nan = Simd::nan(first, last);
  for (int64_t a = kWidth; a < A - kWidth; a += kWidth) {
    const auto next = Simd::load(row + a);
    best = Simd::max(best, next);
    nan = Simd::either(nan, Simd::nan(next, next));
  }
  return __builtin_expect(Simd::any(nan), 0) ? row_max_with_nan(row, A) : Simd::largest(best);
}

PYAGENT_INLINE float row_max(const float* row, int64_t A) { return vector_row_max<FourFloats>(row, A); }
PYAGENT_INLINE double row_max(const double* row, int64_t A) { return vector_row_max<TwoDoubles>(row, A); }

#else

template <class T>
T row_max(const T* row, int64_t A) {
  return row_max_with_nan(row, A);
}

#endif

}  // namespace pyagent

// A vector of `PYAGENT_VECTOR_BYTES` bytes and the arithmetic the kernels need.
//
// Written with the compiler's vector types, so one text serves 16, 32 and 64 bytes, and a wide target can be checked on
// a machine without it (the compiler lowers it). Only the fused multiply-add needs intrinsics: contraction is switched
// off for the whole library, because a compiler that fuses differently in two instantiations would make results depend
// on how rows were grouped, and so on the number of threads.
//
// Included by targets/<isa>.cpp inside an unnamed namespace's file scope; uses no STL, so that no template compiled for
// a newer processor can be the one the linker keeps for all.
#pragma once

#include <cstddef>
#include <cstdint>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define PYAGENT_INLINE inline __attribute__((always_inline))

namespace pyagent {
namespace {

template <class T>
struct Simd;

template <>
struct Simd<float> {
  typedef float Vec __attribute__((vector_size(PYAGENT_VECTOR_BYTES)));
  typedef int32_t Int __attribute__((vector_size(PYAGENT_VECTOR_BYTES)));
  typedef float Unaligned __attribute__((vector_size(PYAGENT_VECTOR_BYTES), aligned(4), may_alias));
  static constexpr int kWidth = PYAGENT_VECTOR_BYTES / 4;
};

template <>
struct Simd<double> {
  typedef double Vec __attribute__((vector_size(PYAGENT_VECTOR_BYTES)));
  typedef int64_t Int __attribute__((vector_size(PYAGENT_VECTOR_BYTES)));
  typedef double Unaligned __attribute__((vector_size(PYAGENT_VECTOR_BYTES), aligned(8), may_alias));
  static constexpr int kWidth = PYAGENT_VECTOR_BYTES / 8;
};

template <class T>
using Vec = typename Simd<T>::Vec;

template <class T>
PYAGENT_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::Unaligned*>(p);
}

template <class T>
PYAGENT_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename Simd<T>::Unaligned*>(p) = v;
}

// Stores that leave the caches as they are, to an address on a vector's boundary; `streamed` ends a run of them.
template <class T>
PYAGENT_INLINE void stream(T* p, Vec<T> v) {
#if defined(__AVX512F__) && PYAGENT_VECTOR_BYTES == 64
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#elif defined(__AVX__) && PYAGENT_VECTOR_BYTES == 32
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#elif defined(__SSE2__) && PYAGENT_VECTOR_BYTES == 16
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)v);
#else
  store<T>(p, v);
#endif
}

PYAGENT_INLINE void streamed() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Whether any of a vector's lanes is true.
template <class T>
PYAGENT_INLINE bool any(const bool* p) {
  constexpr size_t kBytes = Simd<T>::kWidth, kHalf = kBytes > 8 ? kBytes - 8 : 0;
  uint64_t words[2] = {};
  __builtin_memcpy(words, p, kBytes - kHalf);
  __builtin_memcpy(words + 1, p + kBytes - kHalf, kHalf);
  return (words[0] | words[1]) != 0;
}

// All bits of a lane where p is true, none elsewhere.
template <class T>
PYAGENT_INLINE typename Simd<T>::Int mask_of(const bool* p) {
  alignas(64) decltype(+typename Simd<T>::Int{}[0]) lanes[Simd<T>::kWidth];
  for (int i = 0; i < Simd<T>::kWidth; ++i) lanes[i] = -static_cast<int>(p[i]);
  typename Simd<T>::Int mask;
  __builtin_memcpy(&mask, lanes, sizeof(mask));
  return mask;
}

// A count of elements known to fill every vector asked for: what is left after some are taken fills the next one too.
struct All {};
constexpr All operator-(All, int64_t) { return {}; }
constexpr All operator*(All, int64_t) { return {}; }
constexpr bool operator>(All, int64_t) { return true; }

template <class T>
PYAGENT_INLINE Vec<T> load_first(const T* p, All) {
  return load(p);
}

template <class T>
PYAGENT_INLINE void store_first(T* p, Vec<T> v, All) {
  store(p, v);
}

// The first n lanes, zeros behind them.
template <class T>
PYAGENT_INLINE Vec<T> load_first(const T* p, int64_t n) {
  if (n >= Simd<T>::kWidth) return load(p);
  alignas(64) T lanes[Simd<T>::kWidth] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load<T>(lanes);
}

template <class T>
PYAGENT_INLINE void store_first(T* p, Vec<T> v, int64_t n) {
  if (n >= Simd<T>::kWidth) return store(p, v);
  alignas(64) T lanes[Simd<T>::kWidth];
  store<T>(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

template <class T>
PYAGENT_INLINE Vec<T> broadcast(T x) {
  // x - 0 is x for every x, -0 too, so the compiler is left with a broadcast; 0 + x would be an addition.
  return x - Vec<T>{};
}

PYAGENT_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if PYAGENT_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif PYAGENT_VECTOR_BYTES == 32 && defined(__FMA__)
  return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}

PYAGENT_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if PYAGENT_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif PYAGENT_VECTOR_BYTES == 32 && defined(__FMA__)
  return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}

template <class T>
PYAGENT_INLINE T sum_lanes(Vec<T> v) {
  T sum = v[0];
  for (int i = 1; i < Simd<T>::kWidth; ++i) sum += v[i];
  return sum;
}

// The numbers of a vector's lanes.
template <class T>
PYAGENT_INLINE typename Simd<T>::Int lane_numbers() {
  typename Simd<T>::Int numbers{};
  for (int i = 0; i < Simd<T>::kWidth; ++i) numbers[i] = i;
  return numbers;
}

// Of a's elements and, behind them, b's: those that `from` numbers.
template <class T>
PYAGENT_INLINE Vec<T> permute(Vec<T> a, Vec<T> b, typename Simd<T>::Int from) {
#if defined(__clang__)
  constexpr int W = Simd<T>::kWidth;
  Vec<T> chosen{};
  for (int i = 0; i < W; ++i) chosen[i] = (from[i] & W ? b : a)[from[i] % W];
  return chosen;
#else
  return __builtin_shuffle(a, b, from);
#endif
}

// The first halves, or the second, of a and b in turns: a0 b0 a1 b1 …
template <class T, bool kSecond>
PYAGENT_INLINE Vec<T> interleave(Vec<T> a, Vec<T> b) {
  constexpr int W = Simd<T>::kWidth;
  const auto i = lane_numbers<T>();
  return permute<T>(a, b, i / 2 + i % 2 * W + (kSecond ? W / 2 : 0));
}

// A perfect shuffle of all elements turns their numbers' bits by one place, log2 W of them swap rows and columns.
template <class T>
PYAGENT_INLINE void transpose(Vec<T> (&rows)[Simd<T>::kWidth]) {
  constexpr int W = Simd<T>::kWidth;
  for (int width = W; width > 1; width /= 2) {
    Vec<T> before[W];
#pragma GCC unroll 16
    for (int i = 0; i < W; ++i) before[i] = rows[i];
#pragma GCC unroll 16
    for (int i = 0; i < W / 2; ++i) {
      rows[2 * i] = interleave<T, false>(before[i], before[i + W / 2]);
      rows[2 * i + 1] = interleave<T, true>(before[i], before[i + W / 2]);
    }
  }
}

// v[0][i] = the sum of v[i]'s lanes, for as many vectors as a vector has lanes; the others are lost.
template <class T>
PYAGENT_INLINE void sum_each(Vec<T> (&v)[Simd<T>::kWidth]) {
#pragma GCC unroll 4
  for (int half = Simd<T>::kWidth / 2; half > 0; half /= 2)
#pragma GCC unroll 16
    for (int i = 0; i < half; ++i)
      v[i] = interleave<T, false>(v[i], v[i + half]) + interleave<T, true>(v[i], v[i + half]);
}

// v[0] = the sums of every n neighbouring lanes, those of v[0], then of v[1] …, n a power of two; the others are lost.
template <class T, int n>
PYAGENT_INLINE void sum_neighbours(Vec<T> (&v)[n]) {
  const auto even = lane_numbers<T>() * 2;
#pragma GCC unroll 4
  for (int half = n / 2; half > 0; half /= 2)
#pragma GCC unroll 16
    for (int i = 0; i < half; ++i)
      v[i] = permute<T>(v[2 * i], v[2 * i + 1], even) + permute<T>(v[2 * i], v[2 * i + 1], even + 1);
}

// What exp needs of each type: log2(e), ln 2 in two parts (Cody and Waite), the number whose addition rounds to an
// integer and leaves it in the low bits with the exponent's bias on top, the range in which 2^n and 2^-n are normal
// numbers, and exp's Taylor coefficients up to rounding error on |r| <= ln2/2.
template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr float kLog2E = 1.44269504f, kLn2High = 0.693145752f, kLn2Low = 1.42860677e-6f;
  static constexpr float kRound = 12582912.0f + 127, kLowest = -87.0f, kHighest = 87.0f;
  static constexpr int kMantissaBits = 23, kTerms = 6;
  static constexpr float kTaylor[kTerms] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f};
};

template <>
struct ExpConstants<double> {
  static constexpr double kLog2E = 1.4426950408889634, kLn2High = 0.6931471803691238, kLn2Low = 1.9082149292705877e-10;
  static constexpr double kRound = 6755399441055744.0 + 1023, kLowest = -708.0, kHighest = 708.0;
  static constexpr int kMantissaBits = 52, kTerms = 12;
  static constexpr double kTaylor[kTerms] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800,
                                             1.0 / 362880,     1.0 / 40320,     1.0 / 5040,     1.0 / 720,
                                             1.0 / 120,        1.0 / 24,        1.0 / 6,        0.5};
};

// Within [low, high]; NaN stays NaN.
template <class T>
PYAGENT_INLINE Vec<T> clamp(Vec<T> x, T low, T high) {
#if PYAGENT_VECTOR_BYTES == 64 && defined(__AVX512F__)
  // One instruction each where compilers compare and blend; where an operand is NaN the result is the second.
  if constexpr (sizeof(T) == 4)
    return (Vec<T>)_mm512_maskz_max_ps(0xffff, (__m512)broadcast(low),
                                       _mm512_maskz_min_ps(0xffff, (__m512)broadcast(high), (__m512)x));
#endif
  x = x > broadcast(high) ? broadcast(high) : x;
  return x < broadcast(low) ? broadcast(low) : x;
}

// x = n ln2 + r; returns 2^n and e^r - 1, for x in a range where 2^n is a normal number; NaN passes through r.
template <class T>
PYAGENT_INLINE void exp_parts(Vec<T> x, Vec<T>& power, Vec<T>& fraction_minus_1) {
  using K = ExpConstants<T>;
  using Int = typename Simd<T>::Int;
  const Vec<T> shifted = fma(x, broadcast(K::kLog2E), broadcast(K::kRound));
  const Vec<T> n = shifted - K::kRound;
  Vec<T> r = fma(n, broadcast(-K::kLn2High), x);
  r = fma(n, broadcast(-K::kLn2Low), r);
  Vec<T> p = broadcast(K::kTaylor[0]);
#pragma GCC unroll 16
  for (int i = 1; i < K::kTerms; ++i) p = fma(p, r, broadcast(K::kTaylor[i]));
  fraction_minus_1 = fma(p * r, r, r);
  // Everything above the exponent's field is shifted out.
  power = (Vec<T>)((Int)shifted << K::kMantissaBits);
}

// e^x for x <= 0; 0 where e^x would be below about the smallest normal number.
template <class T>
PYAGENT_INLINE Vec<T> exp_nonpositive(Vec<T> x) {
  Vec<T> power, e;
  exp_parts<T>(x, power, e);
  return x < broadcast(ExpConstants<T>::kLowest) ? Vec<T>{} : fma(power, e, power);
}

template <class T>
PYAGENT_INLINE Vec<T> sigmoid(Vec<T> x) {
  Vec<T> power, e;
  exp_parts<T>(-clamp<T>(x, -ExpConstants<T>::kHighest, -ExpConstants<T>::kLowest), power, e);
  return T(1) / fma(power, e, power + T(1));
}

// tanh x = m / (m + 2) with m = e^2x - 1 = (2^n - 1) + 2^n (e^r - 1): no cancellation near 0.
template <class T>
PYAGENT_INLINE Vec<T> tanh(Vec<T> x) {
  // Beyond 20 the result is 1 to the last bit of a double; NaN passes.
  x = clamp<T>(x, T(-20), T(20));
  Vec<T> power, e;
  exp_parts<T>(x + x, power, e);
  const Vec<T> m = fma(power, e, power - T(1));
  return m / (m + T(2));
}

}  // namespace
}  // namespace pyagent

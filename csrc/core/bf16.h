// Bf16 memory as vectors: loaded as floats, stored rounded to nearest even (a NaN stays a NaN, made quiet), or loaded
// as pairs: two neighbours in k side by side in 32 bits, the first in the low half, as the products read them.
#pragma once

#include "core/dispatch.h"
#include "core/simd.h"

namespace pyagent {
namespace {

// One pair for each float of a vector.
typedef uint32_t Pairs __attribute__((vector_size(PYAGENT_VECTOR_BYTES)));
typedef uint32_t UnalignedPairs __attribute__((vector_size(PYAGENT_VECTOR_BYTES), aligned(2), may_alias));
typedef uint32_t UnalignedPair __attribute__((aligned(2), may_alias));
typedef uint16_t Halves __attribute__((vector_size(PYAGENT_VECTOR_BYTES / 2)));
typedef uint16_t UnalignedHalves __attribute__((vector_size(PYAGENT_VECTOR_BYTES / 2), aligned(2), may_alias));

constexpr int kLanes = Simd<float>::kWidth;

// Left to themselves, compilers widen halves in several steps. (The masks that keep all: gcc warns of what the
// functions without masks leave undefined.)
PYAGENT_INLINE Pairs load_halves(const Bf16* p) {
#if defined(__AVX512BW__) && PYAGENT_VECTOR_BYTES == 64
  return (Pairs)_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p)));
#elif defined(__AVX2__) && PYAGENT_VECTOR_BYTES == 32
  return (Pairs)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p)));
#else
  return __builtin_convertvector(*reinterpret_cast<const UnalignedHalves*>(p), Pairs);
#endif
}

// The upper halves of what is nearest, whatever in the lower ones.
PYAGENT_INLINE Pairs nearest_bits(Vec<float> v) {
  const Pairs bits = (Pairs)v;
  const Pairs nearest = bits + 0x7fff + ((bits >> 16) & 1), quiet = bits | 0x400000;
  return v == v ? nearest : quiet;
}

PYAGENT_INLINE Halves rounded(Vec<float> v) {
#if defined(__AVX512BF16__) && PYAGENT_VECTOR_BYTES == 64
  // Of denormals this makes zeros, as the products on the same processors do.
  return (Halves)_mm512_cvtneps_pbh((__m512)v);
#else
  return __builtin_convertvector(nearest_bits(v) >> 16, Halves);
#endif
}

PYAGENT_INLINE Pairs load_pairs(const Bf16* p) { return *reinterpret_cast<const UnalignedPairs*>(p); }

PYAGENT_INLINE void store_pairs(Bf16* p, Pairs v) { *reinterpret_cast<UnalignedPairs*>(p) = v; }

#if defined(__AVX512BW__) && PYAGENT_VECTOR_BYTES == 64

PYAGENT_INLINE uint32_t first_bits(int64_t n) {
  return static_cast<uint32_t>((uint64_t{1} << (n < 0 ? 0 : n < 32 ? n : 32)) - 1);
}

// The first n elements, zeros behind them.
PYAGENT_INLINE Pairs load_first_halves(const Bf16* p, int64_t n) {
  return (Pairs)_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_maskz_loadu_epi16(static_cast<__mmask16>(first_bits(n)), p));
}

// Pairs of the first n elements, zeros behind them.
PYAGENT_INLINE Pairs load_first_pairs(const Bf16* p, int64_t n) {
  return (Pairs)_mm512_maskz_loadu_epi16(first_bits(n), p);
}

PYAGENT_INLINE void store_first_halves(Bf16* p, Halves v, int64_t n) {
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>(first_bits(n)), (__m256i)v);
}

#else

PYAGENT_INLINE Pairs load_first_halves(const Bf16* p, int64_t n) {
  if (n >= kLanes) return load_halves(p);
  alignas(64) Bf16 lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load_halves(lanes);
}

PYAGENT_INLINE Pairs load_first_pairs(const Bf16* p, int64_t n) {
  if (n >= 2 * kLanes) return load_pairs(p);
  alignas(64) Bf16 lanes[2 * kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load_pairs(lanes);
}

PYAGENT_INLINE void store_first_halves(Bf16* p, Halves v, int64_t n) {
  alignas(64) Bf16 lanes[kLanes];
  *reinterpret_cast<UnalignedHalves*>(lanes) = v;
  for (int64_t i = 0; i < n && i < kLanes; ++i) p[i] = lanes[i];
}

#endif

PYAGENT_INLINE Vec<float> load(const Bf16* p) { return (Vec<float>)(load_halves(p) << 16); }

PYAGENT_INLINE Vec<float> load_first(const Bf16* p, int64_t n) { return (Vec<float>)(load_first_halves(p, n) << 16); }

PYAGENT_INLINE void store(Bf16* p, Vec<float> v) { *reinterpret_cast<UnalignedHalves*>(p) = rounded(v); }

PYAGENT_INLINE void store_first(Bf16* p, Vec<float> v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  store_first_halves(p, rounded(v), n);
}

PYAGENT_INLINE Vec<float> load_first(const Bf16* p, All) { return load(p); }
PYAGENT_INLINE void store_first(Bf16* p, Vec<float> v, All) { store(p, v); }

PYAGENT_INLINE Pairs broadcast_pair(const Bf16* p) { return *reinterpret_cast<const UnalignedPair*>(p) | Pairs{}; }

// The same rounding, as floats.
PYAGENT_INLINE Vec<float> nearest(Vec<float> v) {
#if defined(__AVX512BF16__) && PYAGENT_VECTOR_BYTES == 64
  return (Vec<float>)((Pairs)_mm512_maskz_cvtepu16_epi32(0xffff, (__m256i)rounded(v)) << 16);
#else
  return (Vec<float>)(nearest_bits(v) & 0xffff0000);
#endif
}

PYAGENT_INLINE Vec<float> even(Pairs x) { return (Vec<float>)(x << 16); }
PYAGENT_INLINE Vec<float> odd(Pairs x) { return (Vec<float>)(x & 0xffff0000); }

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

// sum + x_even w_even + x_odd w_odd.
PYAGENT_INLINE Vec<float> dot_pairs(Pairs x, Pairs w, Vec<float> sum) {
#if defined(__AVX512BF16__) && PYAGENT_VECTOR_BYTES == 64
  return (Vec<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)w);
#else
  return fma(odd(x), odd(w), fma(even(x), even(w), sum));
#endif
}

// x log2(e) = n + r; returns 2^n and 2^r - 1 to about 2^-12, for x in a range where 2^n is a normal number.
PYAGENT_INLINE void rough_exp_parts(Vec<float> x, float log2_e, Vec<float>& power, Vec<float>& fraction_minus_1) {
  using K = ExpConstants<float>;
  const Vec<float> shifted = fma(x, broadcast(log2_e), broadcast(K::kRound));
  const Vec<float> r = fma(x, broadcast(log2_e), K::kRound - shifted);
  // The least relative error of 2^r on |r| <= 1/2.
  const Vec<float> p = fma(fma(broadcast(0.0550086f), r, broadcast(0.2422104f)), r, broadcast(0.6932829f));
  fraction_minus_1 = p * r;
  power = (Vec<float>)((Simd<float>::Int)shifted << K::kMantissaBits);
}

PYAGENT_INLINE Vec<float> rough_inverse(Vec<float> x) {
#if PYAGENT_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (Vec<float>)_mm512_maskz_rcp14_ps(0xffff, (__m512)x);
#else
  return 1 / x;
#endif
}

// To about 2^-12, where Bf16 keeps 2^-9.
PYAGENT_INLINE Vec<float> rough_sigmoid(Vec<float> x) {
  using K = ExpConstants<float>;
  Vec<float> power, e;
  rough_exp_parts(clamp<float>(x, K::kLowest, K::kHighest), -K::kLog2E, power, e);
  return rough_inverse(fma(power, e, power + 1));
}

PYAGENT_INLINE Vec<float> rough_tanh(Vec<float> x) {
  Vec<float> power, e;
  rough_exp_parts(clamp<float>(x, -20, 20), 2 * ExpConstants<float>::kLog2E, power, e);
  const Vec<float> m = fma(power, e, power - 1);
  return m * rough_inverse(m + 2);
}

// σ and tanh of gates that are stored as T.
template <class T>
PYAGENT_INLINE Vec<Real<T>> gate_sigmoid(Vec<Real<T>> x) {
  if constexpr (sizeof(T) == sizeof(Bf16))
    return rough_sigmoid(x);
  else
    return sigmoid<T>(x);
}

template <class T>
PYAGENT_INLINE Vec<Real<T>> gate_tanh(Vec<Real<T>> x) {
  if constexpr (sizeof(T) == sizeof(Bf16))
    return rough_tanh(x);
  else
    return tanh<T>(x);
}

}  // namespace
}  // namespace pyagent

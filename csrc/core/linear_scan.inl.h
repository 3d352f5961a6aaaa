// The returns that are one linear recursion backwards in time, x_t = a_t + b_t x_{t+1}, each lane for itself: one pass
// over the inputs, in which a formula makes the step of what it reads, and nothing but results is written.
//
// A block of lanes goes through all steps before the next: its rows are 4 KB, so that memory is read a page at a time
// while the carry stays in L1. Lanes behind the last whole vector are scalars of the same formula; no multiplication is
// fused with an addition, so that they have the bits of a vector's.
#pragma once

#include "core/dispatch.h"
#include "core/simd.h"

namespace pyagent {
namespace {

template <class T>
constexpr int64_t kBlockLanes = 4096 / sizeof(T);

// Starts to read what stands `elements` before p, which may be outside of the array.
template <class T>
PYAGENT_INLINE void fetch_before(const T* p, int64_t elements) {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) - elements * sizeof(T)));
}

// Where a vector of lanes, or a single one, stands: at `index` of an array [T, B], at `in_block` of a row of its block.
// kStream: inputs are fetched a step ahead, and results go past the caches.
template <class T_, class Value_, bool kStream>
struct Place {
  using T = T_;
  using Value = Value_;
  static constexpr bool kScalar = sizeof(Value) == sizeof(T);
  int64_t index, in_block, B;

  // Of an array [T, B], which is read once.
  PYAGENT_INLINE Value operator()(const T* x) const {
    const T* here = x + index;
    if constexpr (kStream) fetch_before(here, B);
    return get(here);
  }
  PYAGENT_INLINE Place later(int64_t steps) const { return {index + steps * B, in_block, B}; }
  PYAGENT_INLINE Value after(const T* x) const { return get(x + index + B); }  // of an array [T + 1, B]
  PYAGENT_INLINE Value of_block(const T* row) const { return get(row + in_block); }
  PYAGENT_INLINE void put(T* x, Value value) const {
    if constexpr (kStream && !kScalar)
      stream<T>(x + index, value);
    else
      set(x + index, value);
  }
  PYAGENT_INLINE Value result(const T* x) const { return get(x + index); }
  PYAGENT_INLINE void put_in_block(T* row, Value value) const { set(row + in_block, value); }

  // f(mask) unless x is false everywhere.
  template <class F>
  PYAGENT_INLINE void where(const bool* x, const F& f) const {
    if constexpr (kScalar) {
      if (x[index]) f(true);
    } else {
      if (any<T>(x + index)) f(mask_of<T>(x + index));
    }
  }

 private:
  static PYAGENT_INLINE Value get(const T* p) {
    if constexpr (kScalar)
      return *p;
    else
      return load(p);
  }
  static PYAGENT_INLINE void set(T* p, Value value) {
    if constexpr (kScalar)
      *p = value;
    else
      store<T>(p, value);
  }
};

// f(place) for every vector of a row of `count` lanes that starts at `index`, then for every lane left.
template <class T, bool kStream, class F>
PYAGENT_INLINE void over_row(int64_t index, int64_t count, int64_t B, const F& f) {
  constexpr int64_t W = Simd<T>::kWidth;
  int64_t b = 0;
  for (; b + W <= count; b += W) f(Place<T, Vec<T>, kStream>{index + b, b, B});
  for (; b < count; ++b) f(Place<T, T, kStream>{index + b, b, B});
}

// f(first, count) for every block of `lanes` lanes.
template <class F>
PYAGENT_INLINE void over_blocks(int64_t b_begin, int64_t b_end, int64_t lanes, const F& f) {
  for (int64_t first = b_begin; first < b_end; first += lanes) f(first, b_end - first < lanes ? b_end - first : lanes);
}

template <class Value>
struct Step {
  Value r, discount;
};

// A step as the recursion sees it; final_value() is what the final observation of a truncated one is worth.
template <class L, class F>
PYAGENT_INLINE Step<typename L::Value> step_of(const ReturnArgs<typename L::T>& p, const L& at, const F& final_value) {
  using Value = typename L::Value;
  Step<Value> step = {at(p.r_t), at(p.discount_t)};
  if (p.truncated)
    at.where(p.truncated, [&](auto truncated) {
      step.r = truncated ? step.r + step.discount * final_value() : step.r;
      step.discount = truncated ? Value{} : step.discount;
    });
  return step;
}

// Results that the caches cannot hold go past them, where every row of theirs starts on a vector's boundary.
template <class T>
bool streams(const ReturnArgs<T>& p, int64_t b_begin) {
  constexpr uint64_t kTooLarge = uint64_t{8} << 20;
  const uint64_t row = p.B * sizeof(T), first = b_begin * sizeof(T);
  const uint64_t addresses = reinterpret_cast<uintptr_t>(p.out) | reinterpret_cast<uintptr_t>(p.pg_advantages);
  return p.T_ * row >= kTooLarge && (addresses | row | first) % PYAGENT_VECTOR_BYTES == 0;
}

template <bool kStream, class Formula>
void scan_blocks(Formula& formula, int64_t b_begin, int64_t b_end) {
  using T = typename Formula::T;
  alignas(64) T carry[Formula::kLanes];
  const auto& p = formula.p;
  over_blocks(b_begin, b_end, Formula::kLanes, [&](int64_t first, int64_t count) {
    for (int64_t b = 0; b < count; ++b) carry[b] = formula.last(first + b);
    for (int64_t t = p.T_ - 1; t >= 0; --t) {
      formula.begin_row(t, first, count);
      over_row<T, kStream>(t * p.B + first, count, p.B, [&](const auto& at) {
        const auto step = step_of(p, at, [&] { return formula.final_value(at); });
        at.put_in_block(carry, formula(at, step.r, step.discount, at.of_block(carry)));
      });
    }
  });
  if constexpr (kStream) streamed();
}

template <class Formula>
void linear_scan(const typename Formula::Args& p, int64_t b_begin, int64_t b_end) {
  Formula formula{p};
  if (p.T_ == 0) return;
  if (streams(p, b_begin))
    scan_blocks<true>(formula, b_begin, b_end);
  else
    scan_blocks<false>(formula, b_begin, b_end);
}

// What most formulas share: a carry that starts from 0, rewards and discounts of their own, and no work a row.
template <class Args_, class T_>
struct Formula {
  using Args = Args_;
  using T = T_;
  static constexpr int64_t kLanes = kBlockLanes<T>;  // of a block
  const Args& p;

  T last(int64_t) const { return 0; }
  void begin_row(int64_t, int64_t, int64_t) const {}
  template <class L>
  PYAGENT_INLINE auto final_value(const L& at) const {
    return at(p.v_final);
  }
};

template <class T>
struct DiscountedReturns : Formula<DiscountedReturnsArgs<T>, T> {
  T last(int64_t b) const { return this->p.v_T[b]; }

  template <class L, class V>
  PYAGENT_INLINE V operator()(const L& at, V r, V discount, V next) const {
    const V g = r + discount * next;
    at.put(this->p.out, g);
    return g;
  }
};

template <class T>
struct LambdaReturns : Formula<LambdaReturnsArgs<T>, T> {
  T last(int64_t b) const { return this->p.v_t[(this->p.T_ - 1) * this->p.B + b]; }

  template <class L, class V>
  PYAGENT_INLINE V operator()(const L& at, V r, V discount, V next) const {
    const auto& p = this->p;
    const V g = r + discount * ((1 - p.lambda) * at(p.v_t) + p.lambda * next);
    at.put(p.out, g);
    return g;
  }
};

template <class T>
struct Gae : Formula<GaeArgs<T>, T> {
  template <class L, class V>
  PYAGENT_INLINE V operator()(const L& at, V r, V discount, V next) const {
    const auto& p = this->p;
    const V advantage = r + discount * at.after(p.v) - at(p.v) + discount * p.lambda * next;
    at.put(p.out, advantage);
    return advantage;
  }
};

// min(x, bound); NaN stays NaN.
template <class V, class T>
PYAGENT_INLINE V at_most(V x, T bound) {
  const V most = V{} + bound;
  return x > most ? most : x;
}

// The carry is vs_{t+1} - v_{t+1}.
template <class T>
struct Vtrace : Formula<VtraceArgs<T>, T> {
  template <class L, class V>
  PYAGENT_INLINE V operator()(const L& at, V r, V discount, V next) const {
    const auto& p = this->p;
    const V v_tm1 = at(p.v), v_t = at.after(p.v), rho = at(p.rho_tm1);
    const V delta = r + discount * v_t - v_tm1;
    const V correction = at_most(rho, p.clip_rho) * delta + discount * p.lambda * at_most(rho, T(1)) * next;
    at.put(p.out, v_tm1 + correction);
    at.put(p.pg_advantages, at_most(rho, p.clip_pg_rho) * (delta + discount * next));
    return correction;
  }
};

}  // namespace
}  // namespace pyagent

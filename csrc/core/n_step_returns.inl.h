// Returns over windows of n steps. A window of all steps is one scan. Short windows are each gone through from their
// end to their beginning, while their rows are in L1. Others cost the same for every n:
//
// A step k is the map x -> r_k + discount_k x, and a window the composition of its steps' maps, applied to the value
// after its last. With steps in blocks of n, a window is a part of a block, from some step to the block's end, and the
// next block's first steps. Going forwards through the next block gives the return of every number of its first steps;
// going backwards through the block composes it from each of its steps to its end.
#pragma once

#include "core/linear_scan.inl.h"

namespace pyagent {
namespace {

template <class T, class P>
PYAGENT_INLINE auto n_step_of(const NStepReturnsArgs<T>& p, const P& at) {
  return step_of(p, at, [&] { return at(p.v_t); });
}

template <bool kStream, class T>
void short_windows(const NStepReturnsArgs<T>& p, int64_t b_begin, int64_t b_end) {
  over_blocks(b_begin, b_end, kBlockLanes<T>, [&](int64_t first, int64_t count) {
    for (int64_t t = p.T_ - 1; t >= 0; --t)
      over_row<T, kStream>(t * p.B + first, count, p.B, [&](const auto& place) {
        const int64_t steps = p.T_ - t < p.n ? p.T_ - t : p.n;
        auto at = place.later(steps - 1);
        auto g = at(p.v_t);
        for (int64_t k = 0; k < steps; ++k, at = at.later(-1)) {
          const auto step = n_step_of(p, at);
          g = step.r + step.discount * g;
        }
        place.put(p.out, g);
      });
  });
  if constexpr (kStream) streamed();
}

// Steps [t_begin, t_end) of the lanes at `place`, which stands at t_begin.
template <class T, class P>
PYAGENT_INLINE void n_step_block(const NStepReturnsArgs<T>& p, const P& place, int64_t t_begin, int64_t t_end) {
  using V = typename P::Value;
  // out[t_begin + j] = the return of the next block's first j steps: of none, the value before it.
  const int64_t more = p.T_ - t_end < p.n - 1 ? p.T_ - t_end : p.n - 1;
  const P last = place.later(t_end - t_begin - 1);
  V rest = last(p.v_t), r{}, discount = V{} + T(1);
  place.put(p.out, rest);
  for (int64_t j = 1; j <= more; ++j) {
    const P at = last.later(j);
    const auto step = n_step_of(p, at);
    r += discount * step.r, discount *= step.discount;
    rest = r + discount * at(p.v_t);
    place.later(j).put(p.out, rest);
  }
  r = V{}, discount = V{} + T(1);
  for (int64_t j = t_end - t_begin - 1; j >= 0; --j) {
    const P at = place.later(j);
    if (j < more) rest = at.result(p.out);  // else the end of the sequence cuts the window
    const auto step = n_step_of(p, at);
    r = step.r + step.discount * r, discount *= step.discount;
    at.put(p.out, r + discount * rest);
  }
}

template <class T>
void long_windows(const NStepReturnsArgs<T>& p, int64_t b_begin, int64_t b_end) {
  // Two blocks of steps, of four arrays, stay in L2.
  constexpr int64_t kLine = 64 / sizeof(T), kLines = (int64_t{384} << 10) / 64 / 8;
  const int64_t lines = kLines / p.n, lanes = kLine * (lines < 1 ? 1 : lines);
  over_blocks(b_begin, b_end, lanes, [&](int64_t first, int64_t count) {
    for (int64_t t = (p.T_ - 1) / p.n * p.n; t >= 0; t -= p.n)
      over_row<T, false>(t * p.B + first, count, p.B,
                         [&](const auto& place) { n_step_block(p, place, t, p.T_ - t < p.n ? p.T_ : t + p.n); });
  });
}

template <class T>
void n_step_returns(const NStepReturnsArgs<T>& p, int64_t b_begin, int64_t b_end) {
  constexpr int64_t kShort = 5;
  if (p.T_ == 0) return;
  if (p.n >= p.T_) return linear_scan<DiscountedReturns<T>>({p, p.v_t + (p.T_ - 1) * p.B}, b_begin, b_end);
  if (p.n > kShort) return long_windows(p, b_begin, b_end);
  if (streams(p, b_begin))
    short_windows<true>(p, b_begin, b_end);
  else
    short_windows<false>(p, b_begin, b_end);
}

}  // namespace
}  // namespace pyagent

// The hyperbolic tangent of whole arrays, and its gradient from what it gave.
#pragma once

#include "core/bf16.h"

namespace pyagent {
namespace {

template <class T>
void tanh_of(T* values, int64_t count) {
  constexpr int64_t W = Simd<Real<T>>::kWidth;
  const auto take = [&](int64_t i, auto n) { store_first(values + i, gate_tanh<T>(load_first(values + i, n)), n); };
  int64_t i = 0;
  for (; i + W <= count; i += W) take(i, All{});
  if (i < count) take(i, count - i);
}

template <class T>
void tanh_gradient(const T* grad, const T* tanh, int64_t count, T* out) {
  constexpr int64_t W = Simd<Real<T>>::kWidth;
  const auto take = [&](int64_t i, auto n) {
    const Vec<Real<T>> y = load_first(tanh + i, n);
    store_first(out + i, load_first(grad + i, n) * (Real<T>(1) - y * y), n);
  };
  int64_t i = 0;
  for (; i + W <= count; i += W) take(i, All{});
  if (i < count) take(i, count - i);
}

}  // namespace
}  // namespace pyagent

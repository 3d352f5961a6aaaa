// Floats as sums of two Bf16, so that a product of floats is one of Bf16, three times as deep:
//   x y = high(x) high(y) + high(x) low(y) + low(x) high(y), to about 2^-16 of |x| |y|.
//
// The first operand is written as (high, high, low) along k, the second as (high, low, high).
#pragma once

#include "core/bf16.h"
#include "core/dispatch.h"
#include "core/matmul.inl.h"

namespace pyagent {
namespace {

void split(const MatrixRows<float>& x, int64_t rows, int64_t columns, bool k_outside, bool second, Bf16* to,
           int64_t r_begin, int64_t r_end) {
  const int64_t step = k_outside ? rows * columns : columns;
  for (int64_t r = r_begin; r < r_end; ++r) {
    const float* from = row_of(x, r);
    Bf16* const first_part = to + (k_outside ? r : 3 * r) * columns;
    Bf16* const high_again = first_part + (second ? 2 : 1) * step;
    Bf16* const low = first_part + (second ? 1 : 2) * step;
    for (int64_t c = 0; c < columns; c += kLanes) {
      const Vec<float> v = load_first(from + c, columns - c);
      store_first(first_part + c, v, columns - c);
      const Vec<float> high = load_first(first_part + c, columns - c);
      // Infinity and NaN are in the first product alone: infinity times a low part of zero would be a NaN.
      const auto finite = high - high == Vec<float>{};
      store_first(high_again + c, finite ? high : Vec<float>{}, columns - c);
      store_first(low + c, finite ? v - high : Vec<float>{}, columns - c);
    }
  }
}

}  // namespace
}  // namespace pyagent

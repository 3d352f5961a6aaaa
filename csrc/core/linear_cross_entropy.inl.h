// Softmax over the rows of a block of logits stored class by class: [rows][columns], one column a position.
//
// Columns are independent of each other, so a vector of them goes down the rows together and nothing is ever summed
// across lanes. A block is exponentiated against its own largest logits, while it is in cache; what makes the blocks of
// a column one softmax is a factor a block and column.
#pragma once

#include "core/dispatch.h"
#include "core/simd.h"

namespace pyagent {
namespace {

// Columns [first, first + count) of one vector.
template <class T>
PYAGENT_INLINE void exponentiate_columns(const SoftmaxBlock<T>& p, int64_t first, int64_t count) {
  const Vec<T> infinity = broadcast(T(__builtin_inf()));
  const auto logit = [&](int64_t row) {
    const Vec<T> z = load_first<T>(p.values + row * p.stride + first, count);
    return p.bias ? z + p.bias[row] : z;
  };
  Vec<T> largest = -infinity;
  for (int64_t row = 0; row < p.rows; ++row) {
    const Vec<T> z = logit(row);
    largest = z > largest ? z : largest;
  }
  // So that a column of -inf alone is exp(-inf) = 0, not inf - inf.
  const Vec<T> reference = largest == -infinity ? Vec<T>{} : largest;
  Vec<T> sum{};
  for (int64_t row = 0; row < p.rows; ++row) {
    const Vec<T> e = exp_nonpositive<T>(logit(row) - reference);
    sum += e;
    store_first<T>(p.values + row * p.stride + first, e, count);
  }
  store_first<T>(p.largest + first, largest, count);
  store_first<T>(p.sum + first, sum, count);
}

// values[row, column] = exp(values + bias[row] - largest[column]), with the sums over rows.
template <class T>
void exponentiate(const SoftmaxBlock<T>& p) {
  constexpr int64_t W = Simd<T>::kWidth;
  int64_t first = 0;
  for (; first + W <= p.columns; first += W) exponentiate_columns(p, first, W);
  if (first < p.columns) exponentiate_columns(p, first, p.columns - first);
}

// values[row, column] *= factor[column]; row_sum[row] += the products, where it is given.
template <class T>
void scale_columns(const SoftmaxBlock<T>& p, const T* factor, T* row_sum) {
  constexpr int64_t W = Simd<T>::kWidth;
  for (int64_t row = 0; row < p.rows; ++row) {
    T* values = p.values + row * p.stride;
    Vec<T> sum{};
    for (int64_t first = 0; first < p.columns; first += W) {
      const int64_t count = p.columns - first;
      const Vec<T> product = load_first<T>(values + first, count) * load_first<T>(factor + first, count);
      sum += product;
      store_first<T>(values + first, product, count);
    }
    if (row_sum) row_sum[row] += sum_lanes<T>(sum);
  }
}

}  // namespace
}  // namespace pyagent

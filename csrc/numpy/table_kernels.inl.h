// Every body, and the table that names them. Included once by each targets/<isa>.cpp.
#pragma once

#include "numpy/row_max.inl.h"

namespace pyagent {
namespace {

template <bool kColumns>
PYAGENT_INLINE bool find_places(const PlaceArgs& x) {
  const uint32_t width = static_cast<uint32_t>(x.columns);
  const uint32_t last_row = static_cast<uint32_t>(x.rows - 1), last_column = width - 1;
  uint64_t all = 0;
  uint32_t beyond = 0;  // its sign bit is set by a difference to what is too large
  for (int64_t i = 0; i < x.N; ++i) {
    const uint64_t row = static_cast<uint64_t>(x.row[i]), column = kColumns ? static_cast<uint64_t>(x.column[i]) : 0;
    all |= row | column;
    beyond |= (last_row - static_cast<uint32_t>(row)) | (last_column - static_cast<uint32_t>(column));
    x.out[i] = static_cast<uint32_t>(row) * width + static_cast<uint32_t>(column);
  }
  return all >> 31 == 0 && beyond >> 31 == 0;
}

bool places(const PlaceArgs& x) { return x.column ? find_places<true>(x) : find_places<false>(x); }

// Every transition in order, so that one sees what those before it wrote:
// q[at] += alpha (reward + discount value - q[at]), rounded after every operation, as numpy does. `value(i, next)` is
// what follows the i-th transition, `table(i)` where it is learned.
template <class T, class Value, class Where>
PYAGENT_INLINE void update_in_order(const Table<T>& q, const Batch<T>& x, const Value& value, const Where& table) {
  // Rows of a table larger than the second cache are asked for before their turn.
  constexpr int64_t kSecondCache = 1 << 20, kAhead = 16, kLine = 64 / sizeof(T);
  const int64_t asking = q.S * q.A * static_cast<int64_t>(sizeof(T)) > kSecondCache ? x.N - kAhead : 0;
  for (int64_t i = 0; i < x.N; ++i) {
    if (i < asking) {
      __builtin_prefetch(q.data + x.at[i + kAhead], 1);
      for (int64_t a = 0; a < q.A; a += kLine) __builtin_prefetch(q.data + x.next[i + kAhead] + a);
    }
    const T target = x.reward[i] + x.discount[i] * value(i, x.next[i]);
    T* const cell = table(i) + x.at[i];
    *cell = *cell + x.alpha[i] * (target - *cell);
  }
}

template <class T, class Value>
PYAGENT_INLINE void update_in_order(const Table<T>& q, const Batch<T>& x, const Value& value) {
  update_in_order(q, x, value, [data = q.data](int64_t) { return data; });
}

template <class T>
void q(const Table<T>& q, const Batch<T>& x) {
  with_row_max<T>(q.A, [&](const auto& max) {
    update_in_order(q, x, [data = q.data, max](int64_t, uint32_t next) { return max(data + next); });
  });
}

template <class T>
void sarsa(const Table<T>& q, const Batch<T>& x) {
  update_in_order(q, x, [data = q.data](int64_t, uint32_t next) { return data[next]; });
}

template <class T>
void expected_sarsa(const Table<T>& q, const Batch<T>& x, const T* probability) {
  update_in_order(q, x, [data = q.data, A = q.A, probability](int64_t i, uint32_t next) {
    const T *value = data + next, *chance = probability + i * A;
    T sum = chance[0] * value[0];
    for (int64_t a = 1; a < A; ++a) sum += chance[a] * value[a];
    return sum;
  });
}

template <class T>
void double_q(const Table<T>& q, const Batch<T>& x, T* other, const bool* update_first) {
  with_row_max<T>(q.A, [&](const auto& max) {
    update_in_order(
        q, x,
        [=, data = q.data](int64_t i, uint32_t next) {
          const T* const chooses = update_first[i] ? data : other;
          const T* const values = update_first[i] ? other : data;
          return values[next + row_argmax(chooses + next, max)];
        },
        [=, data = q.data](int64_t i) { return update_first[i] ? data : other; });
  });
}

template <class T>
constexpr TableKernels<T> table_kernels_of() {
  return {q<T>, sarsa<T>, expected_sarsa<T>, double_q<T>};
}

constexpr TableTarget table_target_of() { return {places, table_kernels_of<float>(), table_kernels_of<double>()}; }

}  // namespace
}  // namespace pyagent

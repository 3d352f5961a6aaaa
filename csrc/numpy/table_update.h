// What all updates of a table of action values share: the arguments, and the loop over a batch in order
// (pyagent/ops/q_update.py has the maths).
#pragma once

#include <type_traits>

#include "numpy/arrays.h"

namespace pyagent {

// [S, A], written in place.
template <class T>
struct Table {
  T* data = nullptr;
  int64_t S = 0, A = 0;

  bool take(Object object) {
    data = array_data<T>(object, {-1, -1}, true);
    if (data == nullptr) return false;
    S = size_of(object, 0), A = size_of(object, 1);
    return S * A <= Places::kMost;
  }
};

// f(table), of float or double; or false.
template <class F>
bool with_table(Object q_table, const F& f) {
  Table<float> floats;
  if (floats.take(q_table)) return f(floats);
  Table<double> doubles;
  return doubles.take(q_table) && f(doubles);
}

struct TransitionArguments {
  Object state, action, reward, next_state, discount, alpha;
};

// N transitions. `take` needs Python's lock; what checks the indices does not.
template <class T>
struct Transitions {
  int64_t N = 0;
  const int64_t *state = nullptr, *action = nullptr, *next_state = nullptr;
  const T* reward = nullptr;
  Series<T> discount, alpha;
  Places at, next;

  bool take(const TransitionArguments& arguments) {
    reward = array_data<T>(arguments.reward, {-1});
    if (reward == nullptr) return false;
    N = size_of(arguments.reward, 0);
    state = array_data<int64_t>(arguments.state, {N});
    action = array_data<int64_t>(arguments.action, {N});
    next_state = array_data<int64_t>(arguments.next_state, {N});
    return state && action && next_state && discount.take(arguments.discount, N) && alpha.take(arguments.alpha, N);
  }
  // What follows is a row of the table.
  PYAGENT_INLINE bool check(const Table<T>& q) {
    return at.take(state, action, N, q.S, q.A) && next.take(next_state, N, q.S, q.A);
  }
  // What follows is an entry of the table.
  PYAGENT_INLINE bool check(const Table<T>& q, const int64_t* next_action) {
    return at.take(state, action, N, q.S, q.A) && next.take(next_state, next_action, N, q.S, q.A);
  }
};

// The type of a table's numbers.
template <class Table>
using RealOf = std::remove_pointer_t<decltype(std::declval<Table>().data)>;

// q += alpha (r + discount value - q), rounded after every operation, as numpy does.
template <class T>
PYAGENT_INLINE void move_towards(T* q, T reward, T discount, T value, T alpha) {
  const T target = reward + discount * value;
  *q = *q + alpha * (target - *q);
}

// Every transition in order, so that one sees what those before it wrote. `value(i, next)` is what follows the i-th,
// `table(i)` where it is learned.
template <class T, class Value, class Where>
PYAGENT_INLINE void update_in_order(const Table<T>& q, const Transitions<T>& step, const Value& value,
                                    const Where& table) {
  const uint32_t *at = step.at.get(), *next = step.next.get();
  const T *reward = step.reward, *discount = step.discount.get(), *alpha = step.alpha.get();
  // Rows of a table larger than the second cache are asked for before their turn.
  constexpr int64_t kSecondCache = 1 << 20, kAhead = 16, kLine = 64 / sizeof(T);
  const int64_t asking = q.S * q.A * static_cast<int64_t>(sizeof(T)) > kSecondCache ? step.N - kAhead : 0;
  for (int64_t i = 0; i < step.N; ++i) {
    if (i < asking) {
      __builtin_prefetch(q.data + at[i + kAhead], 1);
      for (int64_t a = 0; a < q.A; a += kLine) __builtin_prefetch(q.data + next[i + kAhead] + a);
    }
    move_towards(table(i) + at[i], reward[i], discount[i], value(i, next[i]), alpha[i]);
  }
}

template <class T, class Value>
PYAGENT_INLINE void update_in_order(const Table<T>& q, const Transitions<T>& step, const Value& value) {
  T* const data = q.data;
  update_in_order(q, step, value, [data](int64_t) PYAGENT_ALWAYS_INLINE { return data; });
}

}  // namespace pyagent

// What all updates of a table of action values share: their arguments (pyagent/ops/q_update.py has the maths).
#pragma once

#include <memory>

#include "numpy/arrays.h"
#include "numpy/module.h"
#include "numpy/table_kernels.h"

namespace pyagent {

inline const TableKernels<float>& table_kernels(float) { return table_target().f32; }
inline const TableKernels<double>& table_kernels(double) { return table_target().f64; }

// f(table, 0 of its type), of float or double; or false.
template <class F>
bool with_table(Object q_table, const F& f) {
  const auto take = [&](auto zero) {
    Table<decltype(zero)> table;
    table.data = array_data<decltype(zero)>(q_table, {-1, -1}, true);
    if (table.data) table.S = size_of(q_table, 0), table.A = size_of(q_table, 1);
    return table;
  };
  const auto fits = [](const auto& table) { return table.data && table.S * table.A <= kMostEntries; };
  if (const auto floats = take(float{}); fits(floats)) return f(floats, float{});
  const auto doubles = take(double{});
  return fits(doubles) && f(doubles, double{});
}

// Places in a table, from indices that are checked. They are copies, so that what was checked is what is used, whatever
// other threads do to the caller's arrays meanwhile; and half as wide, so that a batch takes less of the first cache.
class Places {
 public:
  // Those of (row[i], column[i]), or of (row[i], 0) without columns. False where one is outside of the table.
  template <class T>
  bool take(const int64_t* row, const int64_t* column, int64_t N, const Table<T>& table) {
    places_.reset(new uint32_t[static_cast<size_t>(N)]);
    return table_target().places({row, column, N, table.S, table.A, places_.get()});
  }
  const uint32_t* get() const { return places_.get(); }

 private:
  std::unique_ptr<uint32_t[]> places_;
};

struct TransitionArguments {
  Object state, action, reward, next_state, discount, alpha;
};

// `take` needs Python's lock; `check` does not.
template <class T>
class Transitions {
 public:
  bool take(const TransitionArguments& arguments) {
    reward_ = array_data<T>(arguments.reward, {-1});
    if (reward_ == nullptr) return false;
    N = size_of(arguments.reward, 0);
    state = array_data<int64_t>(arguments.state, {N});
    action = array_data<int64_t>(arguments.action, {N});
    next_state = array_data<int64_t>(arguments.next_state, {N});
    return state && action && next_state && discount_.take(arguments.discount, N) && alpha_.take(arguments.alpha, N);
  }
  // What follows is the entry of the next action, or without one the row of the next state.
  bool check(const Table<T>& q, const int64_t* next_action = nullptr) {
    return at_.take(state, action, N, q) && next_.take(next_state, next_action, N, q);
  }
  Batch<T> batch() const { return {N, at_.get(), next_.get(), reward_, discount_.get(), alpha_.get()}; }

  int64_t N = 0;
  const int64_t *state = nullptr, *action = nullptr, *next_state = nullptr;

 private:
  const T* reward_ = nullptr;
  Series<T> discount_, alpha_;
  Places at_, next_;
};

}  // namespace pyagent

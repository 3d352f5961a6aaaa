// Watkins's Q(lambda) on numpy arrays (pyagent/ops/q_lambda_update.py has the maths and the shapes).
#include <vector>

#include "numpy/row_max.inl.h"
#include "numpy/table_update.h"

namespace pyagent {
namespace {

// The pairs of a trace that is not 0, so that a step costs what was visited and not what could be.
template <class T>
class Trace {
 public:
  // Room for all pairs at once: nothing may fail after the first write.
  Trace(int64_t pairs, bool replacing) : pairs_(pairs), replacing_(replacing) {
    visited_.reserve(static_cast<size_t>(pairs));
  }
  void follow(T* trace) {
    trace_ = trace;
    visited_.clear();
    for (int64_t pair = 0; pair < pairs_; ++pair)
      if (trace[pair] != 0) visited_.push_back(static_cast<uint32_t>(pair));
  }
  void visit(uint32_t pair) {
    if (trace_[pair] == 0) visited_.push_back(pair);
    trace_[pair] = replacing_ ? 1 : trace_[pair] + 1;
  }
  // q += step * trace, then trace *= decay; or trace = 0.
  void spread(T* q, T step, T decay, bool cut) {
    size_t kept = 0;
    for (const uint32_t pair : visited_) {
      q[pair] = q[pair] + step * trace_[pair];
      trace_[pair] = cut ? 0 : trace_[pair] * decay;
      if (trace_[pair] != 0) visited_[kept++] = pair;
    }
    visited_.resize(kept);
  }

 private:
  int64_t pairs_;
  bool replacing_;
  T* trace_ = nullptr;
  std::vector<uint32_t> visited_;
};

// One trace for all transitions, or one for each.
template <class T>
void learn_in_order(const Table<T>& q, const Batch<T>& x, const uint32_t* next_taken, const T* lambda, T* traces,
                    bool own_trace, Trace<T>& trace) {
  const ScalarMax<T> largest{q.A};  // spreading takes longer
  for (int64_t i = 0; i < x.N; ++i) {
    if (i == 0 || own_trace) trace.follow(traces + (own_trace ? i * q.S * q.A : 0));
    const T best = largest(q.data + x.next[i]);
    const T delta = x.reward[i] + x.discount[i] * best - q.data[x.at[i]];
    const bool greedy = q.data[next_taken[i]] == best;
    trace.visit(x.at[i]);
    trace.spread(q.data, x.alpha[i] * delta, x.discount[i] * lambda[i], !greedy);
  }
}

bool q_lambda_update(Object q_table, Object trace, Object state, Object action, Object reward, Object next_state,
                     Object next_action, Object discount, Object alpha, Object lambda, bool replacing) {
  return with_table(q_table, [&](const auto& q, auto zero) {
    using Real = decltype(zero);
    Transitions<Real> step;
    Series<Real> lambdas;
    if (!step.take({state, action, reward, next_state, discount, alpha}) || !lambdas.take(lambda, step.N)) return false;
    const int64_t* const taken_next = array_data<int64_t>(next_action, {step.N});
    Real* const one = array_data<Real>(trace, {q.S, q.A}, true);
    Real* const each = array_data<Real>(trace, {step.N, q.S, q.A}, true);
    if (taken_next == nullptr || (one == nullptr && each == nullptr)) return false;
    py::gil_scoped_release release;
    Places next_taken;
    if (!step.check(q) || !next_taken.take(step.next_state, taken_next, step.N, q)) return false;
    Trace<Real> visited(q.S * q.A, replacing);
    learn_in_order(q, step.batch(), next_taken.get(), lambdas.get(), one ? one : each, one == nullptr, visited);
    return true;
  });
}

}  // namespace

void register_q_lambda_update(py::module_& m) { m.def("q_lambda_update", &q_lambda_update); }

}  // namespace pyagent

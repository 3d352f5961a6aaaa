// Double Q-learning on numpy arrays (pyagent/ops/double_q_update.py has the maths and the shapes).
#include "numpy/module.h"
#include "numpy/row_max.h"
#include "numpy/table_update.h"

namespace pyagent {
namespace {

// The first of the largest, or the first NaN, as numpy has it. Backwards and without branches: where a row's largest
// stands is nothing that a processor could guess.
template <class T>
PYAGENT_INLINE int64_t row_argmax(const T* row, int64_t A) {
  const T best = row_max(row, A);
  int64_t first = 0;
  if (best == best) {
    for (int64_t a = A - 1; a >= 0; --a) first = row[a] == best ? a : first;
  } else {
    while (row[first] == row[first]) ++first;
  }
  return first;
}

bool double_q_update(Object q_a, Object q_b, Object update_a, Object state, Object action, Object reward,
                     Object next_state, Object discount, Object alpha) {
  return with_table(q_a, [&](const auto& q) {
    using Real = RealOf<decltype(q)>;
    Transitions<Real> step;
    if (!step.take({state, action, reward, next_state, discount, alpha})) return false;
    Real* const other = array_data<Real>(q_b, {q.S, q.A}, true);
    const bool* const first = array_data<bool>(update_a, {step.N});
    if (other == nullptr || first == nullptr) return false;
    py::gil_scoped_release release;
    return on_this_processor([&]() PYAGENT_ALWAYS_INLINE {
      if (!step.check(q)) return false;
      Real* const data = q.data;
      const int64_t A = q.A;
      update_in_order(
          q, step,
          [data, other, first, A](int64_t i, uint32_t next) PYAGENT_ALWAYS_INLINE {
            const Real* const chooses = first[i] ? data : other;
            const Real* const values = first[i] ? other : data;
            return values[next + row_argmax(chooses + next, A)];
          },
          [data, other, first](int64_t i) PYAGENT_ALWAYS_INLINE { return first[i] ? data : other; });
      return true;
    });
  });
}

}  // namespace

void register_double_q_update(py::module_& m) { m.def("double_q_update", &double_q_update); }

}  // namespace pyagent

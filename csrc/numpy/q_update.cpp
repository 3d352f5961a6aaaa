// Tabular Q-learning on numpy arrays (pyagent/ops/q_update.py has the maths and the shapes).
#include "numpy/table_update.h"

namespace pyagent {
namespace {

bool q_update(Object q_table, Object state, Object action, Object reward, Object next_state, Object discount,
              Object alpha) {
  return with_table(q_table, [&](const auto& q, auto zero) {
    Transitions<decltype(zero)> step;
    if (!step.take({state, action, reward, next_state, discount, alpha})) return false;
    py::gil_scoped_release release;
    if (!step.check(q)) return false;
    table_kernels(zero).q(q, step.batch());
    return true;
  });
}

}  // namespace

void register_q_update(py::module_& m) { m.def("q_update", &q_update); }

}  // namespace pyagent

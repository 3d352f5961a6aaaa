// Double Q-learning on numpy arrays (pyagent/ops/double_q_update.py has the maths and the shapes).
#include "numpy/table_update.h"

namespace pyagent {
namespace {

bool double_q_update(Object q_a, Object q_b, Object update_a, Object state, Object action, Object reward,
                     Object next_state, Object discount, Object alpha) {
  return with_table(q_a, [&](const auto& q, auto zero) {
    Transitions<decltype(zero)> step;
    if (!step.take({state, action, reward, next_state, discount, alpha})) return false;
    auto* const other = array_data<decltype(zero)>(q_b, {q.S, q.A}, true);
    const bool* const first = array_data<bool>(update_a, {step.N});
    if (other == nullptr || first == nullptr) return false;
    py::gil_scoped_release release;
    if (!step.check(q)) return false;
    table_kernels(zero).double_q(q, step.batch(), other, first);
    return true;
  });
}

}  // namespace

void register_double_q_update(py::module_& m) { m.def("double_q_update", &double_q_update); }

}  // namespace pyagent

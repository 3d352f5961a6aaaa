// SARSA on numpy arrays (pyagent/ops/sarsa_update.py has the maths and the shapes).
#include "numpy/table_update.h"

namespace pyagent {
namespace {

bool sarsa_update(Object q_table, Object state, Object action, Object reward, Object next_state, Object next_action,
                  Object discount, Object alpha) {
  return with_table(q_table, [&](const auto& q, auto zero) {
    Transitions<decltype(zero)> step;
    if (!step.take({state, action, reward, next_state, discount, alpha})) return false;
    const int64_t* const taken_next = array_data<int64_t>(next_action, {step.N});
    if (taken_next == nullptr) return false;
    py::gil_scoped_release release;
    if (!step.check(q, taken_next)) return false;
    table_kernels(zero).sarsa(q, step.batch());
    return true;
  });
}

}  // namespace

void register_sarsa_update(py::module_& m) { m.def("sarsa_update", &sarsa_update); }

}  // namespace pyagent

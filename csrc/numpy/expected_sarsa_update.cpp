// Expected SARSA on numpy arrays (pyagent/ops/expected_sarsa_update.py has the maths and the shapes).
#include "numpy/table_update.h"

namespace pyagent {
namespace {

bool expected_sarsa_update(Object q_table, Object state, Object action, Object reward, Object next_state,
                           Object next_probability, Object discount, Object alpha) {
  return with_table(q_table, [&](const auto& q, auto zero) {
    Transitions<decltype(zero)> step;
    if (!step.take({state, action, reward, next_state, discount, alpha})) return false;
    const auto* const probability = array_data<decltype(zero)>(next_probability, {step.N, q.A});
    if (probability == nullptr) return false;
    py::gil_scoped_release release;
    if (!step.check(q)) return false;
    table_kernels(zero).expected_sarsa(q, step.batch(), probability);
    return true;
  });
}

}  // namespace

void register_expected_sarsa_update(py::module_& m) { m.def("expected_sarsa_update", &expected_sarsa_update); }

}  // namespace pyagent

// Expected SARSA on numpy arrays (pyagent/ops/expected_sarsa_update.py has the maths and the shapes).
#include "numpy/module.h"
#include "numpy/table_update.h"

namespace pyagent {
namespace {

bool expected_sarsa_update(Object q_table, Object state, Object action, Object reward, Object next_state,
                           Object next_probability, Object discount, Object alpha) {
  return with_table(q_table, [&](const auto& q) {
    using Real = RealOf<decltype(q)>;
    Transitions<Real> step;
    if (!step.take({state, action, reward, next_state, discount, alpha})) return false;
    const Real* const probability = array_data<Real>(next_probability, {step.N, q.A});
    if (probability == nullptr) return false;
    py::gil_scoped_release release;
    return on_this_processor([&]() PYAGENT_ALWAYS_INLINE {
      if (!step.check(q)) return false;
      const Real* const data = q.data;
      const int64_t A = q.A;
      update_in_order(q, step, [data, probability, A](int64_t i, uint32_t next) PYAGENT_ALWAYS_INLINE {
        const Real *value = data + next, *chance = probability + i * A;
        Real sum = chance[0] * value[0];
        for (int64_t a = 1; a < A; ++a) sum += chance[a] * value[a];
        return sum;
      });
      return true;
    });
  });
}

}  // namespace

void register_expected_sarsa_update(py::module_& m) { m.def("expected_sarsa_update", &expected_sarsa_update); }

}  // namespace pyagent

// Tabular Q-learning on numpy arrays (pyagent/ops/q_update.py has the maths and the shapes).
#include "numpy/module.h"
#include "numpy/row_max.h"
#include "numpy/table_update.h"

namespace pyagent {
namespace {

bool q_update(Object q_table, Object state, Object action, Object reward, Object next_state, Object discount,
              Object alpha) {
  return with_table(q_table, [&](const auto& q) {
    Transitions<RealOf<decltype(q)>> step;
    if (!step.take({state, action, reward, next_state, discount, alpha})) return false;
    py::gil_scoped_release release;
    return on_this_processor([&]() PYAGENT_ALWAYS_INLINE {
      if (!step.check(q)) return false;
      const auto* const data = q.data;
      const int64_t A = q.A;
      update_in_order(q, step,
                      [data, A](int64_t, uint32_t next) PYAGENT_ALWAYS_INLINE { return row_max(data + next, A); });
      return true;
    });
  });
}

}  // namespace

void register_q_update(py::module_& m) { m.def("q_update", &q_update); }

}  // namespace pyagent

// The Python module pyagent._numpy: what works in place on numpy arrays, and objects that live in C++.
#include "numpy/module.h"

PYBIND11_MODULE(_numpy, m, pybind11::mod_gil_not_used()) {
  m.doc() = "Tables and trees over numpy arrays.";
  pyagent::register_double_q_update(m);
  pyagent::register_expected_sarsa_update(m);
  pyagent::register_gather_sequences(m);
  pyagent::register_q_lambda_update(m);
  pyagent::register_q_update(m);
  pyagent::register_sarsa_update(m);
  pyagent::register_sum_tree(m);
}

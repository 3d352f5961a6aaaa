// What the files of csrc/numpy add to the module pyagent._numpy.
#pragma once

#include <pybind11/pybind11.h>

namespace pyagent {

void register_double_q_update(pybind11::module_& m);
void register_expected_sarsa_update(pybind11::module_& m);
void register_gather_sequences(pybind11::module_& m);
void register_q_lambda_update(pybind11::module_& m);
void register_q_update(pybind11::module_& m);
void register_sarsa_update(pybind11::module_& m);
void register_sum_tree(pybind11::module_& m);

}  // namespace pyagent

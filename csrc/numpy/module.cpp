// The Python module pyagent._numpy: what works in place on numpy arrays, and objects that live in C++.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_numpy, m, pybind11::mod_gil_not_used()) { m.doc() = "Tables and trees over numpy arrays."; }

// Python's tensors as memory and back, past the dispatcher, for calls that take a microsecond: through DLPack's C
// exchange interface, which torch offers for this (`torch.Tensor.__dlpack_c_exchange_api__`).
//
// Only what is certainly a plain CPU tensor is taken, while nothing watches or replaces torch's calls; whatever else a
// caller has goes to the op under torch.ops.
#pragma once

#include <Python.h>

#include <cstdint>
#include <initializer_list>

#include "tensor_view.h"

namespace pyagent {

// Finds what the functions below need of torch; without it they take nothing. Called once, when the module is made.
void find_python_tensors();

// Whether no dispatch or function mode is active, and nothing is traced.
bool nothing_intercepts();

// Where a plain CPU tensor of a dtype that we compute with has its memory; false for everything else. Valid while the
// object is held.
bool view_of(PyObject* object, TensorView* view);

// An uninitialised CPU tensor of up to three dimensions, and its memory; null with a Python error set.
PyObject* new_python_tensor(torch::headeronly::ScalarType dtype, std::initializer_list<int64_t> shape, void** data);

}  // namespace pyagent

// The step's door for plain tensors: pyagent._C.recurrence_step, the op's arguments without the dispatcher's cost.
#include <exception>
#include <new>

#include "python_tensors.h"
#include "recurrence_step.h"

namespace pyagent {
namespace {

constexpr Py_ssize_t kMostWeights = 64;

// An argument that may be None.
struct Optional {
  TensorView view;
  bool there;
  const TensorView* get() const { return there ? &view : nullptr; }
};

bool take(PyObject* object, Optional* argument) {
  argument->there = object != Py_None;
  return !argument->there || view_of(object, &argument->view);
}

PyObject* decline() { Py_RETURN_NONE; }

PyObject* run(const Step& step) {
  void *output_data, *h_data, *c_data = nullptr;
  const int64_t L = step.layers(), B = step.lanes(), H = step.units();
  PyObject* results = PyTuple_New(3);
  if (!results) return nullptr;
  PyObject* output = new_python_tensor(step.dtype(), {B, H}, &output_data);
  PyObject* h_n = output ? new_python_tensor(step.dtype(), {L, B, H}, &h_data) : nullptr;
  PyObject* c_n = !h_n                    ? nullptr
                  : step.has_cell_state() ? new_python_tensor(step.dtype(), {L, B, H}, &c_data)
                                          : Py_NewRef(Py_None);
  PyTuple_SetItem(results, 0, output), PyTuple_SetItem(results, 1, h_n), PyTuple_SetItem(results, 2, c_n);
  if (!c_n) {
    Py_DECREF(results);
    return nullptr;
  }
  PyThreadState* state = PyEval_SaveThread();
  try {
    step.run(output_data, h_data, c_data);
  } catch (...) {
    PyEval_RestoreThread(state);
    Py_DECREF(results);
    throw;
  }
  PyEval_RestoreThread(state);
  return results;
}

}  // namespace

// recurrence_step(input, h, c, reset, table, layers, cell, hidden_size, projected, packed): what the op of this name
// returns, or None where it has to be asked: for anything but plain, dense CPU tensors, and for whatever is wrong.
PyObject* recurrence_step(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 10) return PyErr_Format(PyExc_TypeError, "recurrence_step: got %zd arguments, want 10", count);
  const Py_ssize_t num_weights = PyTuple_Check(arguments[5]) ? PyTuple_Size(arguments[5]) : 0;
  if (num_weights > kMostWeights || !nothing_intercepts()) return decline();
  TensorView input, weights[kMostWeights];
  Optional table, h, c, reset;
  if (!view_of(arguments[0], &input) || !take(arguments[1], &h) || !take(arguments[2], &c) ||
      !take(arguments[3], &reset) || !take(arguments[4], &table))
    return decline();
  for (Py_ssize_t i = 0; i < num_weights; ++i)
    if (!view_of(PyTuple_GetItem(arguments[5], i), &weights[i])) return decline();
  const long long cell = PyLong_AsLongLong(arguments[6]), hidden_size = PyLong_AsLongLong(arguments[7]);
  const int projected = PyObject_IsTrue(arguments[8]), packed = PyObject_IsTrue(arguments[9]);
  if (PyErr_Occurred()) return nullptr;
  try {
    Step step({&input, h.get(), c.get(), reset.get(), table.get(), weights, num_weights, cell, hidden_size,
               projected != 0, packed != 0});
    return step.prepare() ? decline() : run(step);
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return nullptr;
  }
}

}  // namespace pyagent

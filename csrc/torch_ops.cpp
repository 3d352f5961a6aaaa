// The Python module pyagent._C: importing it registers every torch op; it also tells which instruction sets there are.
#include <Python.h>
#include <pthread.h>

#include <atomic>
#include <exception>

#include "core/dispatch.h"
#include "parallel.h"
#include "python_tensors.h"

namespace pyagent {

PyObject* recurrence_step(PyObject*, PyObject* const* arguments, Py_ssize_t count);

namespace {

std::atomic<bool> is_forked_child{false};

PyObject* isa(PyObject*, PyObject*) {
  try {
    return PyUnicode_FromString(target().isa);
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return nullptr;
  }
}

PyObject* supported_isas(PyObject*, PyObject*) {
  int count;
  const Target* const* all = all_targets(&count);
  PyObject* names = PyList_New(0);
  for (int i = 0; names && i < count; ++i) {
    if (!supported(*all[i])) continue;
    PyObject* name = PyUnicode_FromString(all[i]->isa);
    if (!name || PyList_Append(names, name) != 0) Py_CLEAR(names);
    Py_XDECREF(name);
  }
  PyObject* tuple = names ? PyList_AsTuple(names) : nullptr;
  Py_XDECREF(names);
  return tuple;
}

PyObject* packed_size(PyObject*, PyObject* arguments) {
  long long cell, I, H;
  int is_double;
  if (!PyArg_ParseTuple(arguments, "LLLp", &cell, &I, &H, &is_double)) return nullptr;
  if (cell < 0 || cell >= kNumCells || I < 0 || I > kMostUnits || H < 0 || H > kMostUnits)
    return PyErr_Format(PyExc_ValueError, "packed_size: got cell %lld of %lld inputs, %lld units", cell, I, H);
  const auto size = is_double ? kernels<double>().step_packed_size : kernels<float>().step_packed_size;
  return PyLong_FromLongLong(size(cell, I, H));
}

PyMethodDef methods[] = {
    {"isa", isa, METH_NOARGS, "The instruction set in use; PYAGENT_CPU_ISA forces one."},
    {"supported_isas", supported_isas, METH_NOARGS, "Names of the instruction sets this processor has, best first."},
    {"packed_size", packed_size, METH_VARARGS,
     "packed_size(cell, I, H, is_double): elements of what recurrence_step_pack returns, which differ between "
     "instruction sets."},
    {"recurrence_step", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(recurrence_step)), METH_FASTCALL,
     "The op of this name for plain tensors, past the dispatcher; None where the op has to be asked."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

bool forked() { return is_forked_child.load(std::memory_order_relaxed); }

}  // namespace pyagent

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__C() {
  pthread_atfork(nullptr, nullptr, [] { pyagent::is_forked_child = true; });
  try {
    pyagent::target();  // a wrong PYAGENT_CPU_ISA is told at import, not inside the first op
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
    return nullptr;
  }
  pyagent::find_python_tensors();
  return PyModule_Create(&pyagent::definition);
}

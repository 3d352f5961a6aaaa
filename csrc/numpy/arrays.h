// Arguments as numpy arrays. What takes one answers false where it is not exactly what is wanted: the Python front then
// makes it so, or says what is wrong.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <initializer_list>
#include <memory>

namespace pyagent {

namespace py = pybind11;
using Object = const py::object&;

// The data of a C-contiguous, aligned array of this type and shape (-1: any size), or null.
template <class T>
T* array_data(Object object, std::initializer_list<int64_t> shape, bool writable = false) {
  using Api = py::detail::npy_api;
  const int flags = Api::NPY_ARRAY_ALIGNED_ | (writable ? Api::NPY_ARRAY_WRITEABLE_ : 0);
  if (!py::isinstance<py::array_t<T, py::array::c_style>>(object)) return nullptr;
  if ((py::detail::array_proxy(object.ptr())->flags & flags) != flags) return nullptr;
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (array.ndim() != static_cast<int64_t>(shape.size())) return nullptr;
  for (int64_t i = 0; i < array.ndim(); ++i)
    if (shape.begin()[i] >= 0 && array.shape(i) != shape.begin()[i]) return nullptr;
  return static_cast<T*>(const_cast<void*>(array.data()));
}

inline int64_t size_of(Object array, int64_t dimension) {
  return py::reinterpret_borrow<py::array>(array).shape(dimension);
}

// One number for each of N, or one for all.
template <class T>
class Series {
 public:
  bool take(Object object, int64_t N) {
    if (!PyFloat_Check(object.ptr())) return (values_ = array_data<T>(object, {N})) != nullptr;
    const T value = static_cast<T>(PyFloat_AS_DOUBLE(object.ptr()));
    repeated_.reset(new T[static_cast<size_t>(N)]);
    for (int64_t i = 0; i < N; ++i) repeated_[i] = value;
    values_ = repeated_.get();
    return true;
  }
  const T* get() const { return values_; }

 private:
  const T* values_ = nullptr;
  std::unique_ptr<T[]> repeated_;
};

}  // namespace pyagent

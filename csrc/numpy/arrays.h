// Arguments as numpy arrays. What takes one answers false where it is not exactly what is wanted: the Python front then
// makes it so, or says what is wrong.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <initializer_list>
#include <memory>

#define PYAGENT_ALWAYS_INLINE __attribute__((always_inline))
#define PYAGENT_INLINE inline PYAGENT_ALWAYS_INLINE

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

// Places in a table, from indices that were checked. They are copies, so that what was checked is what is used,
// whatever other threads do to the caller's arrays meanwhile; and half as wide, so that a batch takes less of the first
// cache.
class Places {
 public:
  static constexpr int64_t kMost = int64_t{1} << 31;  // entries of a table

  // Those of (row[i], column[i]). False where one is outside of the table.
  PYAGENT_INLINE bool take(const int64_t* row, const int64_t* column, int64_t N, int64_t rows, int64_t columns) {
    return fill(row, [column](int64_t i) PYAGENT_ALWAYS_INLINE { return column[i]; }, N, rows, columns);
  }
  // Those of (row[i], 0).
  PYAGENT_INLINE bool take(const int64_t* row, int64_t N, int64_t rows, int64_t columns) {
    return fill(row, [](int64_t) PYAGENT_ALWAYS_INLINE { return int64_t{0}; }, N, rows, columns);
  }
  const uint32_t* get() const { return places_.get(); }

 private:
  template <class Column>
  PYAGENT_INLINE bool fill(const int64_t* row, const Column& column, int64_t N, int64_t rows, int64_t columns) {
    places_.reset(new uint32_t[static_cast<size_t>(N)]);
    uint32_t* const places = places_.get();
    const uint32_t width = static_cast<uint32_t>(columns);
    const uint32_t last_row = static_cast<uint32_t>(rows - 1), last_column = width - 1;
    uint64_t all = 0;
    uint32_t beyond = 0;  // its sign bit is set by a difference to what is too large
    for (int64_t i = 0; i < N; ++i) {
      const uint64_t r = static_cast<uint64_t>(row[i]), c = static_cast<uint64_t>(column(i));
      all |= r | c;
      beyond |= (last_row - static_cast<uint32_t>(r)) | (last_column - static_cast<uint32_t>(c));
      places[i] = static_cast<uint32_t>(r) * width + static_cast<uint32_t>(c);
    }
    return all >> 31 == 0 && beyond >> 31 == 0;
  }
  std::unique_ptr<uint32_t[]> places_;
};

// f(), compiled for AVX2; whatever f calls has to be inline. Every result stays the same: nothing is contracted, and
// nothing summed in another order.
#if defined(__x86_64__)
template <class F>
__attribute__((target("avx2"))) bool with_avx2(const F& f) {
  return f();
}
#endif

// f(), as wide as this processor goes.
template <class F>
bool on_this_processor(const F& f) {
#if defined(__x86_64__)
  static const bool avx2 = __builtin_cpu_supports("avx2");
  if (avx2) return with_avx2(f);
#endif
  return f();
}

}  // namespace pyagent

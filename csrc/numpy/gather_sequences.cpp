// Rows of a ring of steps, gathered into sequences laid out [T, n] (pyagent/replay/storage.py).
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "numpy/module.h"

namespace pyagent {
namespace {

namespace py = pybind11;
using Indices = py::array_t<int64_t, py::array::c_style>;

struct Ring {
  const char* steps;  // [lanes, rows] of `bytes` each
  int64_t lanes, rows, bytes;
};

// out[t, i] = steps[lane[i], (row[i] + t) % rows], written in order. kBytes is the size of a row where the compiler is
// to know it, or 0.
template <int64_t kBytes>
void gather(const Ring& ring, const std::vector<int64_t>& lane, std::vector<int64_t>& row, int64_t T, char* out) {
  const int64_t bytes = kBytes ? kBytes : ring.bytes, n = static_cast<int64_t>(lane.size());
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t i = 0; i < n; ++i) {
      std::memcpy(out, ring.steps + (lane[i] * ring.rows + row[i]) * bytes, static_cast<size_t>(bytes));
      out += bytes;
      if (++row[i] == ring.rows) row[i] = 0;
    }
  }
}

std::vector<int64_t> copied(const char* name, const Indices& array, int64_t count, int64_t below) {
  if (array.ndim() != 1 || array.size() != count) {
    throw std::invalid_argument(std::string(name) + ": want [" + std::to_string(count) + "]");
  }
  std::vector<int64_t> values(array.data(), array.data() + count);
  for (const int64_t each : values) {
    if (each < 0 || each >= below) {
      throw std::out_of_range(std::string(name) + ": got " + std::to_string(each) + ", want 0 to " +
                              std::to_string(below - 1));
    }
  }
  return values;
}

bool is_plain(const py::array& array) {
  return (array.flags() & py::array::c_style) && std::strchr("biufc", array.dtype().kind()) != nullptr;
}

void gather_sequences(const py::array& steps, const Indices& lane, const Indices& start, py::array& out) {
  if (!is_plain(steps) || !is_plain(out) || !steps.dtype().is(out.dtype())) {
    throw std::invalid_argument("steps, out: want contiguous arrays of one numeric dtype");
  }
  if (steps.ndim() < 2 || out.ndim() != steps.ndim())
    throw std::invalid_argument("steps, out: want [B, R, …], [T, n, …]");
  for (py::ssize_t k = 2; k < steps.ndim(); ++k) {
    if (steps.shape(k) != out.shape(k)) throw std::invalid_argument("steps, out: want steps of one shape");
  }
  Ring ring{static_cast<const char*>(steps.data()), steps.shape(0), steps.shape(1), steps.itemsize()};
  for (py::ssize_t k = 2; k < steps.ndim(); ++k) ring.bytes *= steps.shape(k);
  const int64_t T = out.shape(0);
  const std::vector<int64_t> lanes = copied("lane", lane, out.shape(1), ring.lanes);
  std::vector<int64_t> starts = copied("start", start, out.shape(1), ring.rows);
  char* target = static_cast<char*>(out.mutable_data());
  const py::gil_scoped_release release;
  switch (ring.bytes) {
    case 0:
      return;
    case 1:
      return gather<1>(ring, lanes, starts, T, target);
    case 2:
      return gather<2>(ring, lanes, starts, T, target);
    case 4:
      return gather<4>(ring, lanes, starts, T, target);
    case 8:
      return gather<8>(ring, lanes, starts, T, target);
    default:
      return gather<0>(ring, lanes, starts, T, target);
  }
}

}  // namespace

void register_gather_sequences(py::module_& m) {
  m.def("gather_sequences", &gather_sequences, py::arg("steps").noconvert(), py::arg("lane").noconvert(),
        py::arg("start").noconvert(), py::arg("out").noconvert());
}

}  // namespace pyagent

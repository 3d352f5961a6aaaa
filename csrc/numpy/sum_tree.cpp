// pyagent._numpy.SumTree: a sum tree that checks what it is given, runs without the GIL, and one call at a time.
#include "numpy/sum_tree.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "numpy/module.h"

namespace pyagent {
namespace {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;
using Found = std::pair<Array<int64_t>, Array<double>>;

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.12g", value);
  return buffer;
}

std::string text(const py::array& array) { return py::cast<std::string>(py::str(array.dtype())); }

// What may be made an array of integers, or of real numbers, of at most one dimension.
template <class T>
Array<T> values(const char* name, const py::handle given) {
  constexpr bool kIntegers = std::is_same<T, int64_t>::value;
  const py::array array = py::array::ensure(given);
  if (!array) throw py::type_error(std::string(name) + ": got no array");
  const bool fits = std::strchr(kIntegers ? "iu" : "iuf", array.dtype().kind()) != nullptr;
  if (!fits && array.size() > 0) {
    throw py::type_error(std::string(name) + ": got " + text(array) + ", want " +
                         (kIntegers ? "integers" : "real numbers"));
  }
  Array<T> result = Array<T>::ensure(array);
  if (!result) throw std::bad_alloc();
  return result;
}

// A copy: another thread may write to the array while this one works.
template <class T>
std::vector<T> copied(const char* name, const Array<T>& array) {
  if (array.ndim() != 1) {
    throw std::invalid_argument(std::string(name) + ": got " + std::to_string(array.ndim()) + " dimensions, want 1");
  }
  return std::vector<T>(array.data(), array.data() + array.size());
}

template <class T>
std::vector<T> copied(const char* name, const py::handle given) {
  return copied(name, values<T>(name, given));
}

class CheckedSumTree {
 public:
  explicit CheckedSumTree(int64_t capacity) : tree_(checked_capacity(capacity)) {}

  int64_t capacity() const { return tree_.capacity(); }

  double total() {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    return tree_.total();
  }

  void update(const py::handle index, const py::handle priority) {
    const std::vector<int64_t> leaf = copied<int64_t>("index", index);
    const Array<double> given = values<double>("priority", priority);
    const std::vector<double> value =
        given.ndim() == 0 ? std::vector<double>(leaf.size(), *given.data()) : copied("priority", given);
    if (leaf.size() != value.size()) {
      throw std::invalid_argument("priority: got " + std::to_string(value.size()) + ", want " +
                                  std::to_string(leaf.size()) + ", one for each index");
    }
    const py::gil_scoped_release release;
    check(leaf);
    constexpr float kMost = std::numeric_limits<float>::max(), kLeast = std::numeric_limits<float>::denorm_min();
    std::vector<float> kept(value.size());
    for (size_t i = 0; i < value.size(); ++i) {
      if (!(value[i] >= 0.0 && value[i] <= kMost)) {  // true of NaN
        throw std::invalid_argument("priority: got " + text(value[i]) + ", want 0 to " + text(kMost));
      }
      kept[i] = static_cast<float>(value[i]);
      if (kept[i] == 0.0f && value[i] > 0.0) kept[i] = kLeast;  // it may still be drawn
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    tree_.update(leaf.data(), kept.data(), static_cast<int64_t>(leaf.size()));
  }

  Array<double> get(const py::handle index) {
    const std::vector<int64_t> leaf = copied<int64_t>("index", index);
    Array<double> priority(static_cast<py::ssize_t>(leaf.size()));
    double* out = priority.mutable_data();
    const py::gil_scoped_release release;
    check(leaf);
    const std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < leaf.size(); ++i) out[i] = tree_.get(leaf[i]);
    return priority;
  }

  Found find(const py::handle prefix_sum) {
    std::vector<double> prefix = copied<double>("prefix_sums", prefix_sum);
    return found(prefix, [&prefix](double total) {
      for (const double each : prefix) {
        if (!(each >= 0.0 && each <= total)) {
          throw std::invalid_argument("prefix_sums: got " + text(each) + ", want 0 to the total, " + text(total));
        }
      }
    });
  }

  Found sample(const py::handle uniforms, bool stratified) {
    std::vector<double> prefix = copied<double>("uniforms", uniforms);
    return found(prefix, [&prefix, stratified](double total) {
      const double width = stratified ? total / static_cast<double>(prefix.size()) : total;
      for (size_t i = 0; i < prefix.size(); ++i) {
        if (!(prefix[i] >= 0.0 && prefix[i] <= 1.0)) {
          throw std::invalid_argument("uniforms: got " + text(prefix[i]) + ", want 0 to 1");
        }
        prefix[i] = width * (stratified ? static_cast<double>(i) + prefix[i] : prefix[i]);
      }
    });
  }

 private:
  static int64_t checked_capacity(int64_t capacity) {
    constexpr int64_t kMost = int64_t{1} << 40;
    if (capacity < 1 || capacity > kMost) {
      throw std::invalid_argument("capacity: got " + std::to_string(capacity) + ", want 1 to " + std::to_string(kMost));
    }
    return capacity;
  }

  void check(const std::vector<int64_t>& leaf) const {
    for (const int64_t each : leaf) {
      if (each < 0 || each >= tree_.capacity()) {
        throw std::out_of_range("index: got " + std::to_string(each) + ", want 0 to " +
                                std::to_string(tree_.capacity() - 1));
      }
    }
  }

  // `prepare(total)` checks the prefix sums, or makes them.
  template <class Prepare>
  Found found(std::vector<double>& prefix, const Prepare& prepare) {
    const auto count = static_cast<py::ssize_t>(prefix.size());
    Found result{Array<int64_t>(count), Array<double>(count)};
    int64_t* leaf = result.first.mutable_data();
    double* priority = result.second.mutable_data();
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    const double total = tree_.total();
    if (total <= 0.0) throw std::invalid_argument("sum tree: no priority is above 0");
    prepare(total);
    tree_.find(prefix.data(), count, leaf, priority);
    return result;
  }

  SumTree tree_;
  std::mutex mutex_;
};

}  // namespace

void register_sum_tree(py::module_& m) {
  py::class_<CheckedSumTree>(m, "SumTree")
      .def(py::init<int64_t>(), py::arg("capacity"))
      .def_property_readonly("capacity", &CheckedSumTree::capacity)
      .def("total", &CheckedSumTree::total)
      .def("update", &CheckedSumTree::update, py::arg("index"), py::arg("priority"))
      .def("get", &CheckedSumTree::get, py::arg("index"))
      .def("find", &CheckedSumTree::find, py::arg("prefix_sums"))
      .def("sample", &CheckedSumTree::sample, py::arg("uniforms"), py::arg("stratified"));
}

}  // namespace pyagent

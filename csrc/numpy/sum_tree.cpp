// pyagent._numpy.SumTree: a sum tree that checks what it is given, runs without the GIL, and one call at a time.
#include "numpy/sum_tree.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstdio>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "numpy/module.h"

namespace pyagent {
namespace {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;
using Found = std::pair<Array<int64_t>, Array<double>>;

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.17g", value);
  return buffer;
}

template <class T>
std::vector<T> copied(const char* name, const Array<T>& array) {
  if (array.ndim() != 1) {
    throw std::invalid_argument(std::string(name) + ": got " + std::to_string(array.ndim()) + " dimensions, want 1");
  }
  return std::vector<T>(array.data(), array.data() + array.size());
}

class CheckedSumTree {
 public:
  explicit CheckedSumTree(int64_t capacity)
      : tree_(checked_capacity(capacity)), most_(std::numeric_limits<double>::max() / (2.0 * capacity)) {}

  int64_t capacity() const { return tree_.capacity(); }

  double total() {
    const py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    return tree_.total();
  }

  // Arguments are copied before they are checked: another thread may write to them while this one works.
  void update(const Array<int64_t>& index, const Array<double>& priority) {
    const std::vector<int64_t> leaf = copied("index", index);
    const std::vector<double> value = copied("priority", priority);
    if (leaf.size() != value.size()) {
      throw std::invalid_argument("priority: got " + std::to_string(value.size()) + ", want " +
                                  std::to_string(leaf.size()) + ", one for each index");
    }
    const py::gil_scoped_release release;
    check(leaf);
    for (const double each : value) {
      if (!(each >= 0.0 && each <= most_)) {  // true of NaN
        throw std::invalid_argument("priority: got " + text(each) + ", want 0 to " + text(most_));
      }
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    tree_.update(leaf.data(), value.data(), static_cast<int64_t>(leaf.size()));
  }

  Array<double> get(const Array<int64_t>& index) {
    const std::vector<int64_t> leaf = copied("index", index);
    Array<double> priority(static_cast<py::ssize_t>(leaf.size()));
    double* out = priority.mutable_data();
    const py::gil_scoped_release release;
    check(leaf);
    const std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < leaf.size(); ++i) out[i] = tree_.get(leaf[i]);
    return priority;
  }

  Found find(const Array<double>& prefix_sum) {
    std::vector<double> prefix = copied("prefix_sums", prefix_sum);
    return found(prefix, [&prefix](double total) {
      for (const double each : prefix) {
        if (!(each >= 0.0 && each <= total)) {
          throw std::invalid_argument("prefix_sums: got " + text(each) + ", want 0 to the total, " + text(total));
        }
      }
    });
  }

  Found sample(const Array<double>& uniform, bool stratified) {
    std::vector<double> prefix = copied("uniforms", uniform);
    return found(prefix, [&prefix, stratified](double total) {
      const double strata = stratified ? static_cast<double>(prefix.size()) : 1.0;
      for (size_t i = 0; i < prefix.size(); ++i) {
        if (!(prefix[i] >= 0.0 && prefix[i] <= 1.0)) {
          throw std::invalid_argument("uniforms: got " + text(prefix[i]) + ", want 0 to 1");
        }
        prefix[i] = (stratified ? static_cast<double>(i) + prefix[i] : prefix[i]) / strata * total;
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
  double most_;  // more could overflow the sums
  std::mutex mutex_;
};

}  // namespace

void register_sum_tree(py::module_& m) {
  py::class_<CheckedSumTree>(m, "SumTree")
      .def(py::init<int64_t>(), py::arg("capacity"))
      .def_property_readonly("capacity", &CheckedSumTree::capacity)
      .def("total", &CheckedSumTree::total)
      .def("update", &CheckedSumTree::update, py::arg("index").noconvert(), py::arg("priority").noconvert())
      .def("get", &CheckedSumTree::get, py::arg("index").noconvert())
      .def("find", &CheckedSumTree::find, py::arg("prefix_sums").noconvert())
      .def("sample", &CheckedSumTree::sample, py::arg("uniforms").noconvert(), py::arg("stratified"));
}

}  // namespace pyagent

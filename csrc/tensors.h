// Checked access to torch's tensors through its stable ABI.
//
// These checks protect memory: whatever a caller of the raw ops passes, nothing is read or written out of bounds. The
// Python front raises the errors that users see.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <type_traits>

#include "core/dispatch.h"
#include "parallel.h"

namespace pyagent {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;
using Shape = std::initializer_list<int64_t>;

template <class T>
constexpr ScalarType scalar_type_of();
template <>
constexpr ScalarType scalar_type_of<float>() {
  return ScalarType::Float;
}
template <>
constexpr ScalarType scalar_type_of<double>() {
  return ScalarType::Double;
}
template <>
constexpr ScalarType scalar_type_of<Bf16>() {
  return ScalarType::BFloat16;
}
template <>
constexpr ScalarType scalar_type_of<int64_t>() {
  return ScalarType::Long;
}
template <>
constexpr ScalarType scalar_type_of<bool>() {
  return ScalarType::Bool;
}

template <class T>
Tensor new_tensor(Shape shape) {
  int64_t strides[4], stride = 1, dim = static_cast<int64_t>(shape.size());
  for (int64_t i = dim - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape.begin()[i] > 0 ? shape.begin()[i] : 1;
  }
  constexpr ScalarType kType = scalar_type_of<T>();
  const int32_t dtype = kType == ScalarType::Bool       ? aoti_torch_dtype_bool()
                        : kType == ScalarType::Long     ? aoti_torch_dtype_int64()
                        : kType == ScalarType::BFloat16 ? aoti_torch_dtype_bfloat16()
                        : kType == ScalarType::Float    ? aoti_torch_dtype_float32()
                                                        : aoti_torch_dtype_float64();
  AtenTensorHandle handle;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(dim, shape.begin(), strides, dtype, aoti_torch_device_type_cpu(), 0, &handle));
  return Tensor(handle);
}

template <class T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

// Of zeros; or empty, where it is not wanted.
template <class T>
Tensor zero_tensor(bool wanted, Shape shape) {
  if (!wanted) return new_tensor<T>({0});
  Tensor tensor = new_tensor<T>(shape);
  std::memset(tensor.data_ptr(), 0, static_cast<size_t>(tensor.numel()) * sizeof(T));
  return tensor;
}

// A contiguous copy, made without torch's threads.
template <class T>
Tensor copied(const Tensor& tensor, Shape shape) {
  Tensor copy = new_tensor<T>(shape);
  const T* from = data<const T>(tensor);
  T* to = data<T>(copy);
  int64_t at[4] = {}, dim = tensor.dim();
  for (int64_t n = tensor.numel(), offset = 0; n > 0; --n) {
    *to++ = from[offset];
    for (int64_t i = dim - 1; i >= 0; --i) {
      offset += tensor.stride(i);
      if (++at[i] < tensor.size(i)) break;
      offset -= at[i] * tensor.stride(i);
      at[i] = 0;
    }
  }
  return copy;
}

// A contiguous view of an argument, of this dtype and shape, or nothing.
template <class T>
class Argument {
 public:
  Argument(const char* name, const Tensor& tensor, Shape shape) { accept(name, tensor, shape); }
  Argument(const char* name, const OptionalTensor& tensor, Shape shape) {
    if (tensor) accept(name, *tensor, shape);
  }
  const T* get() const { return held_ ? data<const T>(*held_) : nullptr; }

 private:
  void accept(const char* name, const Tensor& tensor, Shape shape) {
    STD_TORCH_CHECK(tensor.is_cpu(), name, ": want a CPU tensor");
    STD_TORCH_CHECK(tensor.scalar_type() == scalar_type_of<T>(), name, ": unexpected dtype");
    STD_TORCH_CHECK(tensor.dim() == static_cast<int64_t>(shape.size()), name, ": got ", tensor.dim(),
                    " dimensions, want ", shape.size());
    for (int64_t i = 0; i < tensor.dim(); ++i)
      STD_TORCH_CHECK(tensor.size(i) == shape.begin()[i], name, ": got size ", tensor.size(i), " in dimension ", i,
                      ", want ", shape.begin()[i]);
    held_ = tensor.is_contiguous() ? tensor : forked() ? copied<T>(tensor, shape) : torch::stable::contiguous(tensor);
  }
  std::optional<Tensor> held_;
};

// f(T{}) with the C++ type of a floating-point tensor.
template <class F>
auto with_dtype(const char* name, const Tensor& tensor, const F& f) {
  const ScalarType dtype = tensor.scalar_type();
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double, name, ": want float32 or float64");
  return dtype == ScalarType::Double ? f(double{}) : f(float{});
}

// The same, bfloat16 included.
template <class F>
auto with_any_dtype(const char* name, const Tensor& tensor, const F& f) {
  return tensor.scalar_type() == ScalarType::BFloat16 ? f(Bf16{}) : with_dtype(name, tensor, f);
}

// An argument in the type that T is computed in; beside Bf16 it may be of either.
template <class T>
Argument<Real<T>> computed_argument(const char* name, const OptionalTensor& tensor, Shape shape) {
  if constexpr (std::is_same_v<T, Bf16>)
    if (tensor && tensor->scalar_type() == ScalarType::BFloat16) {
      const Argument<Bf16> held(name, tensor, shape);
      Tensor widened = new_tensor<float>(shape);
      kernels<Bf16>().widen(held.get(), tensor->numel(), data<float>(widened));
      return {name, widened, shape};
    }
  return {name, tensor, shape};
}

// The checks read values too, so that no index leaves its table. For low >= 0 and high >= -1.
inline void check_range(const char* name, const int64_t* values, int64_t count, int64_t low, int64_t high) {
  // The sign of one difference or the other; unlike comparisons of 64 bits, every processor subtracts them in vectors.
  uint64_t differences = 0;
  if (!values) return;
#pragma GCC unroll 8
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t value = static_cast<uint64_t>(values[i]);
    differences |= (static_cast<uint64_t>(high) - value) | (value - static_cast<uint64_t>(low));
  }
  if (differences >> 63 == 0) return;
  for (int64_t i = 0; i < count; ++i)
    STD_TORCH_CHECK(values[i] >= low && values[i] <= high, name, ": got ", values[i], ", want ", low, " to ", high);
}

}  // namespace pyagent

// The one host file of `pyagent._cuda`: checks, then launches, then registers the CUDA kernels with torch.
// It needs no CUDA header and no CUDA build of torch, so the CUDA half also compiles beside a CPU-only torch.
#include <Python.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <optional>

#include "cuda/launch.h"

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

void check_launch(int error) { STD_TORCH_CHECK(error == 0, "CUDA: ", pyagent::cuda::describe(error)); }

template <class Real>
void gae_typed(const Tensor& r_t, const Tensor& discount_t, const Tensor& v, double lambda, Tensor& advantage,
               void* stream) {
  check_launch(pyagent::cuda::launch_gae(
      static_cast<const Real*>(r_t.const_data_ptr()), static_cast<const Real*>(discount_t.const_data_ptr()),
      static_cast<const Real*>(v.const_data_ptr()), static_cast<Real>(lambda),
      static_cast<Real*>(advantage.mutable_data_ptr()), r_t.size(0), r_t.size(1), stream));
}

Tensor gae_cuda(const Tensor& r_t, const Tensor& discount_t, const Tensor& v, double lambda,
                const std::optional<Tensor>& truncated, const std::optional<Tensor>& v_final) {
  STD_TORCH_CHECK(!truncated && !v_final, "gae: on CUDA truncation has to be in r_t and discount_t");
  const ScalarType dtype = r_t.scalar_type();
  STD_TORCH_CHECK(r_t.dim() == 2 && discount_t.dim() == 2 && v.dim() == 2,
                  "gae: r_t, discount_t [T, B] and v [T+1, B]");
  STD_TORCH_CHECK(discount_t.size(0) == r_t.size(0) && discount_t.size(1) == r_t.size(1), "gae: discount_t like r_t");
  STD_TORCH_CHECK(v.size(0) == r_t.size(0) + 1 && v.size(1) == r_t.size(1), "gae: v must be [T+1, B]");
  for (const Tensor* tensor : {&r_t, &discount_t, &v}) {
    STD_TORCH_CHECK(tensor->scalar_type() == dtype, "gae: r_t, discount_t and v must have one dtype");
    STD_TORCH_CHECK(tensor->is_contiguous(), "gae: contiguous tensors");
    STD_TORCH_CHECK(tensor->is_cuda() && tensor->get_device_index() == r_t.get_device_index(), "gae: one CUDA device");
  }
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double, "gae: float32 or float64");
  const torch::stable::accelerator::DeviceGuard guard(r_t.get_device_index());
  void* stream = torch::stable::accelerator::getCurrentStream(r_t.get_device_index()).nativeHandle();
  Tensor advantage = torch::stable::new_empty(r_t, {r_t.size(0), r_t.size(1)});
  if (dtype == ScalarType::Float) {
    gae_typed<float>(r_t, discount_t, v, lambda, advantage, stream);
  } else {
    gae_typed<double>(r_t, discount_t, v, lambda, advantage, stream);
  }
  return advantage;
}

PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_cuda", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pyagent, CUDA, m) { m.impl("gae", TORCH_BOX(&gae_cuda)); }

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__cuda() {
  return PyModule_Create(&module_definition);
}

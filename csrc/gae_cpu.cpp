// Generalised advantage estimation on the CPU: A_t = delta_t + discount_t * lambda * A_{t+1}.
// Lanes of a batch are independent, so threads split them and the result does not depend on how many there are.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <algorithm>
#include <cstdint>

namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kStepsPerTask = 32768;  // about 20 us of work, ten times what waking a thread costs

// r_t, discount_t, advantage: [T, B]; v: [T+1, B]; lanes [begin, end) of B.
template <class Real>
void gae_lanes(const Real* r_t, const Real* discount_t, const Real* v, Real lambda, Real* advantage, int64_t T,
               int64_t B, int64_t begin, int64_t end) {
  for (int64_t t = T - 1; t >= 0; --t) {
    const int64_t row = t * B, next = row + B;
    for (int64_t b = begin; b < end; ++b) {
      const Real delta = r_t[row + b] + discount_t[row + b] * v[next + b] - v[row + b];
      const Real after = t + 1 < T ? advantage[next + b] : Real(0);
      advantage[row + b] = delta + discount_t[row + b] * lambda * after;
    }
  }
}

template <class Real>
void gae_typed(const Tensor& r_t, const Tensor& discount_t, const Tensor& v, double lambda, Tensor& advantage) {
  const int64_t T = r_t.size(0), B = r_t.size(1);
  const auto* rewards = static_cast<const Real*>(r_t.const_data_ptr());
  const auto* discounts = static_cast<const Real*>(discount_t.const_data_ptr());
  const auto* values = static_cast<const Real*>(v.const_data_ptr());
  auto* out = static_cast<Real*>(advantage.mutable_data_ptr());
  torch::stable::parallel_for(0, B, std::max<int64_t>(1, kStepsPerTask / (T + 1)), [=](int64_t begin, int64_t end) {
    gae_lanes(rewards, discounts, values, static_cast<Real>(lambda), out, T, B, begin, end);
  });
}

Tensor gae_cpu(const Tensor& r_t, const Tensor& discount_t, const Tensor& v, double lambda) {
  STD_TORCH_CHECK(r_t.dim() == 2 && discount_t.dim() == 2 && v.dim() == 2,
                  "gae: r_t, discount_t [T, B] and v [T+1, B]");
  STD_TORCH_CHECK(discount_t.size(0) == r_t.size(0) && discount_t.size(1) == r_t.size(1), "gae: discount_t like r_t");
  STD_TORCH_CHECK(v.size(0) == r_t.size(0) + 1 && v.size(1) == r_t.size(1), "gae: v must be [T+1, B]");
  STD_TORCH_CHECK(discount_t.scalar_type() == r_t.scalar_type() && v.scalar_type() == r_t.scalar_type(),
                  "gae: r_t, discount_t and v must have one dtype");
  STD_TORCH_CHECK(r_t.is_contiguous() && discount_t.is_contiguous() && v.is_contiguous(), "gae: contiguous tensors");
  const ScalarType dtype = r_t.scalar_type();
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double, "gae: float32 or float64");
  Tensor advantage = torch::stable::new_empty(r_t, {r_t.size(0), r_t.size(1)});
  if (dtype == ScalarType::Float) {
    gae_typed<float>(r_t, discount_t, v, lambda, advantage);
  } else {
    gae_typed<double>(r_t, discount_t, v, lambda, advantage);
  }
  return advantage;
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def("gae(Tensor r_t, Tensor discount_t, Tensor v, float lambda_) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("gae", TORCH_BOX(&gae_cpu)); }

// Generalised advantage estimation on the CPU (pyagent/ops/gae.py has the maths and the shapes).
// Lanes of a batch are independent, so threads split them and the result does not depend on how many there are.
#include <torch/csrc/stable/library.h>

#include "parallel.h"
#include "tensors.h"

namespace pyagent {
namespace {

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

Tensor gae_cpu(const Tensor& r_t, const Tensor& discount_t, const Tensor& v, double lambda) {
  STD_TORCH_CHECK(r_t.dim() == 2, "r_t: got ", r_t.dim(), " dimensions, want 2");
  const int64_t T = r_t.size(0), B = r_t.size(1);
  return with_dtype("r_t", r_t, [&](auto zero) {
    using Real = decltype(zero);
    const Argument<Real> rewards("r_t", r_t, {T, B}), discounts("discount_t", discount_t, {T, B});
    const Argument<Real> values("v", v, {T + 1, B});
    Tensor advantage = new_tensor<Real>({T, B});
    Real* out = data<Real>(advantage);
    constexpr int64_t kFlopsAStep = 32;  // loads and stores bound it: a step costs about as much as 32 multiply-adds
    parallel_over(B, kFlopsAStep * T * B, [&](int64_t begin, int64_t end) {
      gae_lanes(rewards.get(), discounts.get(), values.get(), static_cast<Real>(lambda), out, T, B, begin, end);
    });
    return advantage;
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def("gae(Tensor r_t, Tensor discount_t, Tensor v, float lambda_) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("gae", TORCH_BOX(&pyagent::gae_cpu)); }

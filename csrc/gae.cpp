// torch op of generalised advantage estimation on the CPU (pyagent/ops/gae.py has the maths and the shapes).
#include <torch/csrc/stable/library.h>

#include "returns.h"

namespace pyagent {
namespace {

Tensor gae(const Tensor& r_t, const Tensor& discount_t, const Tensor& v, double lambda, const OptionalTensor& truncated,
           const OptionalTensor& v_final) {
  return with_dtype("r_t", r_t, [&](auto zero) {
    using T = decltype(zero);
    const Steps<T> steps(r_t, discount_t, truncated);
    const Argument<T> values("v", v, {steps.size() + 1, steps.lanes()}), last = steps.final_values(v_final);
    Tensor advantages = steps.new_result();
    const T* after = values.get() + steps.lanes();
    const GaeArgs<T> p{steps.args(advantages, v_final ? last.get() : after), values.get(), static_cast<T>(lambda)};
    over_lanes(p, kernels<T>().returns.gae);
    return advantages;
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "gae(Tensor r_t, Tensor discount_t, Tensor v, float lambda_, Tensor? truncated=None, Tensor? v_final=None) -> "
      "Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("gae", TORCH_BOX(&pyagent::gae)); }

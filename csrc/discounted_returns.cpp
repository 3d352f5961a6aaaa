// torch op of discounted returns (pyagent/ops/discounted_returns.py has the maths and the shapes).
#include <torch/csrc/stable/library.h>

#include "returns.h"

namespace pyagent {
namespace {

Tensor discounted_returns(const Tensor& r_t, const Tensor& discount_t, const Tensor& v_T,
                          const OptionalTensor& truncated, const OptionalTensor& v_final) {
  return with_dtype("r_t", r_t, [&](auto zero) {
    using T = decltype(zero);
    const Steps<T> steps(r_t, discount_t, truncated);
    STD_TORCH_CHECK(v_final || !truncated, "v_final: want a tensor with truncated");
    const Argument<T> value("v_T", v_T, {steps.lanes()}), last = steps.final_values(v_final);
    Tensor returns = steps.new_result();
    const DiscountedReturnsArgs<T> p{steps.args(returns, last.get()), value.get()};
    over_lanes(p, kernels<T>().returns.discounted_returns);
    return returns;
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "discounted_returns(Tensor r_t, Tensor discount_t, Tensor v_T, Tensor? truncated=None, Tensor? v_final=None) -> "
      "Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("discounted_returns", TORCH_BOX(&pyagent::discounted_returns)); }

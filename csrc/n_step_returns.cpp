// torch op of n-step returns (pyagent/ops/n_step_returns.py has the maths and the shapes).
#include <torch/csrc/stable/library.h>

#include "returns.h"

namespace pyagent {
namespace {

Tensor n_step_returns(const Tensor& r_t, const Tensor& discount_t, const Tensor& v_t, int64_t n,
                      const OptionalTensor& truncated) {
  STD_TORCH_CHECK(n >= 1, "n: got ", n, ", want at least 1");
  return with_dtype("r_t", r_t, [&](auto zero) {
    using T = decltype(zero);
    const Steps<T> steps(r_t, discount_t, truncated);
    const Argument<T> values = steps.argument("v_t", v_t);
    Tensor returns = steps.new_result();
    const NStepReturnsArgs<T> p{steps.args(returns, values.get()), values.get(), n};
    over_lanes(p, kernels<T>().returns.n_step_returns);
    return returns;
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def("n_step_returns(Tensor r_t, Tensor discount_t, Tensor v_t, int n, Tensor? truncated=None) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("n_step_returns", TORCH_BOX(&pyagent::n_step_returns)); }

// torch op of λ-returns (pyagent/ops/lambda_returns.py has the maths and the shapes).
#include <torch/csrc/stable/library.h>

#include "returns.h"

namespace pyagent {
namespace {

Tensor lambda_returns(const Tensor& r_t, const Tensor& discount_t, const Tensor& v_t, double lambda,
                      const OptionalTensor& truncated) {
  return with_dtype("r_t", r_t, [&](auto zero) {
    using T = decltype(zero);
    const Steps<T> steps(r_t, discount_t, truncated);
    const Argument<T> values = steps.argument("v_t", v_t);
    Tensor returns = steps.new_result();
    const LambdaReturnsArgs<T> p{steps.args(returns, values.get()), values.get(), static_cast<T>(lambda)};
    over_lanes(p, kernels<T>().returns.lambda_returns);
    return returns;
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def("lambda_returns(Tensor r_t, Tensor discount_t, Tensor v_t, float lambda_, Tensor? truncated=None) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("lambda_returns", TORCH_BOX(&pyagent::lambda_returns)); }

// torch op of Retrace's targets (pyagent/ops/retrace.py has the maths and the shapes).
#include <torch/csrc/stable/library.h>

#include "returns.h"

namespace pyagent {
namespace {

Tensor retrace(const Tensor& r_t, const Tensor& discount_t, const Tensor& q_t, const Tensor& a_t, const Tensor& pi_t,
               const Tensor& mu_t, double lambda, const OptionalTensor& truncated) {
  STD_TORCH_CHECK(q_t.dim() == 3, "q_t: got ", q_t.dim(), " dimensions, want 3");
  const int64_t A = q_t.size(2);
  return with_dtype("r_t", r_t, [&](auto zero) {
    using T = decltype(zero);
    const Steps<T> steps(r_t, discount_t, truncated);
    const int64_t T_ = steps.size(), B = steps.lanes();
    const Argument<T> q("q_t", q_t, {T_, B, A}), pi("pi_t", pi_t, {T_, B, A}), mu = steps.argument("mu_t", mu_t);
    const Argument<int64_t> actions("a_t", a_t, {T_, B});
    check_range("a_t", actions.get(), T_ * B, 0, A - 1);
    Tensor targets = steps.new_result();
    RetraceArgs<T> p{steps.args(targets, nullptr), A, q.get(), pi.get(), actions.get(), mu.get()};
    p.lambda = static_cast<T>(lambda);
    over_lanes(p, kernels<T>().returns.retrace, 32 + 8 * A);
    return targets;
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "retrace(Tensor r_t, Tensor discount_t, Tensor q_t, Tensor a_t, Tensor pi_t, Tensor mu_t, float lambda_, Tensor? "
      "truncated=None) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("retrace", TORCH_BOX(&pyagent::retrace)); }

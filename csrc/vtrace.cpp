// torch op of V-trace (pyagent/ops/vtrace.py has the maths and the shapes).
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "returns.h"

namespace pyagent {
namespace {

std::tuple<Tensor, Tensor> vtrace(const Tensor& r_t, const Tensor& discount_t, const Tensor& v, const Tensor& rho_tm1,
                                  double lambda, double clip_rho, double clip_pg_rho, const OptionalTensor& truncated,
                                  const OptionalTensor& v_final) {
  return with_dtype("r_t", r_t, [&](auto zero) -> std::tuple<Tensor, Tensor> {
    using T = decltype(zero);
    const Steps<T> steps(r_t, discount_t, truncated);
    const Argument<T> values("v", v, {steps.size() + 1, steps.lanes()}), last = steps.final_values(v_final);
    const Argument<T> ratio = steps.argument("rho_tm1", rho_tm1);
    Tensor vs = steps.new_result(), pg_advantages = steps.new_result();
    const T* after = values.get() + steps.lanes();
    VtraceArgs<T> p{steps.args(vs, v_final ? last.get() : after), values.get(), ratio.get()};
    p.pg_advantages = data<T>(pg_advantages);
    p.lambda = static_cast<T>(lambda);
    p.clip_rho = static_cast<T>(clip_rho), p.clip_pg_rho = static_cast<T>(clip_pg_rho);
    over_lanes(p, kernels<T>().returns.vtrace);
    return {vs, pg_advantages};
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "vtrace(Tensor r_t, Tensor discount_t, Tensor v, Tensor rho_tm1, float lambda_, float clip_rho, float "
      "clip_pg_rho, Tensor? truncated=None, Tensor? v_final=None) -> (Tensor, Tensor)");
}
STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("vtrace", TORCH_BOX(&pyagent::vtrace)); }

// What the ops that compute returns share on the CPU: the arguments of a step, checked, and lanes split over threads.
#pragma once

#include "core/dispatch.h"
#include "parallel.h"
#include "tensors.h"

namespace pyagent {

// Held while a kernel reads them.
template <class T>
class Steps {
 public:
  Steps(const Tensor& r_t, const Tensor& discount_t, const OptionalTensor& truncated)
      : T_(two_dimensional(r_t).size(0)),
        B_(r_t.size(1)),
        r_t_("r_t", r_t, {T_, B_}),
        discount_t_("discount_t", discount_t, {T_, B_}),
        truncated_("truncated", truncated, {T_, B_}),
        cut_(truncated.has_value()) {}

  int64_t size() const { return T_; }
  int64_t lanes() const { return B_; }
  // Of one number a step, like the rewards.
  Argument<T> argument(const char* name, const OptionalTensor& tensor) const { return {name, tensor, {T_, B_}}; }
  // What is read where a step is truncated, and has no other use.
  Argument<T> final_values(const OptionalTensor& v_final) const {
    STD_TORCH_CHECK(cut_ || !v_final, "v_final: want None without truncated");
    return argument("v_final", v_final);
  }
  Tensor new_result() const { return new_tensor<T>({T_, B_}); }

  ReturnArgs<T> args(Tensor& out, const T* v_final) const {
    return {T_, B_, r_t_.get(), discount_t_.get(), truncated_.get(), v_final, data<T>(out), nullptr};
  }

 private:
  static const Tensor& two_dimensional(const Tensor& r_t) {
    STD_TORCH_CHECK(r_t.dim() == 2, "r_t: got ", r_t.dim(), " dimensions, want 2");
    return r_t;
  }
  int64_t T_, B_;
  Argument<T> r_t_, discount_t_;
  Argument<bool> truncated_;
  bool cut_;  // the pointer of an empty tensor may be null
};

// kernel(args, lanes) for all lanes. Memory bounds it: a step costs about as much as 32 multiply-adds, and more where
// it reads more.
template <class Args>
void over_lanes(const Args& p, void (*kernel)(const Args&, int64_t, int64_t), int64_t flops_a_step = 32) {
  constexpr int64_t kGroup = 16;  // 64 bytes at least: threads share no cache line of the results
  const int64_t groups = (p.B + kGroup - 1) / kGroup;
  parallel_over(groups, flops_a_step * p.T_ * p.B,
                [&](int64_t begin, int64_t end) { kernel(p, begin * kGroup, end == groups ? p.B : end * kGroup); });
}

}  // namespace pyagent

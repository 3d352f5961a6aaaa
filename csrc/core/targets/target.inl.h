// Every body, and the table that names them. Included once by each targets/<isa>.cpp.
#pragma once

#include "core/dispatch.h"
#include "core/linear_cross_entropy.inl.h"
#include "core/linear_scan.inl.h"
#include "core/n_step_returns.inl.h"
#include "core/recurrence_step.inl.h"
#include "core/retrace.inl.h"
#include "core/targets/target_bf16.inl.h"

namespace pyagent {
namespace {

template <class T>
constexpr ReturnKernels<T> return_kernels() {
  return {
      linear_scan<DiscountedReturns<T>>,
      n_step_returns<T>,
      linear_scan<LambdaReturns<T>>,
      linear_scan<Gae<T>>,
      linear_scan<Vtrace<T>>,
      linear_scan<Retrace<T>>,
  };
}

template <class T>
constexpr Kernels<T> kernels_of() {
  return {
      sequence_kernels<T>(), step_packed_size<T>, step_pack<T>,        step_parts<T>, step<T>,
      exponentiate<T>,       scale_columns<T>,    return_kernels<T>(),
  };
}

constexpr FloatKernels float_kernels() { return {kernels_of<float>(), kernels_of<double>()}; }

}  // namespace
}  // namespace pyagent

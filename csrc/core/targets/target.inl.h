// Every body, and the table that names them. Included once by each targets/<isa>.cpp.
#pragma once

#include "core/dispatch.h"
#include "core/linear_cross_entropy.inl.h"
#include "core/recurrence_step.inl.h"
#include "core/targets/target_bf16.inl.h"

namespace pyagent {
namespace {

template <class T>
constexpr Kernels<T> kernels_of() {
  return {
      sequence_kernels<T>(), step_packed_size<T>, step_pack<T>, step_parts<T>, step<T>,
      exponentiate<T>,       scale_columns<T>,
  };
}

constexpr FloatKernels float_kernels() { return {kernels_of<float>(), kernels_of<double>()}; }

}  // namespace
}  // namespace pyagent

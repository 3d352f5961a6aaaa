// The bodies for Bf16 and the table that names them, all that is compiled again where only these differ.
#pragma once

#include "core/dispatch.h"
#include "core/matmul_bf16.inl.h"
#include "core/recurrence_backward.inl.h"
#include "core/recurrence_forward.inl.h"
#include "core/tanh.inl.h"

namespace pyagent {
namespace {

// Of numbers of type T, multiplied as of type P. (What is not given P has functions of its own names for Bf16.)
template <class T, class P = T>
constexpr SequenceKernels<T> sequence_kernels() {
  SequenceKernels<T> kernels = {
      packed_forward_size<T, P>,
      packed_backward_size<T, P>,
      pack_forward<T, P>,
      pack_backward<T, P>,
      recurrence_scratch<T, P>,
      recurrence_forward<T, P>,
      recurrence_backward<T, P>,
      nullptr,
      nullptr,
      sum_rows,
      tanh_of,
      tanh_gradient,
  };
  if constexpr (kParts<T, P> > 1)
    kernels.matmul_scratch_bytes = pair_matmul_scratch, kernels.matmul = pair_matmul;
  else
    kernels.matmul_scratch_bytes = matmul_scratch, kernels.matmul = matmul;
  return kernels;
}

constexpr Kernels<Bf16> bf16_kernels() { return {sequence_kernels<Bf16>(), widen, narrow}; }

}  // namespace
}  // namespace pyagent

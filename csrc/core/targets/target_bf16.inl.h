// The bodies for Bf16 and the table that names them, all that is compiled again where only these differ.
#pragma once

#include "core/dispatch.h"
#include "core/matmul_bf16.inl.h"
#include "core/recurrence_backward.inl.h"
#include "core/recurrence_forward.inl.h"
#include "core/split_bf16.inl.h"

namespace pyagent {
namespace {

// The products of Bf16 are functions of their own names, not templates.
template <class T>
constexpr SequenceKernels<T> sequence_kernels() {
  return {
      packed_forward_size<T>, packed_backward_size<T>, pack_forward<T>, pack_backward<T>, recurrence_scratch<T>,
      recurrence_forward<T>,  recurrence_backward<T>,  matmul_scratch,  matmul,           sum_rows,
  };
}

constexpr Kernels<Bf16> bf16_kernels() { return {sequence_kernels<Bf16>(), widen, narrow, split}; }

}  // namespace
}  // namespace pyagent

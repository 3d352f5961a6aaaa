// The bodies for Bf16 and the table that names them, all that is compiled again where only these differ.
#pragma once

#include "core/dispatch.h"
#include "core/matmul_bf16.inl.h"
#include "core/split_bf16.inl.h"

namespace pyagent {
namespace {

constexpr Kernels<Bf16> bf16_kernels() { return {matmul_scratch, matmul, sum_rows, widen, split}; }

}  // namespace
}  // namespace pyagent

// Matrix products and sums of rows over torch's threads.
#pragma once

#include <type_traits>

#include "core/dispatch.h"
#include "parallel.h"

namespace pyagent {

// With `split` those that multiply floats as sums of two Bf16, where the target has them.
template <class T>
const SequenceKernels<T>& sequence_kernels(bool split) {
  if constexpr (std::is_same_v<T, float>)
    if (split && target().split) return *target().split;
  return kernels<T>();
}

// Threads split the rows of the result only, so that no sum depends on their number.
template <class T>
void multiply(const MatmulArgs<T>& p, bool split = false) {
  const SequenceKernels<T>& kernels = sequence_kernels<T>(split);
  const int64_t bytes = kernels.matmul_scratch_bytes(p);
  parallel_over(p.M, 2 * p.M * p.N * p.K,
                [&](int64_t begin, int64_t end) { kernels.matmul(p, begin, end, scratch<char>(bytes).get()); });
}

// Split over columns, so that every sum runs over the rows in one order.
template <class T>
void add_rows(const RowSumArgs<T>& p, int64_t columns) {
  parallel_over(columns, 8 * p.count * columns,
                [&](int64_t begin, int64_t end) { kernels<T>().sum_rows(p, begin, end); });
}

// Where a product goes: into the type that is computed in, or rounded to Bf16.
template <class T>
void write_to(MatmulArgs<T>& p, Real<T>* c) {
  p.c = c;
}
inline void write_to(MatmulArgs<Bf16>& p, Bf16* c) { p.rounded_c = c; }

}  // namespace pyagent

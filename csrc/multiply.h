// Matrix products and sums of rows over torch's threads.
#pragma once

#include "core/dispatch.h"
#include "parallel.h"

namespace pyagent {

// Split over rows of the result only, so that no sum depends on the number of threads.
template <class T>
void multiply(const MatmulArgs<T>& p) {
  const int64_t bytes = kernels<T>().matmul_scratch_bytes(p);
  parallel_over(p.M, 2 * p.M * p.N * p.K,
                [&](int64_t begin, int64_t end) { kernels<T>().matmul(p, begin, end, scratch<char>(bytes).get()); });
}

// Split over columns, so that every sum runs over the rows in one order.
template <class T>
void add_rows(const RowSumArgs<T>& p, int64_t columns) {
  parallel_over(columns, 8 * p.count * columns,
                [&](int64_t begin, int64_t end) { kernels<T>().sum_rows(p, begin, end); });
}

}  // namespace pyagent

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

// Where a product goes: into the type that is computed in, or rounded to Bf16.
template <class T>
void write_to(MatmulArgs<T>& p, Real<T>* c) {
  p.c = c;
}
inline void write_to(MatmulArgs<Bf16>& p, Bf16* c) { p.rounded_c = c; }

// A product of floats on units that multiply Bf16, each operand split in two: three products, to about 2^-16. A small
// one takes longer to split than to compute.
inline void multiply_split(const MatmulArgs<float>& p) {
  if (p.M < 32 || p.N < 32) return multiply(p);
  const auto a = scratch<Bf16>(3 * p.M * p.K), b = scratch<Bf16>(3 * p.K * p.N);
  const auto split = [&](const MatrixRows<float>& x, int64_t rows, int64_t columns, bool k_outside, bool second,
                         Bf16* to) {
    parallel_over(rows, 8 * rows * columns, [&](int64_t begin, int64_t end) {
      kernels<Bf16>().split(x, rows, columns, k_outside, second, to, begin, end);
    });
    return MatrixRows<Bf16>{to, k_outside ? columns : 3 * columns, nullptr};
  };
  MatmulArgs<Bf16> q{};
  q.M = p.M, q.N = p.N, q.K = 3 * p.K;
  q.a_transposed = p.a_transposed, q.b_transposed = p.b_transposed;
  q.a = p.a_transposed ? split(p.a, p.K, p.M, true, false, a.get()) : split(p.a, p.M, p.K, false, false, a.get());
  q.b = p.b_transposed ? split(p.b, p.N, p.K, false, true, b.get()) : split(p.b, p.K, p.N, true, true, b.get());
  q.bias = p.bias, q.accumulate = p.accumulate;
  q.c = p.c, q.c_stride = p.c_stride;
  multiply(q);
}

}  // namespace pyagent

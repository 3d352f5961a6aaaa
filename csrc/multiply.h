// A matrix product over torch's threads.
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

}  // namespace pyagent

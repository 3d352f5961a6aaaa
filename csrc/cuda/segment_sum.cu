// Segment sums without float atomics, so that every run adds in the same order.
//
// One segment may have most of the positions (a frequent token), so no thread can be left to add up a whole one. Runs
// of kRun sorted positions, and runs of kRun such runs, that lie inside one segment are summed first, in parallel. A
// segment's sum then takes the longest summed run that fits at each place:
//
//     positions   . . . . . . . . | . . . . . . . . | . . . . . . . . | . . .
//     segment           [ . . . . | ....run.sum.... | ....run.sum.... | . ]
//
// At most 2 kRun terms come from each of the two shorter lengths, and N / kRun² from the longest. Where runs begin is
// fixed, so the order of addition depends neither on the grid nor on when a block runs.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "cuda/segment_sum.h"

namespace {

constexpr int64_t kRun = 32;
// A warp reads 32 neighbouring columns of a row: whole lines. A block has several runs or segments.
constexpr int kColumns = 32, kItems = 8;

__device__ float widened(float x) { return x; }
__device__ float widened(__nv_bfloat16 x) { return __bfloat162float(x); }

// One past the segment of sorted position k, or 0 where k lies before the first one.
__device__ int64_t segments_begun(const int64_t* begin, int64_t R, int64_t k) {
  int64_t low = 0, high = R + 1;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (begin[middle] <= k) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

__device__ bool inside_one_segment(const int64_t* begin, int64_t R, int64_t k, int64_t length) {
  const int64_t after = segments_begun(begin, R, k);
  return 0 < after && after <= R && k + length <= begin[after];
}

// sum[run] = Σ of kRun rows of `in`, for every run that lies inside one segment; others are left as they are, since no
// segment takes them. A row of `in` stands for kCovered sorted positions: for 1, where `order` tells, or for a run.
template <int64_t kCovered, class In>
__global__ void __launch_bounds__(kColumns* kItems)
    run_sums_kernel(PyagentSegmentSum x, const In* in, int64_t stride, float* sum) {
  const int64_t run = int64_t{blockIdx.x} * kItems + threadIdx.y, c = int64_t{blockIdx.y} * kColumns + threadIdx.x;
  constexpr int64_t kLength = kRun * kCovered;
  if (c >= x.C || run >= x.N / kLength || !inside_one_segment(x.begin, x.R, run * kLength, kLength)) return;
  float total = 0;
#pragma unroll 8
  for (int64_t i = run * kRun; i < (run + 1) * kRun; ++i) {
    const int64_t row = kCovered == 1 ? x.order[i] : i;
    total += widened(in[row * stride + c]);
  }
  sum[run * x.C + c] = total;
}

template <class In>
__global__ void __launch_bounds__(kColumns* kItems)
    segment_sums_kernel(PyagentSegmentSum x, const In* in, const float* run_sum, const float* long_run_sum) {
  const int64_t r = int64_t{blockIdx.x} * kItems + threadIdx.y, c = int64_t{blockIdx.y} * kColumns + threadIdx.x;
  if (r >= x.R || c >= x.C) return;
  constexpr int64_t kLongRun = kRun * kRun;
  const int64_t end = x.begin[r + 1];
  float total = 0;
  for (int64_t k = x.begin[r]; k < end;) {
    if (k % kLongRun == 0 && k + kLongRun <= end) {
      total += long_run_sum[k / kLongRun * x.C + c];
      k += kLongRun;
    } else if (k % kRun == 0 && k + kRun <= end) {
      total += run_sum[k / kRun * x.C + c];
      k += kRun;
    } else {
      total += widened(in[x.order[k] * x.stride + c]);
      ++k;
    }
  }
  x.out[r * x.C + c] = total;
}

dim3 grid_of(int64_t items, int64_t C) {
  return dim3(static_cast<unsigned>((items + kItems - 1) / kItems),
              static_cast<unsigned>((C + kColumns - 1) / kColumns));
}

template <class In>
int segment_sum(const PyagentSegmentSum& x, void* stream) {
  if (x.R == 0 || x.C == 0) return 0;
  const auto on = static_cast<cudaStream_t>(stream);
  const dim3 block(kColumns, kItems);
  const In* const in = static_cast<const In*>(x.in);
  const int64_t runs = x.N / kRun, long_runs = runs / kRun;
  float *const run_sum = static_cast<float*>(x.workspace), *const long_run_sum = run_sum + runs * x.C;
  if (runs > 0) run_sums_kernel<1, In><<<grid_of(runs, x.C), block, 0, on>>>(x, in, x.stride, run_sum);
  if (long_runs > 0) {
    run_sums_kernel<kRun, float><<<grid_of(long_runs, x.C), block, 0, on>>>(x, run_sum, x.C, long_run_sum);
  }
  segment_sums_kernel<In><<<grid_of(x.R, x.C), block, 0, on>>>(x, in, run_sum, long_run_sum);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace

int pyagent_segment_sum_f32(const PyagentSegmentSum* args, void* stream) { return segment_sum<float>(*args, stream); }

int pyagent_segment_sum_bf16(const PyagentSegmentSum* args, void* stream) {
  return segment_sum<__nv_bfloat16>(*args, stream);
}

int64_t pyagent_segment_sum_workspace_bytes(int64_t N, int64_t C) {
  return (N / kRun + N / kRun / kRun) * C * static_cast<int64_t>(sizeof(float));
}

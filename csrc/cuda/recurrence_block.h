// What a block of the recurrence does in both directions: copies into shared memory, the step's product, the barrier
// with the blocks that it exchanges operands with; and its launch.
#pragma once

#include <cooperative_groups.h>
#include <cuda_pipeline.h>
#include <cuda_runtime.h>

#include "core/dispatch.h"
#include "cuda/recurrence.h"
#include "cuda/recurrence_plan.h"
#include "cuda/recurrence_product.h"

namespace pyagent::cuda {
namespace {

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(Bfloat16 x) { return __bfloat162float(x); }
__device__ inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }

// A cluster's barrier in two halves, and the place of a shared variable of this block in another one of the cluster.
__device__ inline void arrive_at_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
#endif
}
__device__ inline void wait_for_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#elif defined(CUDA_EMU)
  cooperative_groups::this_cluster().sync();  // stands for both halves
#endif
}
template <class T>
__device__ T* in_block(T* place, int rank) {
#if __CUDA_ARCH__ >= 900 || defined(CUDA_EMU)
  return cooperative_groups::this_cluster().map_shared_rank(place, rank);
#else
  return place;
#endif
}

__device__ inline unsigned load_from_any_block(unsigned* counter) {
#if defined(__CUDA_ARCH__)
  unsigned value;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(counter) : "memory");
  return value;
#else
  return atomicAdd(counter, 0u);
#endif
}

// Of the blocks that share lanes. What a block wrote before it arrives can be read after wait; between the two it may
// do what needs no other block. All threads of a block meet in both.
template <bool kInCluster>
struct Barrier {
  unsigned* counter;  // goes around, like goal
  unsigned members, goal;

  __device__ void arrive() {
    if (kInCluster) return arrive_at_cluster();
    __syncthreads();
    if (members == 1) return;
    goal += members;
    if (threadIdx.x > 0) return;
    __threadfence();
    atomicAdd(counter, 1u);
  }
  __device__ void wait() {
    if (kInCluster) return wait_for_cluster();
    if (members > 1 && threadIdx.x == 0) {
      while (static_cast<int>(load_from_any_block(counter) - goal) < 0) __nanosleep(32);
      __threadfence();
    }
    __syncthreads();
  }
};

// to[row][k] = term begin + k of source(row), zeros past K and where the source is null. A row a warp. Whole vectors
// go asynchronously. Nothing is read through the L1 cache: other multiprocessors wrote it.
template <class Real, class Source>
__device__ void copy_rows(Real* to, int stride, int rows, int64_t columns, int64_t begin, int64_t K, bool vectors,
                          const Source& source) {
  constexpr int kVector = 16 / sizeof(Real);
  for (int row = threadIdx.x / 32; row < rows; row += kWarps) {
    const Real* const from = source(row);
    for (int64_t k = threadIdx.x % 32 * kVector; k < columns; k += 32 * kVector) {
      Real* const target = to + row * stride + k;
      const int64_t left = from ? K - begin - k : 0;
      if (vectors && left >= kVector) {
        __pipeline_memcpy_async(target, from + begin + k, 16);
      } else {
#pragma unroll
        for (int i = 0; i < kVector; ++i) target[i] = i < left ? __ldcg(from + begin + k + i) : Real(0.f);
      }
    }
  }
}

template <class Real, bool kInCluster>
struct Block {
  const PyagentRecurrence& args;
  const Plan& plan;
  const int64_t B = args.B, H = args.H, G = args.cell == kLstm ? 4 : args.cell == kGru ? 3 : 1;
  const int64_t K;  // terms of a sum
  Barrier<kInCluster> barrier;
  int64_t first_lane = 0;
  // In shared memory:
  Real *weights, *operands;
  float* sums;                // [splits, lanes, rows]
  float* staged;              // [slots, lanes, units]: what a step needs beside its sums
  int64_t* length;            // [lanes], 0 of lanes past B
  const Real** operand_rows;  // [lanes], null for zeros
  float* poison;              // [lanes], NaN where the length is out of range, else 0

  __device__ Block(const PyagentRecurrence& args, const Plan& plan, int64_t K, unsigned* counters,
                   unsigned char* memory)
      : args(args),
        plan(plan),
        K(K),
        barrier{counters + blockIdx.y * kCounterWords, gridDim.x, 0},
        weights(reinterpret_cast<Real*>(memory)),
        operands(reinterpret_cast<Real*>(memory + plan.operand_at)),
        sums(reinterpret_cast<float*>(memory + plan.sum_at)),
        staged(reinterpret_cast<float*>(memory + plan.staged_at)),
        length(reinterpret_cast<int64_t*>(memory + plan.lanes_at)),
        operand_rows(reinterpret_cast<const Real**>(length + plan.lanes)),
        poison(reinterpret_cast<float*>(operand_rows + plan.lanes)) {}

  __device__ float& slot(int number, int pair) { return staged[number * plan.lanes * plan.units + pair]; }

  // f(pair, lane, unit, b, u) for this thread's share of the lanes and units of a tile that exist.
  template <class F>
  __device__ void for_pairs(int64_t unit_tile, const F& f) {
    for (int pair = threadIdx.x; pair < plan.lanes * plan.units; pair += kThreads) {
      const int lane = pair / plan.units, unit = pair % plan.units;
      const int64_t b = first_lane + lane, u = unit_tile * plan.units + unit;
      if (b < B && u < H) f(pair, lane, unit, b, u);
    }
  }

  __device__ bool is_fresh(int64_t t, int64_t b) const { return args.reset && args.reset[t * B + b]; }

  template <class F>
  __device__ void for_unit_tiles(const F& f) {
    for (int64_t tile = blockIdx.x; tile < plan.unit_tiles; tile += gridDim.x) f(tile);
  }

  // Returns the number of steps that some lane takes.
  __device__ int64_t begin_lanes(int64_t lane_tile) {
    first_lane = lane_tile * plan.lanes;
    if (threadIdx.x < plan.lanes) {
      const int64_t b = first_lane + threadIdx.x, given = args.lengths && b < B ? args.lengths[b] : args.T;
      const bool valid = 0 <= given && given <= args.T;
      if (!valid) atomicExch(args.out_of_range, 1);
      length[threadIdx.x] = b >= B ? 0 : valid ? given : args.T;
      poison[threadIdx.x] = valid ? 0.f : NAN;
    }
    __syncthreads();
    int64_t longest = 0;
    for (int lane = 0; lane < plan.lanes; ++lane) longest = max(longest, length[lane]);
    return longest;
  }

  template <class Source>
  __device__ void load_weights(const Source& weight_row) {
    copy_rows(weights, plan.weight_stride, plan.rows, plan.weight_stride, 0, K, plan.vectors,
              [&](int row) { return weight_row(int64_t{blockIdx.x}, row); });
    __pipeline_commit();
    __pipeline_wait_prior(0);
  }

  // Which buffer of a cluster's operands step t reads.
  __device__ Real* buffer_of(int64_t t) { return operands + (t & 1) * plan.lanes * plan.operand_stride; }

  // In a cluster: sets the operands of step t, in every block.
  __device__ void pass_on(int64_t t, int lane, int64_t k, Real value) {
    Real* const place = buffer_of(t) + lane * plan.operand_stride + k;
    for (int rank = 0; rank < plan.blocks_x; ++rank) *in_block(place, rank) = value;
  }

  // Before the first step, t: operand_rows become visible, and in a cluster are loaded.
  __device__ void begin_exchange(int64_t t) {
    __syncthreads();
    if (!kInCluster) return;
    load_operands(buffer_of(t), 0, plan.operand_stride);
    copy_rows(buffer_of(t + 1), plan.operand_stride, plan.lanes, plan.operand_stride, 0, K, plan.vectors,
              [](int) -> const Real* { return nullptr; });
    __pipeline_commit();
    __pipeline_wait_prior(0);
    barrier.arrive();
    barrier.wait();
  }

  // After the last step: shared memory may be used anew, and a block of a cluster may end.
  __device__ void end_exchange() {
    __syncthreads();
    if (!kInCluster) return;
    barrier.arrive();
    barrier.wait();
  }

  // sums = weights times the operands of step t.
  template <class Source>
  __device__ void multiply_step(int64_t t, int64_t unit_tile, const Source& weight_row) {
    if (kInCluster) {
      multiply_lanes(weights, buffer_of(t), K, false);
      __syncthreads();
      return;
    }
    const auto load = [&](int64_t chunk) {
      const int64_t begin = chunk * plan.chunk, columns = columns_of(begin);
      load_operands(buffer_of(chunk), begin, columns);
      if (plan.variant == kStreamed)
        copy_rows(weights + chunk % 2 * plan.rows * plan.weight_stride, plan.weight_stride, plan.rows, columns, begin,
                  K, plan.vectors, [&](int row) { return weight_row(unit_tile, row); });
      __pipeline_commit();
    };
    load(0);
    for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
      if (chunk + 1 < plan.chunks) {
        load(chunk + 1);
        __pipeline_wait_prior(1);
      } else {
        __pipeline_wait_prior(0);
      }
      __syncthreads();
      const int64_t begin = chunk * plan.chunk;
      const Real* const from =
          plan.variant == kStreamed ? weights + chunk % 2 * plan.rows * plan.weight_stride : weights + begin;
      multiply_lanes(from, buffer_of(chunk), columns_of(begin), chunk > 0);
      __syncthreads();
    }
  }

  __device__ float sum(int lane, int row) {
    float total = 0;
    for (int split = 0; split < plan.splits; ++split)
      total += sums[(int64_t{split} * plan.lanes + lane) * plan.sum_stride + row];
    return total;
  }

 private:
  __device__ void load_operands(Real* to, int64_t begin, int64_t columns) {
    copy_rows(to, plan.operand_stride, plan.lanes, columns, begin, K, plan.vectors,
              [&](int lane) { return operand_rows[lane]; });
  }

  // Terms of a chunk, filled up to whole steps of a product.
  __device__ int64_t columns_of(int64_t begin) {
    return min(plan.chunk, (K - begin + kStep<Real> - 1) / kStep<Real> * kStep<Real>);
  }

  __device__ void multiply_lanes(const Real* from, const Real* operand, int64_t terms, bool add) {
    const int64_t steps = (terms + kStep<Real> - 1) / kStep<Real>;
    switch (min(plan.lanes / kTileLanes, kMostLaneTiles)) {
      case 1:
        return multiply_chunk<Real, 1>(plan, sums, from, operand, steps, add);
      case 2:
        return multiply_chunk<Real, 2>(plan, sums, from, operand, steps, add);
      default:
        return multiply_chunk<Real, kMostLaneTiles>(plan, sums, from, operand, steps, add);
    }
  }
};

// f(std::integral_constant of the cell)
template <class F>
__device__ void with_cell(int64_t cell, const F& f) {
  switch (cell) {
    case kTanh:
      return f(std::integral_constant<int64_t, kTanh>());
    case kRelu:
      return f(std::integral_constant<int64_t, kRelu>());
    case kGru:
      return f(std::integral_constant<int64_t, kGru>());
    case kLstm:
      return f(std::integral_constant<int64_t, kLstm>());
  }
}

}  // namespace
}  // namespace pyagent::cuda

// Device code of the recurrence's product, weights [rows, K] times operands [K, lanes], both in shared memory.
//
// A warp sums tiles of 32 rows and 8, 16 or 32 lanes. A thread has, of every 16 rows and 8 lanes, the four elements
// that it has in the accumulator of mma.m16n8k16: rows g and g+8, lanes 2q and 2q+1, with g = thread/4 and q =
// thread%4.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "cuda/recurrence_plan.h"

namespace pyagent::cuda {
namespace {

using Bfloat16 = __nv_bfloat16;

template <class Real>
constexpr int64_t kStep = step_of(sizeof(Real));

// sum += weights times operands over some steps of K; both pointers are at the tile.
template <int kLaneTiles>
__device__ void multiply(float (&sum)[2][kLaneTiles][4], const float* weights, int weight_stride, const float* operands,
                         int operand_stride, int64_t steps) {
  const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
  weights += g * weight_stride, operands += 2 * q * operand_stride;
  for (int64_t step = 0; step < steps; ++step, weights += 4, operands += 4) {
    float4 a[2][2];
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i / 2][i % 2] = *reinterpret_cast<const float4*>(weights + 8 * i * weight_stride);
#pragma unroll
    for (int j = 0; j < 2 * kLaneTiles; ++j) {
      const float4 b = *reinterpret_cast<const float4*>(operands + (j / 2 * 8 + j % 2) * operand_stride);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& s = sum[i / 2][j / 2][2 * (i % 2) + j % 2];
        const float4 w = a[i / 2][i % 2];
        s = fmaf(w.w, b.w, fmaf(w.z, b.z, fmaf(w.y, b.y, fmaf(w.x, b.x, s))));
      }
    }
  }
}

__device__ inline void multiply_tile(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(__CUDA_ARCH__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(CUDA_EMU)
  emu::mma_m16n8k16_bf16(sum, a, b);
#endif
}

// Of 32 terms a thread loads eight neighbours as one vector, and gives them to two mma as if they were those that its
// fragments have: both factors are permuted alike, so the sum is the same.
template <int kLaneTiles>
__device__ void multiply(float (&sum)[2][kLaneTiles][4], const Bfloat16* weights, int weight_stride,
                         const Bfloat16* operands, int operand_stride, int64_t steps) {
  const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
  weights += g * weight_stride + 8 * q, operands += g * operand_stride + 8 * q;
  for (int64_t step = 0; step < steps; ++step, weights += 32, operands += 32) {
    uint4 a[2][2];
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i / 2][i % 2] = *reinterpret_cast<const uint4*>(weights + 8 * i * weight_stride);
#pragma unroll
    for (int j = 0; j < kLaneTiles; ++j) {
      const uint4 b = *reinterpret_cast<const uint4*>(operands + 8 * j * operand_stride);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        multiply_tile(sum[i][j], {a[i][0].x, a[i][1].x, a[i][0].y, a[i][1].y}, {b.x, b.y});
        multiply_tile(sum[i][j], {a[i][0].z, a[i][1].z, a[i][0].w, a[i][1].w}, {b.z, b.w});
      }
    }
  }
}

// The product of one chunk of K: sums of all tiles and splits, from zero or added to what is there.
template <class Real, int kLaneTiles>
__device__ void multiply_chunk(const Plan& plan, float* sums, const Real* weights, const Real* operands, int64_t steps,
                               bool add) {
  const int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
  const int row_tiles = plan.rows / kTileRows, tiles = row_tiles * (plan.lanes / (kTileLanes * kLaneTiles));
  for (int job = threadIdx.x / 32; job < tiles * plan.splits; job += kWarps) {
    const int split = job / tiles, tile = job % tiles;
    const int row = tile % row_tiles * kTileRows, lane = tile / row_tiles * (kTileLanes * kLaneTiles);
    const int64_t begin = steps * split / plan.splits, end = steps * (split + 1) / plan.splits;
    float* const first = sums + (int64_t{split} * plan.lanes + lane) * plan.sum_stride + row;
    const auto element = [&](int i, int j, int c) -> float& {
      return first[(8 * j + 2 * q + c % 2) * plan.sum_stride + 16 * i + g + c / 2 * 8];
    };
    float sum[2][kLaneTiles][4];
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < kLaneTiles; ++j)
#pragma unroll
        for (int c = 0; c < 4; ++c) sum[i][j][c] = add ? element(i, j, c) : 0;
    multiply<kLaneTiles>(sum, weights + row * plan.weight_stride + begin * kStep<Real>, plan.weight_stride,
                         operands + lane * plan.operand_stride + begin * kStep<Real>, plan.operand_stride, end - begin);
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < kLaneTiles; ++j)
#pragma unroll
        for (int c = 0; c < 4; ++c) element(i, j, c) = sum[i][j][c];
  }
}

}  // namespace
}  // namespace pyagent::cuda

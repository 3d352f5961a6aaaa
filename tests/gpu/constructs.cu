// A small kernel for each construct that the emulation has to get right, and some that it has to refuse.
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_pipeline.h>
#include <cuda_runtime.h>
#include <mma.h>

#include <cstdint>

namespace {

namespace cg = cooperative_groups;

constexpr unsigned kFullWarp = 0xffffffffu;
constexpr int kThreads = 64;

__device__ int warp_sum(int x) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(kFullWarp, x, distance);
  return x;
}

// out[i] = Σ in over the warp of i; odd[i] = which lanes of it have odd numbers.
__global__ void warp_kernel(const int* in, int* out, unsigned* odd) {
  const int i = threadIdx.x;
  out[i] = warp_sum(in[i]);
  odd[i] = __ballot_sync(kFullWarp, in[i] % 2 != 0);
}

// Each block reverses its kThreads numbers.
__global__ void reverse_kernel(const float* in, float* out) {
  __shared__ float held[kThreads];
  const int start = blockIdx.x * kThreads, i = threadIdx.x;
  held[i] = in[start + i];
  __syncthreads();
  out[start + i] = held[kThreads - 1 - i];
}

// total[0] = Σ in.
__global__ void count_kernel(const int* in, int* total, int N) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  const int sum = warp_sum(i < N ? in[i] : 0);
  if (threadIdx.x % 32 == 0) atomicAdd(total, sum);
}

// Until all blocks have come `round` times.
__device__ void grid_barrier(unsigned* arrived, unsigned round) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(arrived, 1u);
    while (atomicAdd(arrived, 0u) < round * gridDim.x) __nanosleep(32);
    __threadfence();
  }
  __syncthreads();
}

// x[t + 1, i] = x[t, i] + x[t, i + 2], round the end; a thread an entry and three a block, so that some of what each
// thread of another block has written is read.
__global__ void neighbours_kernel(float* x, unsigned* arrived, int T, bool groups) {
  const int N = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int t = 0; t < T; ++t) {
    x[(t + 1) * N + i] = x[t * N + i] + x[t * N + (i + 2) % N];
    if (groups) {
      cg::this_grid().sync();
    } else {
      grid_barrier(arrived, t + 1);
    }
  }
}

// out[i] = in[i] + 1, through two asynchronous stages of kThreads × 4 floats.
__global__ void staged_kernel(const float* in, float* out, int stages) {
  __shared__ __align__(16) float stage[2][4 * kThreads];
  const int i = 4 * threadIdx.x;
  const auto fetch = [&](int s) {
    if (s < stages) __pipeline_memcpy_async(&stage[s % 2][i], &in[s * 4 * kThreads + i], 16);
    __pipeline_commit();
  };
  fetch(0);
  for (int s = 0; s < stages; ++s) {
    fetch(s + 1);
    __pipeline_wait_prior(1);
    for (int j = i; j < i + 4; ++j) out[s * 4 * kThreads + j] = stage[s % 2][j] + 1;
  }
}

// Every block of a cluster gives its numbers to the next one.
__global__ void cluster_kernel(const float* in, float* out) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  extern __shared__ float received[];
  const cg::cluster_group cluster = cg::this_cluster();
  const int next = (cluster.block_rank() + 1) % cluster.num_blocks(), at = blockIdx.x * kThreads + threadIdx.x;
  cluster.sync();  // no block writes to one that has not begun
  cluster.map_shared_rank(received, next)[threadIdx.x] = in[at];
  cluster.sync();
  out[at] = received[threadIdx.x];
#endif
}

__device__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef CUDA_EMU
  emu::mma_m16n8k16_bf16(d, a, b);
#else
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// c [16, 8] = a [16, 16] bᵀ, b [8, 16]; two bfloat16 in a word.
__global__ void mma_kernel(const unsigned* a, const unsigned* b, float* c) {
  const int group = threadIdx.x / 4, in_group = threadIdx.x % 4, low = group * 8 + in_group, high = low + 64;
  const unsigned a_words[4] = {a[low], a[high], a[low + 4], a[high + 4]}, b_words[2] = {b[low], b[low + 4]};
  float d[4] = {0, 0, 0, 0};
  mma(d, a_words, b_words);
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + 2 * in_group + i % 2] = d[i];
}

// c [16, 16] = a [16, K] b [K, 16], one warp.
__global__ void wmma_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int K) {
  using namespace nvcuda::wmma;
  fragment<matrix_a, 16, 16, 16, __nv_bfloat16, row_major> a_tile;
  fragment<matrix_b, 16, 16, 16, __nv_bfloat16, row_major> b_tile;
  fragment<accumulator, 16, 16, 16, float> sum;
  fill_fragment(sum, 0.f);
  for (int k = 0; k < K; k += 16) {
    load_matrix_sync(a_tile, a + k, K);
    load_matrix_sync(b_tile, b + k * 16, 16);
    mma_sync(sum, a_tile, b_tile, sum);
  }
  store_matrix_sync(c, sum, 16, mem_row_major);
}

// What is wrong with CUDA, and has to be found.
__global__ void divergent_barrier_kernel() {
  if (threadIdx.x < 40) __syncthreads();
  __syncthreads();
}
__global__ void divergent_shuffle_kernel(int* out) {
  if (threadIdx.x < 20) out[threadIdx.x] = __shfl_xor_sync(kFullWarp, 1, 1);
}
__global__ void uninitialised_kernel(float* out) {
  __shared__ float held[kThreads];
  out[threadIdx.x] = held[threadIdx.x];
}

template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), int blocks, int threads, int shared, int cooperative, int cluster,
           void* stream, Arguments... arguments) {
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeCooperative;
  attributes[0].val.cooperative = cooperative;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim.x = cluster;
  attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
  cudaLaunchConfig_t configuration = {};
  configuration.gridDim = dim3(blocks);
  configuration.blockDim = dim3(threads);
  configuration.dynamicSmemBytes = shared;
  configuration.stream = static_cast<cudaStream_t>(stream);
  configuration.attrs = attributes;
  configuration.numAttrs = cluster > 1 ? 2 : 1;
  return cudaLaunchKernelEx(&configuration, kernel, Parameters(arguments)...);
}

}  // namespace

extern "C" {
int pyagent_warp(const int* in, int* out, unsigned* odd, int64_t N, void* stream) {
  return launch(warp_kernel, 1, static_cast<int>(N), 0, 0, 1, stream, in, out, odd);
}
int pyagent_reverse(const float* in, float* out, int64_t blocks, void* stream) {
  reverse_kernel<<<static_cast<unsigned>(blocks), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(in, out);
  return cudaGetLastError();
}
int pyagent_count(const int* in, int* total, int64_t N, void* stream) {
  const int blocks = static_cast<int>((N + kThreads - 1) / kThreads);
  return launch(count_kernel, blocks, kThreads, 0, 0, 1, stream, in, total, static_cast<int>(N));
}
int pyagent_neighbours(float* x, unsigned* arrived, int64_t T, int64_t blocks, int64_t groups, void* stream) {
  return launch(neighbours_kernel, static_cast<int>(blocks), 3, 0, 1, 1, stream, x, arrived, static_cast<int>(T),
                groups != 0);
}
int pyagent_staged(const float* in, float* out, int64_t stages, void* stream) {
  return launch(staged_kernel, 1, kThreads, 0, 0, 1, stream, in, out, static_cast<int>(stages));
}
int pyagent_cluster(const float* in, float* out, int64_t blocks, int64_t cluster, void* stream) {
  return launch(cluster_kernel, static_cast<int>(blocks), kThreads, kThreads * 4, 0, static_cast<int>(cluster), stream,
                in, out);
}
int pyagent_mma(const unsigned* a, const unsigned* b, float* c, void* stream) {
  return launch(mma_kernel, 1, 32, 0, 0, 1, stream, a, b, c);
}
int pyagent_wmma(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int64_t K, void* stream) {
  return launch(wmma_kernel, 1, 32, 0, 0, 1, stream, a, b, c, static_cast<int>(K));
}
int pyagent_divergent_barrier(void* stream) { return launch(divergent_barrier_kernel, 1, kThreads, 0, 0, 1, stream); }
int pyagent_divergent_shuffle(int* out, void* stream) {
  return launch(divergent_shuffle_kernel, 1, 32, 0, 0, 1, stream, out);
}
int pyagent_uninitialised(float* out, void* stream) {
  return launch(uninitialised_kernel, 1, kThreads, 0, 0, 1, stream, out);
}
}

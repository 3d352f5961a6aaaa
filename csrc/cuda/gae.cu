// Generalised advantage estimation: A_t = delta_t + discount_t * lambda * A_{t+1}, one thread a lane of the batch.
// A step reads row t of every array at consecutive addresses, so a warp's loads and stores are whole lines.
#include <cuda_runtime.h>

#include "cuda/launch.h"

namespace {

constexpr int kThreads = 128;  // small blocks: a batch of a few thousand lanes still reaches most multiprocessors

template <class Real>
__global__ void gae_kernel(const Real* __restrict__ r_t, const Real* __restrict__ discount_t,
                           const Real* __restrict__ v, Real lambda, Real* __restrict__ advantage, int64_t T,
                           int64_t B) {
  const int64_t b = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (b >= B) return;
  Real after = 0;
  Real v_next = v[T * B + b];
  for (int64_t t = T - 1; t >= 0; --t) {
    const int64_t at = t * B + b;
    const Real v_now = v[at];
    after = r_t[at] + discount_t[at] * v_next - v_now + discount_t[at] * lambda * after;
    advantage[at] = after;
    v_next = v_now;
  }
}

}  // namespace

namespace pyagent::cuda {

template <class Real>
int launch_gae(const Real* r_t, const Real* discount_t, const Real* v, Real lambda, Real* advantage, int64_t T,
               int64_t B, void* stream) {
  if (T == 0 || B == 0) return 0;
  const auto blocks = static_cast<unsigned>((B + kThreads - 1) / kThreads);
  gae_kernel<Real>
      <<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(r_t, discount_t, v, lambda, advantage, T, B);
  return static_cast<int>(cudaGetLastError());
}

template int launch_gae<float>(const float*, const float*, const float*, float, float*, int64_t, int64_t, void*);
template int launch_gae<double>(const double*, const double*, const double*, double, double*, int64_t, int64_t, void*);

const char* describe(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

}  // namespace pyagent::cuda

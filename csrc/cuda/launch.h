// The launchers of the CUDA kernels: raw device pointers, sizes and a stream (a cudaStream_t, passed as void* so that
// neither side needs the other's headers). Each returns the cudaError_t of its launch, 0 for success.
#pragma once

#include <cstdint>

namespace pyagent::cuda {

// r_t, discount_t, advantage: [T, B]; v: [T+1, B]; contiguous, float or double.
template <class Real>
int launch_gae(const Real* r_t, const Real* discount_t, const Real* v, Real lambda, Real* advantage, int64_t T,
               int64_t B, void* stream);

// What CUDA calls that error.
const char* describe(int error);

}  // namespace pyagent::cuda

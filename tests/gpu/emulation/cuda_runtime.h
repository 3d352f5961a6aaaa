// CUDA's device model on the CPU. Stands before the real <cuda_runtime.h> when a host compiler builds kernels that
// cu2emu.py has rewritten; nvcc never sees it. CUDA_EMU tells inline assembly that it has to have another form.
#pragma once
#define CUDA_EMU 1

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include <host_defines.h>

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __shared__
#undef __launch_bounds__
#undef __grid_constant__
#undef __cluster_dims__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)

#include "emu/scheduler.h"
#include "emu/collectives.h"
#include "emu/memory.h"
#include "emu/mma.h"

#undef __shared__
#define __shared__ not_rewritten_by_cu2emu

using std::max;
using std::min;

template <class T>
T __ldg(const T* place) {
  return *place;
}
template <class T>
T __ldcg(const T* place) {
  return *place;
}
template <class T>
T __ldcs(const T* place) {
  return *place;
}
template <class T>
void __stcg(T* place, emu::Value<T> x) {
  *place = x;
}
template <class T>
void __stcs(T* place, emu::Value<T> x) {
  *place = x;
}

inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dsub_rn(double x, double y) { return x - y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __fma_rn(double x, double y, double z) { return std::fma(x, y, z); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
// glibc declares functions of these names.
#define __expf(x) expf(x)
#define __logf(x) logf(x)

inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float __int_as_float(int bits) { return __uint_as_float(static_cast<unsigned>(bits)); }
inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }

// The host's side. The device is a small Hopper; a block fills a multiprocessor.
inline cudaError_t cudaPeekAtLastError() { return emu::last_error; }
inline cudaError_t cudaGetLastError() { return std::exchange(emu::last_error, cudaSuccess); }
inline cudaError_t cudaDeviceSynchronize() { return emu::last_error; }
inline const char* cudaGetErrorString(cudaError_t) { return emu_error(); }
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = static_cast<int>(emu::setting("EMU_MULTIPROCESSORS", 4));
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(emu::kMostSharedMemory);
      return cudaSuccess;
    case cudaDevAttrCooperativeLaunch:
      *value = 1;
      return cudaSuccess;
    default:
      return cudaErrorInvalidValue;
  }
}
template <class Function>
cudaError_t cudaFuncSetAttribute(Function, cudaFuncAttribute, int value) {
  return value > static_cast<int>(emu::kMostSharedMemory) ? cudaErrorInvalidValue : cudaSuccess;
}
template <class Function>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Function, int threads, size_t shared_bytes) {
  *blocks = threads <= emu::kMostThreadsOfBlock && shared_bytes <= emu::kMostSharedMemory;
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* place, int value, size_t size, cudaStream_t) {
  std::memset(place, value, size);
  return cudaSuccess;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* configuration, void (*function)(Parameters...),
                               Arguments&&... arguments) {
  emu::Kernel k;
  k.grid = configuration->gridDim;
  k.block = configuration->blockDim;
  k.shared_bytes = configuration->dynamicSmemBytes;
  for (unsigned i = 0; i < configuration->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = configuration->attrs[i];
    if (attribute.id == cudaLaunchAttributeCooperative) k.cooperative = attribute.val.cooperative;
    if (attribute.id == cudaLaunchAttributeClusterDimension) {
      k.cluster_size = static_cast<int>(attribute.val.clusterDim.x);
    }
  }
  k.body = [=] { function(Parameters(arguments)...); };
  return emu::launch(std::move(k));
}

// What `kernel<<<grid, block, shared_bytes, stream>>>(...)` becomes.
template <class... Parameters>
auto emu_launcher(void (*function)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes = 0,
                  cudaStream_t = nullptr) {
  return [=](auto... arguments) {
    cudaLaunchConfig_t configuration = {};
    configuration.gridDim = grid;
    configuration.blockDim = block;
    configuration.dynamicSmemBytes = shared_bytes;
    return cudaLaunchKernelEx(&configuration, function, Parameters(arguments)...);
  };
}

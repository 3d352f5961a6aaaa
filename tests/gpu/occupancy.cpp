// How many blocks of a kernel a multiprocessor holds at once, from CUDA's own calculator, which needs no driver.
#include <cstddef>
#include <cstring>

#include <cuda_occupancy.h>

namespace {

struct Multiprocessor {
  int architecture, shared_bytes, most_shared_of_block;
};

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
constexpr Multiprocessor kMultiprocessors[] = {
    {80, 164 * 1024, 163 * 1024}, {90, 228 * 1024, 227 * 1024}, {100, 228 * 1024, 227 * 1024}};

}  // namespace

// -1 where it cannot be told.
extern "C" int blocks_per_multiprocessor(int architecture, int threads, int registers, int static_shared,
                                         int dynamic_shared) {
  for (const Multiprocessor& multiprocessor : kMultiprocessors) {
    if (multiprocessor.architecture != architecture) continue;
    cudaOccDeviceProp device;
    std::memset(&device, 0, sizeof device);
    device.computeMajor = architecture / 10;
    device.computeMinor = architecture % 10;
    device.maxThreadsPerBlock = 1024;
    device.maxThreadsPerMultiprocessor = 2048;
    device.regsPerBlock = device.regsPerMultiprocessor = 65536;
    device.warpSize = 32;
    device.sharedMemPerBlock = 48 * 1024;
    device.sharedMemPerMultiprocessor = multiprocessor.shared_bytes;
    device.sharedMemPerBlockOptin = multiprocessor.most_shared_of_block;
    device.reservedSharedMemPerBlock = 1024;
    device.numSms = 1;
    cudaOccFuncAttributes kernel;
    std::memset(&kernel, 0, sizeof kernel);
    kernel.maxThreadsPerBlock = 1024;
    kernel.numRegs = registers;
    kernel.sharedSizeBytes = static_shared;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF;
    kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    kernel.maxDynamicSharedSizeBytes = multiprocessor.most_shared_of_block - static_shared;
    cudaOccDeviceState state;
    state.cacheConfig = CACHE_PREFER_NONE;
    state.carveoutConfig = 100;
    cudaOccResult result;
    if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, dynamic_shared)) return -1;
    return result.activeBlocksPerMultiprocessor;
  }
  return -1;
}

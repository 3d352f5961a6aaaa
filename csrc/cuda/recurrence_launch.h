// The host's side of a pass: a plan for this device, counters at zero, the launch.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "core/dispatch.h"
#include "cuda/recurrence.h"
#include "cuda/recurrence_plan.h"

namespace pyagent::cuda {
namespace {

// What a plan may use, and the most shared memory that a block can have.
inline cudaError_t ask(const PyagentRecurrence& args, Device& device, int& shared_bytes) {
  int number = 0, multiprocessors = 0, major = 0;
  cudaError_t error = cudaGetDevice(&number);
  if (!error) error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, number);
  if (!error) error = cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, number);
  if (!error) error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number);
  device.multiprocessors = args.multiprocessors ? args.multiprocessors : multiprocessors;
  device.shared_bytes = args.shared_bytes ? args.shared_bytes : shared_bytes;
  device.clusters = major >= 9 && multiprocessors >= 2 * kMostClusterBlocks;
  return error;
}

template <class Real>
bool begin_at_vectors(int64_t H, std::initializer_list<const void*> arrays) {
  bool aligned = H * sizeof(Real) % 16 == 0;
  for (const void* array : arrays) aligned = aligned && reinterpret_cast<uintptr_t>(array) % 16 == 0;
  return aligned;
}

struct Workspace {
  unsigned* counters;  // one a column of blocks, kCounterWords apart
  float* carry;        // [B, H]
  void* weight_t;      // [H, G·H]
};

struct WorkspaceSize {
  int64_t counters, carry, weight_t;  // bytes, in this order
};

inline WorkspaceSize workspace_size(int64_t cell, int64_t bfloat16, int64_t B, int64_t H) {
  const int64_t columns = std::min(ceil_div(B, kTileLanes), kMostColumns);
  return {round_up(columns * kCounterWords * 4, 256), round_up(B * H * 4, 256),
          gates_of(cell) * H * H * (bfloat16 ? 2 : 4)};
}

inline Workspace workspace_of(const PyagentRecurrence& args) {
  const WorkspaceSize size = workspace_size(args.cell, args.bfloat16, args.B, args.H);
  auto* const memory = static_cast<unsigned char*>(args.workspace);
  return {reinterpret_cast<unsigned*>(memory), reinterpret_cast<float*>(memory + size.counters),
          memory + size.counters + size.carry};
}

template <class Args>
using Kernel = void (*)(Args, Plan, Workspace);

// A block of any plan is alone on its multiprocessor at worst, so a grid of at most one a multiprocessor is resident.
template <class Args>
cudaError_t launch(Kernel<Args> in_grid, Kernel<Args> in_cluster, const Problem& problem, bool vectors,
                   const Args& args, const Workspace& workspace, cudaStream_t stream) {
  Device device;
  int shared_bytes = 0;
  if (const cudaError_t error = ask(args, device, shared_bytes)) return error;
  Plan plan;
  if (!choose(problem, device, {args.variant, args.units, args.lanes}, plan)) return cudaErrorInvalidConfiguration;
  plan.vectors = vectors;
  const bool cluster = plan.variant == kCluster;
  const Kernel<Args> kernel = cluster ? in_cluster : in_grid;
  // Of every launch the same, since other threads may launch with other plans.
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  if (!error && !cluster)
    error = cudaMemsetAsync(workspace.counters, 0, plan.blocks_y * kCounterWords * sizeof(unsigned), stream);
  if (error) return error;
  cudaLaunchAttribute attribute{};
  attribute.id = cluster ? cudaLaunchAttributeClusterDimension : cudaLaunchAttributeCooperative;
  if (cluster)
    attribute.val.clusterDim.x = plan.blocks_x, attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  else
    attribute.val.cooperative = 1;
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = dim3(plan.blocks_x, plan.blocks_y), configuration.blockDim = dim3(kThreads);
  configuration.dynamicSmemBytes = plan.bytes, configuration.stream = stream;
  configuration.attrs = &attribute, configuration.numAttrs = 1;
  return cudaLaunchKernelEx(&configuration, kernel, args, plan, workspace);
}

}  // namespace
}  // namespace pyagent::cuda

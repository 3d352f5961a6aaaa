// CUDA's groups of threads, as far as kernels here use them.
#pragma once

#include <cuda_runtime.h>

namespace cooperative_groups {

struct thread_block {
  void sync() const { emu::sync_block(0, 1); }
  unsigned thread_rank() const { return static_cast<unsigned>(emu::this_thread().rank); }
  unsigned size() const { return static_cast<unsigned>(emu::this_thread().block->threads); }
};

struct grid_group {
  void sync() const { emu::sync_grid(); }
  unsigned long long thread_rank() const {
    const uint3& block = emu::this_thread().block->index;
    const unsigned long long number = (block.z * gridDim.y + block.y) * gridDim.x + block.x;
    return number * emu::this_thread().block->threads + emu::this_thread().rank;
  }
};

struct cluster_group {
  static void sync() { emu::sync_cluster(); }
  static unsigned num_blocks() { return static_cast<unsigned>(emu::this_thread().block->cluster->size()); }
  static unsigned block_rank() { return static_cast<unsigned>(emu::this_thread().block->cluster_rank); }
  template <class T>
  static T* map_shared_rank(T* address, int rank) {
    return emu::shared_of_rank(address, rank);
  }
};

template <unsigned kSize>
struct thread_block_tile {
  unsigned thread_rank() const { return emu::this_thread().rank & (kSize - 1); }
  unsigned meta_group_rank() const { return emu::this_thread().rank / kSize; }
  static constexpr unsigned size() { return kSize; }
  unsigned mask() const {
    const unsigned first = emu::this_thread().rank & 31 & ~(kSize - 1);
    return kSize == 32 ? ~0u : ((1u << (kSize & 31)) - 1) << first;
  }
  void sync() const { __syncwarp(mask()); }
  template <class T>
  T shfl(T value, int lane) const {
    return __shfl_sync(mask(), value, lane, kSize);
  }
  template <class T>
  T shfl_xor(T value, int bits) const {
    return __shfl_xor_sync(mask(), value, bits, kSize);
  }
  template <class T>
  T shfl_down(T value, unsigned distance) const {
    return __shfl_down_sync(mask(), value, distance, kSize);
  }
};

inline thread_block this_thread_block() { return {}; }
inline grid_group this_grid() { return {}; }
inline cluster_group this_cluster() { return {}; }
template <unsigned kSize, class Group>
thread_block_tile<kSize> tiled_partition(const Group&) {
  return {};
}

}  // namespace cooperative_groups

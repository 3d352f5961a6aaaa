// CUDA's asynchronous copies to shared memory.
#pragma once

#include <cuda_runtime.h>

inline void __pipeline_memcpy_async(void* target, const void* source, size_t size, size_t zeros = 0) {
  emu::start_copy(target, source, size, zeros);
}
inline void __pipeline_commit() { emu::commit_copies(); }
inline void __pipeline_wait_prior(size_t newest_groups) { emu::wait_for_copies(newest_groups); }

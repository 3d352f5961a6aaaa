// Work split over torch's own threads, and the scratch memory of a kernel.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace pyagent {

// True in a child process: the thread pool of the parent does not exist there, and waiting for it would hang.
bool forked();

// f(begin, end) over [0, count), on as many threads as are worth `flops` floating-point operations in all.
template <class F>
void parallel_over(int64_t count, int64_t flops, const F& f) {
  constexpr int64_t kWorthAThread = 1 << 20;
  if (count <= 0) return;
  if (forked() || flops < 2 * kWorthAThread) return f(int64_t{0}, count);
  const int64_t grain = count * kWorthAThread / flops;
  torch::stable::parallel_for(0, count, grain > 0 ? grain : 1, f);
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};

// Uninitialised memory on a cache-line boundary.
template <class T>
std::unique_ptr<T, Free> scratch(int64_t count) {
  void* p = nullptr;
  if (count > 0 && posix_memalign(&p, 64, static_cast<size_t>(count) * sizeof(T)) != 0) throw std::bad_alloc();
  return std::unique_ptr<T, Free>(static_cast<T*>(p));
}

}  // namespace pyagent

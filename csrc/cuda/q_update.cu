// Tabular Q-learning whose result is that of the loop over the batch in order, bit for bit.
//
// Update i reads row s'_i, and reads and writes an entry of row s_i. So it may run beside all updates that have not run
// yet, once none of those before it
//   writes row s_i or row s'_i: it would read too early; or
//   reads row s_i as its next state: it would write too early.
// Updates that may run at the same time then touch no row that another of them writes. The first one that has not run
// may always run, so this ends.
//
// One block takes up to kMostThreads updates at a time, an update a thread, and repeats: every update that has not run
// registers as a writer of s_i and a reader of s'_i, where the smallest number wins, whoever comes first; those that
// may run do. What bounds it: a round is a chain of about four reads of memory and two barriers, some 3 microseconds,
// whatever the number of updates in it; a batch takes N / kMostThreads rounds if few of its rows coincide, and up to N
// if all do. A thread reads its row of A values alone, which suits the few actions that tables have.
#include <cuda_runtime.h>

#include <algorithm>

#include "cuda/q_update.h"

namespace {

constexpr int kMostThreads = 1024;

using Turn = unsigned long long;  // 64 bits, and a type that atomicMin has
constexpr Turn kNever = ~Turn{0};

// Rounded after each operation: the compiler may not make a fused multiply-add of these.
__device__ float add(float x, float y) { return __fadd_rn(x, y); }
__device__ double add(double x, double y) { return __dadd_rn(x, y); }
__device__ float subtract(float x, float y) { return __fsub_rn(x, y); }
__device__ double subtract(double x, double y) { return __dsub_rn(x, y); }
__device__ float multiply(float x, float y) { return __fmul_rn(x, y); }
__device__ double multiply(double x, double y) { return __dmul_rn(x, y); }

// NaN where there is one.
template <class Real>
__device__ Real row_max(const Real* row, int64_t A) {
  Real best = row[0];
  for (int64_t a = 1; a < A; ++a) {
    const Real value = row[a];
    if (best == best && !(value <= best)) best = value;
  }
  return best;
}

__device__ bool in_table(const PyagentQUpdate& x, int64_t i) {
  const auto below = [](int64_t index, int64_t size) { return 0 <= index && index < size; };
  return below(x.state[i], x.S) && below(x.next_state[i], x.S) && below(x.action[i], x.A);
}

// Forgets what the workspace held for the rows of this batch; false where the batch has a bad index.
__device__ bool prepare(const PyagentQUpdate& x, Turn* first_writer, Turn* first_reader) {
  bool good = true;
  for (int64_t i = threadIdx.x; i < x.N; i += blockDim.x) {
    if (in_table(x, i)) {
      atomicExch(&first_writer[x.state[i]], kNever);
      atomicExch(&first_writer[x.next_state[i]], kNever);
      atomicExch(&first_reader[x.state[i]], kNever);
      atomicExch(&first_reader[x.next_state[i]], kNever);
    } else {
      good = false;
    }
  }
  return __syncthreads_and(good);
}

template <class Real>
__device__ void update(const PyagentQUpdate& x, int64_t i) {
  Real* const q = static_cast<Real*>(x.q_table);
  Real* const cell = q + x.state[i] * x.A + x.action[i];
  const Real next = row_max(q + x.next_state[i] * x.A, x.A);
  const Real discount = static_cast<const Real*>(x.discount)[i * x.discount_stride];
  const Real alpha = static_cast<const Real*>(x.alpha)[i * x.alpha_stride];
  const Real target = add(static_cast<const Real*>(x.reward)[i], multiply(discount, next));
  *cell = add(*cell, multiply(alpha, subtract(target, *cell)));
}

template <class Real>
__global__ void __launch_bounds__(kMostThreads) q_update_kernel(PyagentQUpdate x) {
  Turn *const first_writer = static_cast<Turn*>(x.workspace), *const first_reader = first_writer + x.S;
  if (!prepare(x, first_writer, first_reader)) {
    if (threadIdx.x == 0) *x.bad_index = 1;
    return;
  }
  // The turns of a round are smaller than those of all rounds before it, whose registrations so need no removal. There
  // are at most N rounds.
  Turn round = x.N;
  for (int64_t start = 0; start < x.N; start += blockDim.x) {
    const int64_t i = start + threadIdx.x;
    bool waits = i < x.N;
    const int64_t state = waits ? x.state[i] : 0, next_state = waits ? x.next_state[i] : 0;
    while (__syncthreads_or(waits)) {
      const Turn turn = --round * kMostThreads + threadIdx.x;
      if (waits) {
        atomicMin(&first_writer[state], turn);
        atomicMin(&first_reader[next_state], turn);
      }
      __syncthreads();
      if (waits && first_writer[state] == turn && first_writer[next_state] >= turn && first_reader[state] >= turn) {
        update<Real>(x, i);
        waits = false;
      }
    }
  }
}

template <class Real>
int q_update(const PyagentQUpdate& x, void* stream) {
  if (x.N == 0) return 0;
  const int64_t warps = std::min<int64_t>((x.N + 31) / 32, kMostThreads / 32);
  q_update_kernel<Real><<<1, static_cast<unsigned>(32 * warps), 0, static_cast<cudaStream_t>(stream)>>>(x);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace

int pyagent_q_update_f32(const PyagentQUpdate* args, void* stream) { return q_update<float>(*args, stream); }

int pyagent_q_update_f64(const PyagentQUpdate* args, void* stream) { return q_update<double>(*args, stream); }

int64_t pyagent_q_update_workspace_bytes(int64_t S) { return 2 * S * static_cast<int64_t>(sizeof(Turn)); }

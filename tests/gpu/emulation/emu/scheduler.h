// Runs a kernel: all threads of the resident blocks take turns on one thread of the host, and change at barriers,
// shuffles and atomics, in an order that a seed chooses.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <driver_types.h>  // CUDA's own: dim3, float4, cudaLaunchConfig_t and the like also compile for the host
#include <vector_functions.h>
#include <vector_types.h>

#include "emu/fiber.h"

// Set at every change of turns.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

namespace emu {

constexpr long kMostThreadsOfBlock = 1024;
constexpr unsigned kMostBlocksInY = 65535;
constexpr size_t kMostSharedMemory = 227 * 1024;
constexpr unsigned long long kLivelock = 20000000;  // turns without a barrier that opens or a thread that ends

struct Block;
struct Thread;

// Where threads wait for each other. `place` alternates, so that one meeting is not taken for the next.
struct Meeting {
  int arrived = 0, line = 0, site = 0;
  unsigned generation = 0;
  char place[2];
  std::vector<Thread*> waiting;
};

struct WarpMeeting : Meeting {
  const void* object[2][32];
  unsigned long long value[2][32];
};

struct AsyncCopy {
  void* target;
  const void* source;
  size_t size, zeros;
};

struct Thread {
  Block* block;
  uint3 index;
  int rank;  // in the block
  Context context;
  bool done = false;
  const char* waits_at = "";
  int line = 0;
  std::vector<std::vector<AsyncCopy>> copies{1};  // committed groups, then the open one
  std::map<unsigned, unsigned> warp_meetings;     // how many, by mask
};

struct SharedArray {
  void* data = nullptr;
  size_t size = 0;
};

struct Block {
  uint3 index;
  int threads = 0, alive = 0;
  Meeting barrier;
  int votes[2] = {0, 0};
  std::vector<std::map<unsigned, WarpMeeting>> warps;  // by mask
  std::vector<std::unique_ptr<Thread>> members;
  SharedArray dynamic_shared;
  std::map<const void*, SharedArray> static_shared;  // by declaration
  std::vector<Block*>* cluster = nullptr;
  Meeting* cluster_barrier = nullptr;
  int cluster_rank = 0;
};

struct Kernel {
  dim3 grid, block;
  size_t shared_bytes = 0;
  int cluster_size = 1;
  bool cooperative = false;
  std::function<void()> body;

  Context scheduler;
  Thread* running = nullptr;
  std::deque<Thread*> ready;
  long alive = 0;
  Meeting grid_barrier;
  std::string error;
  long seed = 0;
  std::mt19937_64 random;
  unsigned long long turns = 0, last_progress = 0;
  char ended[1];
};

inline Kernel* kernel = nullptr;  // the one that runs

// The first error since `emu_reset`, in CUDA's words and ours.
inline cudaError_t last_error = cudaSuccess;
inline std::string last_message;
inline long seed = 0;

inline cudaError_t report(cudaError_t error, const std::string& message) {
  if (last_error == cudaSuccess && error != cudaSuccess) {
    last_error = error;
    last_message = message;
  }
  return error;
}

EMU_INTERNAL inline Thread& this_thread() { return *kernel->running; }

EMU_INTERNAL inline long setting(const char* name, long otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atol(value) : otherwise;
}

// The kernel ends at its next change of turns.
EMU_INTERNAL inline void fail(const std::string& what) {
  const Thread& me = this_thread();
  const uint3 b = me.block->index, t = me.index;
  char where[160];
  std::snprintf(where, sizeof where, " [block %u,%u,%u thread %u,%u,%u]", b.x, b.y, b.z, t.x, t.y, t.z);
  if (kernel->error.empty()) kernel->error = what + where;
}

EMU_INTERNAL inline void give_turn_away() {
  Thread& me = this_thread();
  switch_context(me.context, kernel->scheduler, me.done);
}

EMU_INTERNAL inline void yield() {
  Hidden hidden;
  if (kernel->error.empty()) kernel->ready.push_back(&this_thread());
  give_turn_away();
}

// Where another thread might come in between.
EMU_INTERNAL inline void maybe_yield() {
  Hidden hidden;
  if (!kernel->seed || (kernel->random() & 3) == 0) yield();
}

EMU_INTERNAL inline void open(Meeting& meeting) {
  for (Thread* thread : meeting.waiting) kernel->ready.push_back(thread);
  meeting.waiting.clear();
  meeting.arrived = meeting.line = meeting.site = 0;
  ++meeting.generation;
  kernel->last_progress = kernel->turns;
}

EMU_INTERNAL inline void end_thread() {
  Hidden hidden;
  Thread& me = this_thread();
  Block& block = *me.block;
  me.done = true;
  --block.alive;
  --kernel->alive;
  kernel->last_progress = kernel->turns;
  if (block.barrier.arrived && block.barrier.arrived >= block.alive) open(block.barrier);  // who has ended has arrived
  release(kernel->ended);
}

EMU_INTERNAL inline void thread_main() {
  entered_from(kernel->scheduler);
  kernel->body();
  end_thread();
  give_turn_away();
  std::abort();
}

// NaN in every float, and exactly as large as declared, so that AddressSanitizer sees what lies beyond.
EMU_INTERNAL inline SharedArray poisoned(size_t size, size_t alignment) {
  SharedArray array{nullptr, size};
  if (size && posix_memalign(&array.data, alignment < 16 ? 16 : alignment, size)) std::abort();
  if (size) std::memset(array.data, 0xff, size);
  return array;
}

EMU_INTERNAL inline void start(Kernel& k, Block& block) {
  block.dynamic_shared = poisoned(k.shared_bytes, 1024);
  block.threads = block.alive = static_cast<int>(k.block.x * k.block.y * k.block.z);
  block.warps.resize((block.threads + 31) / 32);
  k.alive += block.alive;
  for (int rank = 0; rank < block.threads; ++rank) {
    block.members.emplace_back(new Thread);
    Thread& thread = *block.members.back();
    const unsigned i = static_cast<unsigned>(rank);
    thread.block = &block;
    thread.rank = rank;
    thread.index = {i % k.block.x, i / k.block.x % k.block.y, i / (k.block.x * k.block.y)};
    create_context(thread.context, thread_main);
    k.ready.push_back(&thread);
  }
}

EMU_INTERNAL inline void stop(Block& block) {
  for (auto& thread : block.members) destroy_context(thread->context);
  block.members.clear();
  std::free(block.dynamic_shared.data);
  for (auto& declared : block.static_shared) std::free(declared.second.data);
}

EMU_INTERNAL inline Thread* next_turn(Kernel& k) {
  const size_t i = k.seed ? k.random() % k.ready.size() : 0;
  Thread* thread = k.ready[i];
  if (i) {
    k.ready[i] = k.ready.back();
    k.ready.pop_back();
  } else {
    k.ready.pop_front();
  }
  return thread;
}

EMU_INTERNAL inline void explain_deadlock(Kernel& k, const std::vector<Block*>& blocks) {
  for (Block* block : blocks) {
    for (auto& thread : block->members) {
      if (thread->done) continue;
      k.running = thread.get();
      return fail("deadlock: " + std::to_string(k.alive) + " threads wait forever, one of them at " + thread->waits_at +
                  " line " + std::to_string(thread->line));
    }
  }
}

// Until the threads of these blocks have ended, or one has failed.
EMU_INTERNAL inline void run_to_end(Kernel& k, const std::vector<Block*>& blocks) {
  while (!k.ready.empty() && k.error.empty()) {
    Thread* thread = next_turn(k);
    k.running = thread;
    threadIdx = thread->index;
    blockIdx = thread->block->index;
    if (++k.turns - k.last_progress > kLivelock) {
      fail("livelock: no barrier opens and no thread ends");
      break;
    }
    switch_context(k.scheduler, thread->context);
  }
  if (k.error.empty() && k.alive) explain_deadlock(k, blocks);
  for (Block* block : blocks) stop(*block);
}

// How many blocks run at a time: all where they wait for each other; else few, and sometimes one, at random.
EMU_INTERNAL inline long blocks_at_a_time(Kernel& k, long blocks) {
  if (k.cooperative) return blocks;
  if (k.cluster_size > 1) return k.cluster_size;
  return k.seed ? 1 + static_cast<long>(k.random() % 4) : 1;
}

// A cluster's blocks are neighbours; what is not a cluster starts in any order.
EMU_INTERNAL inline std::vector<long> order_of_blocks(Kernel& k, long blocks) {
  std::vector<long> order(blocks);
  std::iota(order.begin(), order.end(), 0);
  if (k.seed && k.cluster_size == 1) std::shuffle(order.begin(), order.end(), k.random);
  return order;
}

EMU_INTERNAL inline void run_blocks(Kernel& k, const long* numbers, long count) {
  std::vector<std::unique_ptr<Block>> blocks(count);
  std::vector<Block*> together(count);
  std::vector<std::vector<Block*>> alone(count);
  Meeting cluster_barrier;
  std::vector<Meeting> barriers_alone(count);
  for (long i = 0; i < count; ++i) {
    blocks[i].reset(new Block);
    together[i] = blocks[i].get();
    alone[i] = {blocks[i].get()};
  }
  const bool clusters = k.cluster_size > 1;
  for (long i = 0; i < count; ++i) {
    const unsigned number = static_cast<unsigned>(numbers[i]);
    Block& block = *blocks[i];
    block.index = {number % k.grid.x, number / k.grid.x % k.grid.y, number / (k.grid.x * k.grid.y)};
    block.cluster = clusters ? &together : &alone[i];
    block.cluster_barrier = clusters ? &cluster_barrier : &barriers_alone[i];
    block.cluster_rank = clusters ? static_cast<int>(i) : 0;
    start(k, block);
  }
  run_to_end(k, together);
}

EMU_INTERNAL inline cudaError_t launch(Kernel k) {
  Hidden hidden;
  const long blocks = static_cast<long>(k.grid.x) * k.grid.y * k.grid.z;
  const long threads = static_cast<long>(k.block.x) * k.block.y * k.block.z;
  if (blocks == 0 || threads == 0 || threads > kMostThreadsOfBlock || k.grid.y > kMostBlocksInY) {
    return report(cudaErrorInvalidConfiguration, "a grid or block that no device takes");
  }
  if (k.shared_bytes > kMostSharedMemory) return report(cudaErrorInvalidValue, "too much shared memory");
  kernel = &k;
  gridDim = k.grid;
  blockDim = k.block;
  k.seed = seed;
  k.random.seed(static_cast<unsigned long>(seed));
  adopt_this_thread(k.scheduler);
  const std::vector<long> order = order_of_blocks(k, blocks);
  for (long done = 0; done < blocks && k.error.empty();) {
    const long count = std::min(blocks_at_a_time(k, blocks), blocks - done);
    run_blocks(k, order.data() + done, count);
    done += count;
  }
  acquire(k.ended);
  kernel = nullptr;
  return k.error.empty() ? cudaSuccess : report(cudaErrorLaunchFailure, k.error);
}

}  // namespace emu

// What the tests call. `seed` chooses the order of turns from now on; 0 is the order of their numbers.
extern "C" {
__attribute__((used)) inline void emu_reset(long seed) {
  emu::seed = seed;
  emu::last_error = cudaSuccess;
  emu::last_message.clear();
}
__attribute__((used)) inline const char* emu_error() { return emu::last_message.c_str(); }
}

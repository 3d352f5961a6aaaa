// Shared memory, also of other blocks of a cluster; asynchronous copies; fences; atomics.
#pragma once

#include <atomic>
#include <type_traits>

#include "emu/scheduler.h"

namespace emu {

EMU_INTERNAL inline SharedArray& declared(Block& block, const void* declaration, size_t size, size_t alignment) {
  SharedArray& array = block.static_shared[declaration];
  if (!array.data) array = poisoned(size, alignment);
  return array;
}

EMU_INTERNAL inline void* static_shared(const void* declaration, size_t size, size_t alignment) {
  Hidden hidden;
  return declared(*this_thread().block, declaration, size, alignment).data;
}

// What `__shared__ T name` becomes; `Declaration` is a type of that one place in the source.
template <class T, class Declaration>
T& shared(Declaration) {
  static char key;
  return *static_cast<T*>(static_shared(&key, sizeof(T), alignof(T)));
}

EMU_INTERNAL inline void* dynamic_shared() { return this_thread().block->dynamic_shared.data; }

// Where block `rank` of the cluster has what this block has at `address`.
template <class T>
EMU_INTERNAL T* shared_of_rank(T* address, int rank) {
  Hidden hidden;
  Block &mine = *this_thread().block, &other = *(*mine.cluster)[rank];
  const auto offset_in = [&](const SharedArray& array) -> size_t {
    return reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(array.data);
  };
  if (const size_t offset = offset_in(mine.dynamic_shared); offset < mine.dynamic_shared.size) {
    return reinterpret_cast<T*>(static_cast<char*>(other.dynamic_shared.data) + offset);
  }
  for (const auto& [declaration, array] : mine.static_shared) {
    const size_t offset = offset_in(array);
    if (offset >= array.size) continue;
    return reinterpret_cast<T*>(static_cast<char*>(declared(other, declaration, array.size, 128).data) + offset);
  }
  fail("map_shared_rank: not an address in shared memory");
  return address;
}

EMU_INTERNAL inline void start_copy(void* target, const void* source, size_t size, size_t zeros) {
  Hidden hidden;
  const auto misaligned = (reinterpret_cast<uintptr_t>(target) | reinterpret_cast<uintptr_t>(source)) % size;
  if (misaligned) fail("a misaligned asynchronous copy");
  this_thread().copies.back().push_back({target, source, size, zeros});
}

EMU_INTERNAL inline void commit_copies() {
  Hidden hidden;
  this_thread().copies.emplace_back();
}

EMU_INTERNAL inline std::vector<AsyncCopy> copies_before(size_t newest_groups) {
  Hidden hidden;
  auto& groups = this_thread().copies;
  std::vector<AsyncCopy> due;
  while (groups.size() > newest_groups + 1) {
    due.insert(due.end(), groups.front().begin(), groups.front().end());
    groups.erase(groups.begin());
  }
  return due;
}

// A copy happens as late as it may, and here ThreadSanitizer does see it.
inline void wait_for_copies(size_t newest_groups) {
  for (const AsyncCopy& copy : copies_before(newest_groups)) {
    const size_t taken = copy.size - copy.zeros;
    std::memcpy(copy.target, copy.source, taken);
    std::memset(static_cast<char*>(copy.target) + taken, 0, copy.zeros);
  }
}

// Any two fences order memory: fewer races are seen than there might be, and none that there is not.
inline char fence_place[1];

EMU_INTERNAL inline void fence() {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  acquire(fence_place);
  release(fence_place);
}

// *place = next(*place), relaxed as on the device. Returns what was there.
template <class T, class Next>
T read_modify_write(T* place, const Next& next) {
  maybe_yield();
  using Word = std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;
  static_assert(sizeof(T) == sizeof(Word));
  Word* const word = reinterpret_cast<Word*>(place);
  Word before = __atomic_load_n(word, __ATOMIC_RELAXED), after;
  T old;
  do {
    std::memcpy(static_cast<void*>(&old), &before, sizeof before);
    const T replacement = next(old);
    std::memcpy(&after, static_cast<const void*>(&replacement), sizeof after);
  } while (!__atomic_compare_exchange_n(word, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}

template <class T>
struct Same {  // keeps an argument out of the deduction of T
  using type = T;
};
template <class T>
using Value = typename Same<T>::type;

}  // namespace emu

inline void __threadfence() { emu::fence(); }
inline void __threadfence_block() { emu::fence(); }
inline void __threadfence_system() { emu::fence(); }
inline void __nanosleep(unsigned) { emu::yield(); }

template <class T>
T atomicAdd(T* place, emu::Value<T> x) {
  return emu::read_modify_write(place, [&](T old) { return T(old + x); });
}
template <class T>
T atomicSub(T* place, emu::Value<T> x) {
  return emu::read_modify_write(place, [&](T old) { return T(old - x); });
}
template <class T>
T atomicMax(T* place, emu::Value<T> x) {
  return emu::read_modify_write(place, [&](T old) { return old > x ? old : x; });
}
template <class T>
T atomicMin(T* place, emu::Value<T> x) {
  return emu::read_modify_write(place, [&](T old) { return old < x ? old : x; });
}
template <class T>
T atomicExch(T* place, emu::Value<T> x) {
  return emu::read_modify_write(place, [&](T) { return x; });
}
template <class T>
T atomicOr(T* place, emu::Value<T> x) {
  return emu::read_modify_write(place, [&](T old) { return T(old | x); });
}
template <class T>
T atomicAnd(T* place, emu::Value<T> x) {
  return emu::read_modify_write(place, [&](T old) { return T(old & x); });
}
template <class T>
T atomicCAS(T* place, emu::Value<T> expected, emu::Value<T> x) {
  return emu::read_modify_write(place, [&](T old) { return old == expected ? x : old; });
}

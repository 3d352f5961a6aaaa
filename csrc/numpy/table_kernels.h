// The loops of the updates of a table of action values, compiled for several instruction sets. Plain pointers and
// sizes: no STL and no Python, because the targets are compiled for newer processors.
#pragma once

#include <cstdint>

#define PYAGENT_INLINE inline __attribute__((always_inline))

namespace pyagent {

// [S, A], written in place.
template <class T>
struct Table {
  T* data = nullptr;
  int64_t S = 0, A = 0;
};

// N transitions: where in the table each is learned, where it is followed up, and at what rates.
template <class T>
struct Batch {
  int64_t N;
  const uint32_t *at, *next;
  const T *reward, *discount, *alpha;
};

// out[i] = row[i] columns + column[i] (0 without columns). False, with anything in out, where one is outside of the
// table, which has at most kMostEntries.
constexpr int64_t kMostEntries = int64_t{1} << 31;
struct PlaceArgs {
  const int64_t *row, *column;
  int64_t N, rows, columns;
  uint32_t* out;
};

template <class T>
struct TableKernels {
  void (*q)(const Table<T>&, const Batch<T>&);
  void (*sarsa)(const Table<T>&, const Batch<T>&);
  void (*expected_sarsa)(const Table<T>&, const Batch<T>&, const T* probability);          // [N, A]
  void (*double_q)(const Table<T>&, const Batch<T>&, T* other, const bool* update_first);  // [S, A], [N]
};

// Every result is the same on all of them: nothing is contracted, and nothing summed in another order.
struct TableTarget {
  bool (*places)(const PlaceArgs&);
  TableKernels<float> f32;
  TableKernels<double> f64;
};

extern const TableTarget kTableBaseline;
#if defined(__x86_64__)
extern const TableTarget kTableAvx2, kTableAvx512;
#endif

// The best of this processor, or what PYAGENT_CPU_ISA names. Chosen once.
const TableTarget& table_target();

}  // namespace pyagent

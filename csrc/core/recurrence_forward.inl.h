// The recurrence forward in time: h_t = cell(rows[index] + W_hh h_{t-1}), time loop inside.
//
// W_hh is packed once a call so that one panel holds, for a block of `width` hidden units, all gates of these units
// side by side. A group of lanes then has every gate of a block in registers when its sums are done, and gates, cell
// and h are computed and stored from there. Panels outside, lanes inside: a panel is read from the cache once a time
// step. Threads split lanes and never meet; a lane's result does not depend on its neighbours.
#pragma once

#include "core/dispatch.h"
#include "core/panel.inl.h"

namespace pyagent {
namespace {

// Vectors a panel: every gate of one block of units, or several blocks where a cell has one gate.
constexpr int forward_gates(int64_t cell) { return static_cast<int>(gates_of(cell)); }
constexpr int forward_blocks(int64_t cell) { return forward_gates(cell) == 1 ? kPlainVectors : 1; }

template <class T>
int64_t packed_forward_size(int64_t cell, int64_t H) {
  const int64_t units = forward_blocks(cell) * Simd<T>::kWidth;
  return ceil_div(H, units) * units * gates_of(cell) * H;
}

// packed[panel][k][gate][unit in block], or packed[panel][k][block][unit] for one gate: the same order of loops.
template <class T>
void pack_forward(int64_t cell, int64_t H, const T* weight_hh, T* packed) {
  const int64_t gates = gates_of(cell), units = forward_blocks(cell) * Simd<T>::kWidth;
  for (int64_t u = 0; u < H; u += units, packed += gates * units * H)
    for (int64_t g = 0; g < gates; ++g)
      for (int64_t j = 0; j < units; ++j) {
        T* to = packed + g * units + j;
        const T* from = weight_hh + (g * H + u + j) * H;
        for (int64_t k = 0; k < H; ++k) to[k * gates * units] = u + j < H ? from[k] : T(0);
      }
}

// Everything a lane needs at one time step.
template <class T>
struct ForwardLane {
  const T* h_prev;
  const T* c_prev;
  const T* row;
  T* h;
  T* c;
  T* gates;  // null: keep nothing
};

template <class T>
int64_t forward_scratch(int64_t lanes) {
  return lanes * static_cast<int64_t>(sizeof(ForwardLane<T>));
}

// The lanes of [b_begin, b_end) that are alive at t; returns how many.
template <class T>
int64_t gather_lanes(const ForwardArgs<T>& p, int64_t t, int64_t b_begin, int64_t b_end, ForwardLane<T>* lanes) {
  const int64_t H = p.H, saved = saved_gates_of(p.cell) * H;
  int64_t count = 0;
  for (int64_t b = b_begin; b < b_end; ++b) {
    const int64_t at = t * p.B + b;
    if (p.lengths && t >= p.lengths[b]) {
      for (int64_t j = 0; j < H; ++j) p.output[at * H + j] = T(0);
      for (int64_t j = 0; j < saved && p.gates; ++j) p.gates[at * saved + j] = T(0);
      for (int64_t j = 0; j < H && p.cells; ++j) p.cells[at * H + j] = T(0);
      continue;
    }
    ForwardLane<T>& lane = lanes[count++];
    const bool fresh = p.reset && p.reset[at];
    lane.row = p.rows + (p.row_index ? p.row_index[at] : at) * p.row_stride;
    lane.h = p.output + at * H;
    lane.gates = p.gates ? p.gates + at * saved : nullptr;
    lane.h_prev = fresh ? p.zeros : t > 0 ? lane.h - p.B * H : p.h_0 ? p.h_0 + b * H : p.zeros;
    if (p.cell != kLstm) continue;
    lane.c = p.cells ? p.cells + at * H : p.c + b * H;
    const T* before = !p.cells ? lane.c : t > 0 ? lane.c - p.B * H : p.c_0 ? p.c_0 + b * H : p.zeros;
    lane.c_prev = fresh ? p.zeros : before;
  }
  return count;
}

// One block of units of one lane: sums in, state out. `n` units of the block exist.
template <class T, int64_t kCell, int N, class Count>
PYAGENT_INLINE void update_cell(const ForwardLane<T>& lane, Vec<T> (&sum)[N], int64_t H, int64_t u, Count n) {
  constexpr int W = Simd<T>::kWidth;
  if constexpr (kCell == kLstm) {
    const Vec<T> i = sigmoid<T>(sum[0]), f = sigmoid<T>(sum[1]), g = tanh<T>(sum[2]), o = sigmoid<T>(sum[3]);
    const Vec<T> c = fma(f, load_first(lane.c_prev + u, n), i * g);
    store_first<T>(lane.c + u, c, n);
    store_first<T>(lane.h + u, o * tanh<T>(c), n);
    if (lane.gates) {
      store_first<T>(lane.gates + u, i, n);
      store_first<T>(lane.gates + H + u, f, n);
      store_first<T>(lane.gates + 2 * H + u, g, n);
      store_first<T>(lane.gates + 3 * H + u, o, n);
    }
  } else if constexpr (kCell == kGru) {
    const Vec<T> r = sigmoid<T>(sum[0]), z = sigmoid<T>(sum[1]), hn = sum[2];
    const Vec<T> candidate = tanh<T>(fma(r, hn, load_first(lane.row + 2 * H + u, n)));
    store_first<T>(lane.h + u, fma(z, load_first(lane.h_prev + u, n) - candidate, candidate), n);
    if (lane.gates) {
      store_first<T>(lane.gates + u, r, n);
      store_first<T>(lane.gates + H + u, z, n);
      store_first<T>(lane.gates + 2 * H + u, hn, n);
      store_first<T>(lane.gates + 3 * H + u, candidate, n);
    }
  } else {
#pragma GCC unroll 16
    for (int block = 0; block < N; ++block) {
      if (!(n > block * W)) break;
      const Vec<T> x = sum[block];
      Vec<T> h;
      if constexpr (kCell == kTanh)
        h = tanh<T>(x);
      else
        h = x < Vec<T>{} ? Vec<T>{} : x;
      store_first<T>(lane.h + u + block * W, h, n - block * W);
    }
  }
}

// What the sums start from: the input's pre-activations; the GRU's n gate starts from b_hn, its row is added after r.
template <class T, int64_t kCell, int N, class Count>
PYAGENT_INLINE void start_sums(const ForwardArgs<T>& p, const ForwardLane<T>& lane, Vec<T> (&sum)[N], int64_t u,
                               Count n) {
  constexpr int W = Simd<T>::kWidth;
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) {
    if constexpr (forward_gates(kCell) == 1)
      sum[i] = n > i * W ? load_first(lane.row + u + i * W, n - i * W) : Vec<T>{};
    else if (kCell == kGru && i == 2)
      sum[i] = load_first((p.bias_hn ? p.bias_hn : p.zeros) + u, n);
    else
      sum[i] = load_first(lane.row + i * p.H + u, n);
  }
}

// One step of one block of units (`n` exist) of all lanes.
template <class T, int64_t kCell, class Count>
PYAGENT_INLINE void forward_panel(const ForwardArgs<T>& p, const ForwardLane<T>* lanes, int64_t count, const T* panel,
                                  int64_t u, Count n) {
  constexpr int N = forward_gates(kCell) * forward_blocks(kCell);
  for_row_groups<panel_rows(N)>(count, [&](int64_t first, auto size) {
    constexpr int M = decltype(size)::value;
    const ForwardLane<T>* lane = lanes + first;
    Vec<T> sum[M][N];
    const T* h_prev[M];
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      h_prev[m] = lane[m].h_prev;
      start_sums<T, kCell>(p, lane[m], sum[m], u, n);
    }
    accumulate<T, M, N>(sum, h_prev, panel, p.H);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) update_cell<T, kCell>(lane[m], sum[m], p.H, u, n);
  });
}

template <class T, int64_t kCell>
void forward_cell(const ForwardArgs<T>& p, int64_t b_begin, int64_t b_end, ForwardLane<T>* lanes) {
  constexpr int N = forward_gates(kCell) * forward_blocks(kCell);
  const int64_t H = p.H, units = forward_blocks(kCell) * Simd<T>::kWidth;
  for (int64_t t = 0; t < p.T_; ++t) {
    const int64_t count = gather_lanes(p, t, b_begin, b_end, lanes);
    const T* panel = p.packed_hh;
    for (int64_t u = 0; u < H; u += units, panel += N * Simd<T>::kWidth * H)
      with_whole_blocks(H - u, units, [&](auto n) { forward_panel<T, kCell>(p, lanes, count, panel, u, n); });
  }
}

template <class T>
void recurrence_forward(const ForwardArgs<T>& p, int64_t b_begin, int64_t b_end, void* scratch) {
  auto* lanes = static_cast<ForwardLane<T>*>(scratch);
  switch (p.cell) {
    case kTanh:
      forward_cell<T, kTanh>(p, b_begin, b_end, lanes);
      break;
    case kRelu:
      forward_cell<T, kRelu>(p, b_begin, b_end, lanes);
      break;
    case kGru:
      forward_cell<T, kGru>(p, b_begin, b_end, lanes);
      break;
    case kLstm:
      forward_cell<T, kLstm>(p, b_begin, b_end, lanes);
      break;
  }
}

}  // namespace
}  // namespace pyagent

// The recurrence forward in time: h_t = cell(rows[index] + W_hh h_{t-1}), time loop inside.
//
// Panels outside, lanes inside: a panel is read from the cache once a time step, and gates, cell and h are computed and
// stored from the registers that the sums are in. Threads split lanes and never meet; a lane's result does not depend
// on its neighbours.
#pragma once

#include "core/dispatch.h"
#include "core/recurrence_panels.inl.h"

namespace pyagent {
namespace {

// Everything a lane needs at one time step.
template <class T>
struct ForwardLane {
  const T* operand;  // h_{t-1}
  const Real<T>* c_prev;
  const T* row;
  T* h;
  Real<T>* c;
  T* gates;  // null: keep nothing
};

// The row of zeros, as T.
template <class T>
PYAGENT_INLINE const T* zeros_of(const RecurrenceArgs<T>& p) {
  return reinterpret_cast<const T*>(p.zeros);
}

// The lanes of [b_begin, b_end) that are alive at t; returns how many.
template <class T>
int64_t gather_lanes(const ForwardArgs<T>& p, int64_t t, int64_t b_begin, int64_t b_end, ForwardLane<T>* lanes) {
  const int64_t H = p.H, saved = saved_gates_of(p.cell) * H;
  int64_t count = 0;
  for (int64_t b = b_begin; b < b_end; ++b) {
    const int64_t at = t * p.B + b;
    if (p.lengths && t >= p.lengths[b]) {
      for (int64_t j = 0; j < H; ++j) p.output[at * H + j] = T{};
      for (int64_t j = 0; j < saved && p.gates; ++j) p.gates[at * saved + j] = T{};
      for (int64_t j = 0; j < H && p.cells; ++j) p.cells[at * H + j] = 0;
      continue;
    }
    ForwardLane<T>& lane = lanes[count++];
    const bool fresh = p.reset && p.reset[at];
    lane.row = p.rows + (p.row_index ? p.row_index[at] : at) * p.row_stride;
    lane.h = p.output + at * H;
    lane.gates = p.gates ? p.gates + at * saved : nullptr;
    lane.operand = fresh ? zeros_of(p) : t > 0 ? lane.h - p.B * H : p.h_0 ? p.h_0 + b * H : zeros_of(p);
    if (p.cell != kLstm) continue;
    lane.c = p.cells ? p.cells + at * H : p.c + b * H;
    const Real<T>* before = !p.cells ? lane.c : t > 0 ? lane.c - p.B * H : p.c_0 ? p.c_0 + b * H : p.zeros;
    lane.c_prev = fresh ? p.zeros : before;
  }
  return count;
}

// What the sums start from: the input's pre-activations; the GRU's n gate starts from b_hn, its row is added after r.
template <class T, int64_t kCell, int N, class Count>
PYAGENT_INLINE void start_sums(const ForwardArgs<T>& p, const ForwardLane<T>& lane, Vec<Real<T>> (&sum)[N], int64_t u,
                               Count n) {
#pragma GCC unroll 16
  for (int i = 0; i < N; ++i) {
    const int64_t at = i * kUnits<T>;
    if constexpr (forward_gates(kCell) == 1)
      sum[i] = n > at ? load_first(lane.row + u + at, n - at) : Vec<Real<T>>{};
    else if (kCell == kGru && i == 2)
      sum[i] = load_first((p.bias_hn ? p.bias_hn : p.zeros) + u, n);
    else
      sum[i] = load_first(lane.row + i * p.H + u, n);
  }
}

// One block of units of one lane: sums in, state out. `n` units of the block exist.
template <class T, int64_t kCell, int N, class Count>
PYAGENT_INLINE void update_cell(const ForwardLane<T>& lane, Vec<Real<T>> (&sum)[N], int64_t H, int64_t u, Count n) {
  using R = Real<T>;
  const auto keep = [&](int g, Vec<R> value) { store_first(lane.gates + g * H + u, value, n); };
  if constexpr (kCell == kLstm) {
    const Vec<R> i = gate_sigmoid<T>(sum[0]), f = gate_sigmoid<T>(sum[1]), g = gate_tanh<T>(sum[2]),
                 o = gate_sigmoid<T>(sum[3]);
    const Vec<R> c = fma(f, load_first(lane.c_prev + u, n), i * g);
    store_first(lane.c + u, c, n);
    store_first(lane.h + u, o * gate_tanh<T>(c), n);
    if (lane.gates) keep(0, i), keep(1, f), keep(2, g), keep(3, o);
  } else if constexpr (kCell == kGru) {
    const Vec<R> r = gate_sigmoid<T>(sum[0]), z = gate_sigmoid<T>(sum[1]), hn = sum[2];
    const Vec<R> candidate = gate_tanh<T>(fma(r, hn, load_first(lane.row + 2 * H + u, n)));
    store_first(lane.h + u, fma(z, load_first(lane.operand + u, n) - candidate, candidate), n);
    if (lane.gates) keep(0, r), keep(1, z), keep(2, hn), keep(3, candidate);
  } else {
#pragma GCC unroll 16
    for (int block = 0; block < N; ++block) {
      const int64_t at = block * kUnits<T>;
      if (!(n > at)) break;
      const Vec<R> x = sum[block];
      if constexpr (kCell == kTanh)
        store_first(lane.h + u + at, gate_tanh<T>(x), n - at);
      else
        store_first(lane.h + u + at, x < Vec<R>{} ? Vec<R>{} : x, n - at);
    }
  }
}

template <class T, class P>
int64_t forward_scratch(int64_t H) {
  return static_cast<int64_t>(sizeof(ForwardLane<T>)) + operand_bytes<T, P>(H);
}

template <class T, class P, int64_t kCell>
void forward_cell(const ForwardArgs<T>& p, int64_t b_begin, int64_t b_end, void* scratch) {
  constexpr int N = forward_vectors(kCell);
  const int64_t H = p.H, units = forward_blocks(kCell) * kUnits<T>;
  P* const operands = static_cast<P*>(scratch);
  auto* lanes =
      reinterpret_cast<ForwardLane<T>*>(static_cast<char*>(scratch) + (b_end - b_begin) * operand_bytes<T, P>(H));
  Tiles tiles;
  for (int64_t t = 0; t < p.T_; ++t) {
    const int64_t count = gather_lanes(p, t, b_begin, b_end, lanes);
    gather_operands<T>(lanes, count, H, operands);
    const P* panel = reinterpret_cast<const P*>(p.packed_hh);
    for (int64_t u = 0; u < H; u += units, panel += N * kUnits<T> * kParts<T, P> * panel_depth<P>(H))
      with_whole_blocks(H - u, units, [&](auto n) {
        multiply_panel<T, P, N>(
            tiles, lanes, count, operands, panel, H,
            [&](const ForwardLane<T>& lane, auto& sum)
                __attribute__((always_inline)) { start_sums<T, kCell>(p, lane, sum, u, n); },
            [&](const ForwardLane<T>& lane, auto& sum)
                __attribute__((always_inline)) { update_cell<T, kCell>(lane, sum, H, u, n); });
      });
  }
  tiles.release();
}

template <class T, class P>
void recurrence_forward(const ForwardArgs<T>& p, int64_t b_begin, int64_t b_end, void* scratch) {
  switch (p.cell) {
    case kTanh:
      return forward_cell<T, P, kTanh>(p, b_begin, b_end, scratch);
    case kRelu:
      return forward_cell<T, P, kRelu>(p, b_begin, b_end, scratch);
    case kGru:
      return forward_cell<T, P, kGru>(p, b_begin, b_end, scratch);
    case kLstm:
      return forward_cell<T, P, kLstm>(p, b_begin, b_end, scratch);
  }
}

}  // namespace
}  // namespace pyagent

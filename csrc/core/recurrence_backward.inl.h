// The recurrence backward in time: gradients of the gates of every step, and of the initial state.
//
// At step t a lane's gradient of h is grad_output[t] + W_hh^T grad_gates[t+1] (nothing where step t+1 was reset),
// summed in registers over a panel of W_hh's columns and turned into grad_gates[t] from there. A reset needs no mask in
// the arithmetic: its lane reads a row of zeros. Gradients of weights and rows follow from grad_gates in one product
// after.
#pragma once

#include "core/dispatch.h"
#include "core/recurrence_forward.inl.h"
#include "core/recurrence_panels.inl.h"

namespace pyagent {
namespace {

template <class T>
struct BackwardLane {
  const T* operand;  // grad_gates[t+1], zeros where nothing flows back
  const T* grad_output;
  const Real<T>* grad_state;  // what reaches h past W_hh: the final state's gradient, or the GRU's direct path
  const Real<T>* grad_c;      // gradient of c_t from t+1 (LSTM)
  const T* h;
  const T* h_prev;
  const Real<T>* c;
  const Real<T>* c_prev;
  const T* gates;
  T* grad_gates;
  Real<T>* carry;
  Real<T>* grad_h_0;
};

// What flows into lane b's state after step t; t = -1 is the initial state.
template <class T>
void gather_flow(const BackwardArgs<T>& p, int64_t t, int64_t b, int64_t length, BackwardLane<T>& lane) {
  const int64_t H = p.H, next = (t + 1) * p.B + b;
  const bool last = t == length - 1, cut = !last && p.reset && p.reset[next];
  lane.carry = p.carry + b * H;
  lane.operand = last || cut ? zeros_of(p) : p.grad_gates + next * gate_gradients_of(p.cell) * H;
  const Real<T>* carried = cut ? p.zeros : lane.carry;
  const Real<T>* final_h = p.grad_h_n ? p.grad_h_n + b * H : p.zeros;
  const Real<T>* final_c = p.grad_c_n ? p.grad_c_n + b * H : p.zeros;
  lane.grad_state = last ? final_h : p.cell == kGru ? carried : p.zeros;
  lane.grad_c = last ? final_c : carried;
}

template <class T>
int64_t gather_lanes(const BackwardArgs<T>& p, int64_t t, int64_t b_begin, int64_t b_end, BackwardLane<T>* lanes) {
  const int64_t H = p.H, width = gate_gradients_of(p.cell) * H;
  int64_t count = 0;
  for (int64_t b = b_begin; b < b_end; ++b) {
    const int64_t at = t * p.B + b, length = p.lengths ? p.lengths[b] : p.T_;
    if (t >= length) {
      for (int64_t j = 0; j < width; ++j) p.grad_gates[at * width + j] = T{};
      continue;
    }
    BackwardLane<T>& lane = lanes[count++];
    gather_flow(p, t, b, length, lane);
    const bool fresh = p.reset && p.reset[at];
    lane.grad_output = p.grad_output ? p.grad_output + at * H : zeros_of(p);
    lane.h = p.output + at * H;
    lane.h_prev = fresh ? zeros_of(p) : t > 0 ? lane.h - p.B * H : p.h_0 ? p.h_0 + b * H : zeros_of(p);
    lane.gates = p.gates + at * saved_gates_of(p.cell) * H;
    lane.grad_gates = p.grad_gates + at * width;
    if (p.cell != kLstm) continue;
    lane.c = p.cells + at * H;
    lane.c_prev = fresh ? p.zeros : t > 0 ? lane.c - p.B * H : p.c_0 ? p.c_0 + b * H : p.zeros;
  }
  return count;
}

// One block of units of one lane: the gradient of h in, the gradients of the gates out.
template <class T, int64_t kCell, class Count>
PYAGENT_INLINE void differentiate_cell(const BackwardLane<T>& lane, Vec<Real<T>> dh, int64_t H, int64_t u, Count n) {
  using R = Real<T>;
  const auto gate = [&](int g) { return load_first(lane.gates + g * H + u, n); };
  const auto emit = [&](int g, Vec<R> value) { store_first(lane.grad_gates + g * H + u, value, n); };
  const R one = 1;
  if constexpr (kCell == kLstm) {
    const Vec<R> i = gate(0), f = gate(1), g = gate(2), o = gate(3);
    const Vec<R> tanh_c = gate_tanh<T>(load_first(lane.c + u, n));
    const Vec<R> dc = fma(dh * o, one - tanh_c * tanh_c, load_first(lane.grad_c + u, n));
    emit(0, dc * g * i * (one - i));
    emit(1, dc * load_first(lane.c_prev + u, n) * f * (one - f));
    emit(2, dc * i * (one - g * g));
    emit(3, dh * tanh_c * o * (one - o));
    store_first(lane.carry + u, dc * f, n);
  } else if constexpr (kCell == kGru) {
    const Vec<R> r = gate(0), z = gate(1), hn = gate(2), candidate = gate(3);
    const Vec<R> dn = dh * (one - z) * (one - candidate * candidate);
    emit(0, dn * hn * r * (one - r));
    emit(1, dh * (load_first(lane.h_prev + u, n) - candidate) * z * (one - z));
    emit(2, dn * r);
    emit(3, dn);
    store_first(lane.carry + u, dh * z, n);
  } else {
    const Vec<R> h = load_first(lane.h + u, n);
    if constexpr (kCell == kTanh)
      emit(0, dh * (one - h * h));
    else
      emit(0, h <= Vec<R>{} ? Vec<R>{} : dh);
  }
}

// Asks for what differentiate_cell will read of a panel's units while the sums are made. A panel is narrower than the
// pages and strides that the processor's own prefetcher follows.
template <class T, int64_t kCell>
PYAGENT_INLINE void prefetch_panel(const BackwardLane<T>& lane, int64_t H, int64_t u) {
#pragma GCC unroll 16
  for (int i = 0; i < kPlainVectors; ++i) {
    const int64_t at = u + i * kUnits<T>;
    for (int g = 0; g < saved_gates_of(kCell); ++g) __builtin_prefetch(lane.gates + g * H + at, 1);
    __builtin_prefetch(lane.grad_output + at);
    if (kCell == kLstm) __builtin_prefetch(lane.c + at);
    if (kCell == kLstm) __builtin_prefetch(lane.c_prev + at);
    if (kCell != kLstm) __builtin_prefetch(lane.h_prev + at);
  }
}

template <class T, class P>
int64_t backward_scratch(int64_t cell, int64_t H) {
  return static_cast<int64_t>(sizeof(BackwardLane<T>)) + operand_bytes<T, P>(gates_of(cell) * H);
}

// Sums W_hh^T grad_gates[t+1] for every lane and panel, and hands each block of units to finish(lane, sum, u, n).
template <class T, class P, int64_t kCell, bool kDifferentiates, class F>
PYAGENT_INLINE void flow_back(Tiles& tiles, const BackwardArgs<T>& p, const BackwardLane<T>* lanes, int64_t count,
                              P* operands, const F& finish) {
  constexpr int N = kPlainVectors;
  constexpr int64_t W = kUnits<T>;
  const int64_t H = p.H, K = gates_of(kCell) * H;
  gather_operands<T>(lanes, count, K, operands);
  const P* panel = reinterpret_cast<const P*>(p.packed_backward);
  for (int64_t u = 0; u < H; u += N * W, panel += N * W * kParts<T, P> * panel_depth<P>(K))
    with_whole_blocks(H - u, N * W, [&](auto n) {
      multiply_panel<T, P, N>(
          tiles, lanes, count, operands, panel, K,
          [&](const BackwardLane<T>& lane, auto& sum) __attribute__((always_inline)) {
            if (kDifferentiates) prefetch_panel<T, kCell>(lane, H, u);
#pragma GCC unroll 16
            for (int i = 0; i < N; ++i) sum[i] = Vec<Real<T>>{};
          },
          [&](const BackwardLane<T>& lane, auto& sum) __attribute__((always_inline)) {
#pragma GCC unroll 16
            for (int i = 0; i < N; ++i)
              if (n > i * W) finish(lane, sum[i], u + i * W, n - i * W);
          });
    });
}

template <class T, class P, int64_t kCell>
void backward_cell(const BackwardArgs<T>& p, int64_t b_begin, int64_t b_end, void* scratch) {
  P* const operands = static_cast<P*>(scratch);
  auto* lanes = reinterpret_cast<BackwardLane<T>*>(static_cast<char*>(scratch) +
                                                   (b_end - b_begin) * operand_bytes<T, P>(gates_of(kCell) * p.H));
  Tiles tiles;
  for (int64_t t = p.T_ - 1; t >= 0; --t) {
    const int64_t count = gather_lanes(p, t, b_begin, b_end, lanes);
    flow_back<T, P, kCell, true>(
        tiles, p, lanes, count,
        operands, [&](const BackwardLane<T>& lane, Vec<Real<T>> sum, int64_t u, auto n) __attribute__((always_inline)) {
          const Vec<Real<T>> dh = sum + load_first(lane.grad_state + u, n) + load_first(lane.grad_output + u, n);
          differentiate_cell<T, kCell>(lane, dh, p.H, u, n);
        });
  }
  if (!p.grad_h_0) return tiles.release();
  for (int64_t b = b_begin; b < b_end; ++b) {
    BackwardLane<T>& lane = lanes[b - b_begin];
    gather_flow(p, -1, b, p.lengths ? p.lengths[b] : p.T_, lane);
    lane.grad_h_0 = p.grad_h_0 + b * p.H;
    for (int64_t j = 0; j < p.H && kCell == kLstm; ++j) p.grad_c_0[b * p.H + j] = lane.grad_c[j];
  }
  flow_back<T, P, kCell, false>(
      tiles, p, lanes, b_end - b_begin,
      operands, [&](const BackwardLane<T>& lane, Vec<Real<T>> sum, int64_t u, auto n) __attribute__((always_inline)) {
        store_first(lane.grad_h_0 + u, sum + load_first(lane.grad_state + u, n), n);
      });
  tiles.release();
}

template <class T, class P>
void recurrence_backward(const BackwardArgs<T>& p, int64_t b_begin, int64_t b_end, void* scratch) {
  switch (p.cell) {
    case kTanh:
      return backward_cell<T, P, kTanh>(p, b_begin, b_end, scratch);
    case kRelu:
      return backward_cell<T, P, kRelu>(p, b_begin, b_end, scratch);
    case kGru:
      return backward_cell<T, P, kGru>(p, b_begin, b_end, scratch);
    case kLstm:
      return backward_cell<T, P, kLstm>(p, b_begin, b_end, scratch);
  }
}

// Bytes a lane; a multiple of a cache line, so that every thread's part begins on one.
template <class T, class P>
int64_t recurrence_scratch(int64_t lanes, int64_t cell, int64_t H) {
  const int64_t forward = forward_scratch<T, P>(H), backward = backward_scratch<T, P>(cell, H);
  return lanes * ceil_div(forward > backward ? forward : backward, 64) * 64;
}

}  // namespace
}  // namespace pyagent

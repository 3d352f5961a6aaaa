// What the ops over sequences share: checked arguments, and the two passes over time.
#pragma once

#include <algorithm>
#include <vector>

#include "core/dispatch.h"
#include "multiply.h"
#include "parallel.h"
#include "tensors.h"

namespace pyagent {

struct Sizes {
  int64_t T, B, H, G;
};

inline void check_cell(int64_t cell) {
  STD_TORCH_CHECK(cell >= 0 && cell < kNumCells, "cell: got ", cell, ", want 0 to ", kNumCells - 1);
}

inline void check_units(int64_t H) { STD_TORCH_CHECK(H <= kMostUnits, "H: got ", H, ", want 0 to ", kMostUnits); }

// The arguments of every op over a sequence, held while the kernels read them.
template <class T>
struct SequenceInputs {
  Sizes size;
  Argument<int64_t> lengths;
  Argument<T> weight_hh, h_0;
  Argument<Real<T>> c_0;
  Argument<bool> reset;
  std::unique_ptr<Real<T>, Free> zeros;

  SequenceInputs(const Sizes& s, const Tensor& weight_hh, const OptionalTensor& h_0, const OptionalTensor& c_0,
                 const OptionalTensor& reset, const OptionalTensor& lengths)
      : size(s),
        lengths("lengths", lengths, {s.B}),
        weight_hh("weight_hh", weight_hh, {s.G * s.H, s.H}),
        h_0("h_0", h_0, {s.B, s.H}),
        c_0(computed_argument<T>("c_0", c_0, {s.B, s.H})),
        reset("reset", reset, {s.T, s.B}),
        zeros(scratch<Real<T>>(s.G * s.H)) {
    check_range("lengths", this->lengths.get(), s.B, 0, s.T);
    std::fill_n(zeros.get(), s.G * s.H, Real<T>(0));
  }

  void describe(RecurrenceArgs<T>& args, int64_t cell) const {
    args.cell = cell;
    args.T_ = size.T, args.B = size.B, args.H = size.H;
    args.row_stride = size.G * size.H;
    args.lengths = lengths.get(), args.reset = reset.get();
    args.h_0 = h_0.get(), args.c_0 = c_0.get();
    args.zeros = zeros.get();
  }
};

// W_hh in the order in which a pass reads it.
template <class T>
std::unique_ptr<T, Free> packed_forward(const SequenceKernels<T>& kernels, int64_t cell, int64_t H,
                                        const T* weight_hh) {
  auto packed = scratch<T>(kernels.packed_forward_size(cell, H));
  kernels.pack_forward(cell, H, weight_hh, packed.get());
  return packed;
}

template <class T>
std::unique_ptr<T, Free> packed_backward(const SequenceKernels<T>& kernels, int64_t cell, int64_t H,
                                         const T* weight_hh) {
  auto packed = scratch<T>(kernels.packed_backward_size(cell, H));
  kernels.pack_backward(cell, H, weight_hh, packed.get());
  return packed;
}

// A pass over time, one of the kernels, lanes split over threads, which meet once.
template <class T, class Args>
void run_lanes(const SequenceKernels<T>& kernels, void (*pass)(const Args&, int64_t, int64_t, void*),
               const Args& args) {
  if (args.H == 0) return;  // however long: nothing to compute
  const int64_t lane_bytes = kernels.recurrence_scratch_bytes(1, args.cell, args.H);
  const auto memory = scratch<char>(args.B * lane_bytes);
  parallel_over(args.B, 2 * args.T_ * args.B * gates_of(args.cell) * args.H * (args.H + 16),
                [&](int64_t begin, int64_t end) { pass(args, begin, end, memory.get() + begin * lane_bytes); });
}

// As it is, or zeros.
template <class T>
void copy_or_zero(const T* from, int64_t count, T* to) {
  if (from)
    std::copy_n(from, count, to);
  else
    std::fill_n(to, count, T{});
}

// Every lane's state at its end, from a history [T, B, H] of it.
template <class T, class U>
void copy_final_state(const RecurrenceArgs<T>& p, const U* history, const U* initial, U* final) {
  for (int64_t b = 0; b < p.B; ++b) {
    const int64_t length = p.lengths ? p.lengths[b] : p.T_;
    const U* from = length > 0 ? history + ((length - 1) * p.B + b) * p.H : initial ? initial + b * p.H : nullptr;
    copy_or_zero(from, p.H, final + b * p.H);
  }
}

// grad_weight = (with `add`, +=) the gradients of W_hh's products times the states they were made from: rows of zeros
// where a reset replaced them.
template <class T>
void add_weight_gradient(const BackwardArgs<T>& args, bool split, bool add, Real<T>* grad_weight) {
  if (args.H == 0) return;
  const int64_t T_ = args.T_, B = args.B, H = args.H, stride = gate_gradients_of(args.cell) * H;
  const T* zeros = reinterpret_cast<const T*>(args.zeros);
  std::vector<const T*> h_prev(static_cast<size_t>(T_ * B));
  for (int64_t at = 0; at < T_ * B; ++at) {
    const bool fresh = args.reset && args.reset[at];
    const T* row = at >= B ? args.output + (at - B) * H : args.h_0 ? args.h_0 + at * H : zeros;
    h_prev[static_cast<size_t>(at)] = fresh ? zeros : row;
  }
  MatmulArgs<T> p{};
  p.M = gates_of(args.cell) * H, p.N = H, p.K = T_ * B;
  p.a = {args.grad_gates, stride, nullptr}, p.a_transposed = true;
  p.b = {nullptr, 0, h_prev.data()};
  p.c = grad_weight, p.c_stride = H;
  p.accumulate = add;
  multiply(p, split);
}

// Of the GRU, grad_bias_hn += the gradients of its third gate.
template <class T>
void add_bias_hn_gradient(const BackwardArgs<T>& args, Real<T>* grad_bias_hn) {
  const int64_t H = args.H, stride = gate_gradients_of(args.cell) * H;
  add_rows(RowSumArgs<T>{args.grad_gates + 2 * H, stride, args.T_ * args.B, nullptr, grad_bias_hn, 0}, H);
}

// The parts of grad_gates that are gradients of the input's pre-activations: f(column of grad_gates, column of the
// rows, columns). The GRU's third gate stands last there.
template <class F>
void for_row_gradients(int64_t cell, int64_t H, const F& f) {
  if (cell != kGru) return f(int64_t{0}, int64_t{0}, gates_of(cell) * H);
  f(int64_t{0}, int64_t{0}, 2 * H);
  f(3 * H, 2 * H, H);
}

// out[index] += the gradients of the rows (index null: of one row).
template <class T>
void add_row_gradients(int64_t cell, int64_t H, const T* grad_gates, int64_t count, const int64_t* index,
                       Real<T>* out) {
  for_row_gradients(cell, H, [&](int64_t from, int64_t to, int64_t columns) {
    add_rows(RowSumArgs<T>{grad_gates + from, gate_gradients_of(cell) * H, count, index, out + to, gates_of(cell) * H},
             columns);
  });
}

}  // namespace pyagent

// The recurrence of the amx target on emulated tiles, for test_recurrence_bf16.py.
#include "emulated_amx.h"

using namespace pyagent;

struct Case {
  int64_t cell, T, B, H, split, of_floats;
};

// [b_begin, b_end) as a thread would take them.
template <class T, class Args>
void run(const SequenceKernels<T>& kernels, void (*pass)(const Args&, int64_t, int64_t, void*), const Args& args,
         int64_t b_begin, int64_t b_end) {
  const int64_t bytes = kernels.recurrence_scratch_bytes(b_end - b_begin, args.cell, args.H);
  void* scratch = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  pass(args, b_begin, b_end, scratch);
  std::free(scratch);
}

template <class T_>
void run(const SequenceKernels<T_>& kernels, const Case& x) {
  const int64_t cell = x.cell, T = x.T, B = x.B, H = x.H, GH = gates_of(cell) * H;
  const auto rows = read<T_>(T * B * GH), weight = read<T_>(GH * H), h_0 = read<T_>(B * H);
  const auto c_0 = read<float>(B * H), bias_hn = read<float>(H);
  const auto reset = read<char>(T * B);
  const auto lengths = read<int64_t>(B);
  const auto grad_output = read<T_>(T * B * H);

  std::vector<T_> packed(kernels.packed_forward_size(cell, H)), back(kernels.packed_backward_size(cell, H));
  kernels.pack_forward(cell, H, weight.data(), packed.data());
  kernels.pack_backward(cell, H, weight.data(), back.data());
  std::vector<T_> output(T * B * H), gates(T * B * saved_gates_of(cell) * H);
  std::vector<T_> grad_gates(T * B * gate_gradients_of(cell) * H);
  std::vector<float> cells(T * B * H), zeros(GH), carry(B * H), grad_h_0(B * H), grad_c_0(B * H);

  ForwardArgs<T_> forward{};
  forward.cell = cell, forward.T_ = T, forward.B = B, forward.H = H;
  forward.rows = rows.data(), forward.row_stride = GH;
  forward.packed_hh = packed.data(), forward.bias_hn = bias_hn.data();
  forward.h_0 = h_0.data(), forward.c_0 = c_0.data();
  forward.reset = reinterpret_cast<const bool*>(reset.data()), forward.lengths = lengths.data();
  forward.zeros = zeros.data();
  forward.output = output.data(), forward.gates = gates.data(), forward.cells = cells.data();
  run(kernels, kernels.recurrence_forward, forward, 0, x.split);
  run(kernels, kernels.recurrence_forward, forward, x.split, B);

  BackwardArgs<T_> backward{};
  static_cast<RecurrenceArgs<T_>&>(backward) = forward;
  backward.packed_backward = back.data();
  backward.output = output.data(), backward.gates = gates.data(), backward.cells = cells.data();
  backward.grad_output = grad_output.data(), backward.grad_gates = grad_gates.data(), backward.carry = carry.data();
  backward.grad_h_0 = grad_h_0.data(), backward.grad_c_0 = grad_c_0.data();
  run(kernels, kernels.recurrence_backward, backward, 0, x.split);
  run(kernels, kernels.recurrence_backward, backward, x.split, B);
  write(output), write(grad_gates), write(grad_h_0), write(grad_c_0);
}

int main() {
  const Case x = read<Case>(1)[0];
  if (x.of_floats)
    run<float>(*kAmx.split, x);
  else
    run<Bf16>(kAmx.bf16, x);
}

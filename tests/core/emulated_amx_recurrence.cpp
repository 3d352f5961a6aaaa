// The recurrence of the amx target on emulated tiles, for test_recurrence_bf16.py.
#include "emulated_amx.h"

using namespace pyagent;

// [b_begin, b_end) as a thread would take them.
template <class Args>
void run(void (*kernel)(const Args&, int64_t, int64_t, void*), const Args& args, int64_t b_begin, int64_t b_end) {
  const int64_t bytes = kAmx.bf16.recurrence_scratch_bytes(b_end - b_begin, args.cell, args.H);
  void* scratch = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  kernel(args, b_begin, b_end, scratch);
  std::free(scratch);
}

int main() {
  const auto sizes = read<int64_t>(5);
  const int64_t cell = sizes[0], T = sizes[1], B = sizes[2], H = sizes[3], split = sizes[4], GH = gates_of(cell) * H;
  const auto rows = read<Bf16>(T * B * GH), weight = read<Bf16>(GH * H), h_0 = read<Bf16>(B * H);
  const auto c_0 = read<float>(B * H), bias_hn = read<float>(H);
  const auto reset = read<char>(T * B);
  const auto lengths = read<int64_t>(B);
  const auto grad_output = read<Bf16>(T * B * H);

  std::vector<Bf16> packed(kAmx.bf16.packed_forward_size(cell, H)), back(kAmx.bf16.packed_backward_size(cell, H));
  kAmx.bf16.pack_forward(cell, H, weight.data(), packed.data());
  kAmx.bf16.pack_backward(cell, H, weight.data(), back.data());
  std::vector<Bf16> output(T * B * H), gates(T * B * saved_gates_of(cell) * H);
  std::vector<Bf16> grad_gates(T * B * gate_gradients_of(cell) * H);
  std::vector<float> cells(T * B * H), zeros(GH), carry(B * H), grad_h_0(B * H), grad_c_0(B * H);

  ForwardArgs<Bf16> forward{};
  forward.cell = cell, forward.T_ = T, forward.B = B, forward.H = H;
  forward.rows = rows.data(), forward.row_stride = GH;
  forward.packed_hh = packed.data(), forward.bias_hn = bias_hn.data();
  forward.h_0 = h_0.data(), forward.c_0 = c_0.data();
  forward.reset = reinterpret_cast<const bool*>(reset.data()), forward.lengths = lengths.data();
  forward.zeros = zeros.data();
  forward.output = output.data(), forward.gates = gates.data(), forward.cells = cells.data();
  run(kAmx.bf16.recurrence_forward, forward, 0, split);
  run(kAmx.bf16.recurrence_forward, forward, split, B);

  BackwardArgs<Bf16> backward{};
  static_cast<RecurrenceArgs<Bf16>&>(backward) = forward;
  backward.packed_backward = back.data();
  backward.output = output.data(), backward.gates = gates.data(), backward.cells = cells.data();
  backward.grad_output = grad_output.data(), backward.grad_gates = grad_gates.data(), backward.carry = carry.data();
  backward.grad_h_0 = grad_h_0.data(), backward.grad_c_0 = grad_c_0.data();
  run(kAmx.bf16.recurrence_backward, backward, 0, split);
  run(kAmx.bf16.recurrence_backward, backward, split, B);
  write(output), write(grad_gates), write(grad_h_0), write(grad_c_0);
}

// torch ops of the recurrence (pyagent/ops/recurrence.py has the maths and the shapes): check, allocate, split over
// lanes. With `split`, products of float32 are of sums of two Bf16, where the target has kernels for that.
#include <torch/csrc/stable/library.h>

#include <numeric>
#include <tuple>
#include <vector>

#include "recurrence.h"

namespace pyagent {
namespace {

Sizes sizes_of(const Tensor& rows, const OptionalTensor& row_index, int64_t cell) {
  check_cell(cell);
  const int64_t G = gates_of(cell), dim = row_index ? 2 : 3;
  STD_TORCH_CHECK(rows.dim() == dim, "rows: got ", rows.dim(), " dimensions, want ", dim);
  STD_TORCH_CHECK(!row_index || row_index->dim() == 2, "row_index: got ", row_index->dim(), " dimensions, want 2");
  const Tensor& layout = row_index ? *row_index : rows;
  const int64_t width = rows.size(dim - 1);
  STD_TORCH_CHECK(width % G == 0, "rows: got width ", width, ", want a multiple of ", G);
  check_units(width / G);
  return {layout.size(0), layout.size(1), width / G, G};
}

template <class T>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward(const Tensor& rows, const OptionalTensor& row_index,
                                                           const Tensor& weight_hh, const OptionalTensor& bias_hn,
                                                           const OptionalTensor& h_0, const OptionalTensor& c_0,
                                                           const OptionalTensor& reset, const OptionalTensor& lengths,
                                                           int64_t cell, bool save, bool split) {
  const Sizes s = sizes_of(rows, row_index, cell);
  const SequenceInputs<T> inputs(s, weight_hh, h_0, c_0, reset, lengths);
  const Argument<T> held_rows("rows", rows, row_index ? Shape{rows.size(0), s.G * s.H} : Shape{s.T, s.B, s.G * s.H}),
      held_bias("bias_hn", bias_hn, {s.H});
  const Argument<int64_t> held_index("row_index", row_index, {s.T, s.B});
  check_range("row_index", held_index.get(), s.T * s.B, 0, rows.size(0) - 1);
  const bool lstm = cell == kLstm, keep = save && saved_gates_of(cell) > 0;
  Tensor output = new_tensor<T>({s.T, s.B, s.H}), h_n = new_tensor<T>({s.B, s.H});
  Tensor c_n = lstm ? new_tensor<T>({s.B, s.H}) : new_tensor<T>({0});
  Tensor gates = keep ? new_tensor<T>({s.T, s.B, saved_gates_of(cell) * s.H}) : new_tensor<T>({0});
  Tensor cells = keep && lstm ? new_tensor<T>({s.T, s.B, s.H}) : new_tensor<T>({0});

  const SequenceKernels<T>& kernels = sequence_kernels<T>(split);
  const auto packed = packed_forward(kernels, cell, s.H, inputs.weight_hh.get());
  ForwardArgs<T> args{};
  inputs.describe(args, cell);
  args.rows = held_rows.get(), args.row_index = held_index.get(), args.bias_hn = held_bias.get();
  args.packed_hh = packed.get();
  args.output = data<T>(output), args.c = data<T>(c_n);
  args.gates = keep ? data<T>(gates) : nullptr;
  args.cells = keep && lstm ? data<T>(cells) : nullptr;
  if (lstm && !keep) copy_or_zero(args.c_0, s.B * s.H, args.c);
  run_lanes(kernels, kernels.recurrence_forward, args);
  copy_final_state(args, data<const T>(output), args.h_0, data<T>(h_n));
  if (keep && lstm) copy_final_state(args, data<const T>(cells), args.c_0, data<T>(c_n));
  return {output, h_n, c_n, gates, cells};
}

template <class T>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const OptionalTensor& grad_c_n, int64_t num_rows,
    const OptionalTensor& row_index, const Tensor& weight_hh, const OptionalTensor& h_0, const OptionalTensor& c_0,
    const OptionalTensor& reset, const OptionalTensor& lengths, const Tensor& output, const Tensor& gates,
    const Tensor& cells, int64_t cell, bool need_rows, bool need_weight, bool need_state, bool split) {
  check_cell(cell);
  STD_TORCH_CHECK(output.dim() == 3, "output: got ", output.dim(), " dimensions, want 3");
  STD_TORCH_CHECK(num_rows >= 0, "num_rows: got ", num_rows, ", want 0 or more");
  check_units(output.size(2));
  const Sizes s{output.size(0), output.size(1), output.size(2), gates_of(cell)};
  const SequenceInputs<T> inputs(s, weight_hh, h_0, c_0, reset, lengths);
  const Argument<int64_t> held_index("row_index", row_index, {s.T, s.B});
  check_range("row_index", held_index.get(), s.T * s.B, 0, num_rows - 1);
  const bool lstm = cell == kLstm, gru = cell == kGru;
  const Shape step{s.T, s.B, s.H}, lane{s.B, s.H};
  const Argument<T> held_output("output", output, step), held_grad_output("grad_output", grad_output, step),
      held_grad_h_n("grad_h_n", grad_h_n, lane), held_grad_c_n("grad_c_n", grad_c_n, lane),
      held_gates("gates", gates, saved_gates_of(cell) ? Shape{s.T, s.B, saved_gates_of(cell) * s.H} : Shape{0}),
      held_cells("cells", cells, lstm ? step : Shape{0});

  Tensor grad_weight = new_tensor<T>(need_weight ? Shape{s.G * s.H, s.H} : Shape{0});
  Tensor grad_bias_hn = zero_tensor<T>(need_weight && gru, {s.H});
  Tensor grad_h_0 = need_state ? new_tensor<T>({s.B, s.H}) : new_tensor<T>({0});
  Tensor grad_c_0 = need_state && lstm ? new_tensor<T>({s.B, s.H}) : new_tensor<T>({0});

  const SequenceKernels<T>& kernels = sequence_kernels<T>(split);
  const auto packed = packed_backward(kernels, cell, s.H, inputs.weight_hh.get());
  const auto grad_gates = scratch<T>(s.T * s.B * gate_gradients_of(cell) * s.H), carry = scratch<T>(s.B * s.H);
  BackwardArgs<T> args{};
  inputs.describe(args, cell);
  args.packed_backward = packed.get();
  args.output = held_output.get(), args.gates = held_gates.get(), args.cells = held_cells.get();
  args.grad_output = held_grad_output.get();
  args.grad_h_n = held_grad_h_n.get(), args.grad_c_n = held_grad_c_n.get();
  args.grad_gates = grad_gates.get(), args.carry = carry.get();
  args.grad_h_0 = need_state ? data<T>(grad_h_0) : nullptr;
  args.grad_c_0 = need_state && lstm ? data<T>(grad_c_0) : nullptr;
  run_lanes(kernels, kernels.recurrence_backward, args);

  if (need_weight) add_weight_gradient(args, split, false, data<T>(grad_weight));
  if (need_weight && gru) add_bias_hn_gradient(args, data<T>(grad_bias_hn));
  Tensor grad_rows =
      row_index ? zero_tensor<T>(need_rows, {num_rows, s.G * s.H}) : zero_tensor<T>(need_rows, {s.T, s.B, s.G * s.H});
  if (need_rows) {
    std::vector<int64_t> own(row_index ? 0 : static_cast<size_t>(s.T * s.B));
    std::iota(own.begin(), own.end(), int64_t{0});
    add_row_gradients(cell, s.H, args.grad_gates, s.T * s.B, row_index ? held_index.get() : own.data(),
                      data<T>(grad_rows));
  }
  return {grad_rows, grad_weight, grad_bias_hn, grad_h_0, grad_c_0};
}

// The boxed signatures: one for both dtypes.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward_of_any_dtype(
    const Tensor& rows, const OptionalTensor& row_index, const Tensor& weight_hh, const OptionalTensor& bias_hn,
    const OptionalTensor& h_0, const OptionalTensor& c_0, const OptionalTensor& reset, const OptionalTensor& lengths,
    int64_t cell, bool save, bool split) {
  return with_dtype("rows", rows, [&](auto zero) {
    return forward<decltype(zero)>(rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths, cell, save, split);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward_of_any_dtype(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const OptionalTensor& grad_c_n, int64_t num_rows,
    const OptionalTensor& row_index, const Tensor& weight_hh, const OptionalTensor& h_0, const OptionalTensor& c_0,
    const OptionalTensor& reset, const OptionalTensor& lengths, const Tensor& output, const Tensor& gates,
    const Tensor& cells, int64_t cell, bool need_rows, bool need_weight, bool need_state, bool split) {
  return with_dtype("output", output, [&](auto zero) {
    return backward<decltype(zero)>(grad_output, grad_h_n, grad_c_n, num_rows, row_index, weight_hh, h_0, c_0, reset,
                                    lengths, output, gates, cells, cell, need_rows, need_weight, need_state, split);
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "recurrence_forward(Tensor rows, Tensor? row_index, Tensor weight_hh, Tensor? bias_hn, Tensor? h_0, "
      "Tensor? c_0, Tensor? reset, Tensor? lengths, int cell, bool save, bool split=False) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "recurrence_backward(Tensor? grad_output, Tensor? grad_h_n, Tensor? grad_c_n, SymInt num_rows, "
      "Tensor? row_index, Tensor weight_hh, Tensor? h_0, Tensor? c_0, Tensor? reset, Tensor? lengths, Tensor output, "
      "Tensor gates, Tensor cells, int cell, bool need_rows, bool need_weight, bool need_state, "
      "bool split=False) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) {
  m.impl("recurrence_forward", TORCH_BOX(&pyagent::forward_of_any_dtype));
  m.impl("recurrence_backward", TORCH_BOX(&pyagent::backward_of_any_dtype));
}

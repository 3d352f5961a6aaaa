// torch ops of the recurrence (pyagent/ops/recurrence.py has the maths and the shapes): check, allocate, split over
// lanes.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "core/dispatch.h"
#include "multiply.h"
#include "parallel.h"
#include "tensors.h"

namespace pyagent {
namespace {

struct Sizes {
  int64_t T, B, H, G, R;
};

void check_cell(int64_t cell) {
  STD_TORCH_CHECK(cell >= 0 && cell < kNumCells, "cell: got ", cell, ", want 0 to ", kNumCells - 1);
}

void check_units(int64_t H) { STD_TORCH_CHECK(H <= kMostUnits, "H: got ", H, ", want 0 to ", kMostUnits); }

Sizes sizes_of(const Tensor& rows, const OptionalTensor& row_index, int64_t cell) {
  check_cell(cell);
  const int64_t G = gates_of(cell), dim = row_index ? 2 : 3;
  STD_TORCH_CHECK(rows.dim() == dim, "rows: got ", rows.dim(), " dimensions, want ", dim);
  STD_TORCH_CHECK(!row_index || row_index->dim() == 2, "row_index: got ", row_index->dim(), " dimensions, want 2");
  const Tensor& layout = row_index ? *row_index : rows;
  const int64_t width = rows.size(dim - 1);
  STD_TORCH_CHECK(width % G == 0, "rows: got width ", width, ", want a multiple of ", G);
  check_units(width / G);
  return {layout.size(0), layout.size(1), width / G, G, row_index ? rows.size(0) : 0};
}

// The arguments that forward and backward share, held while the kernels read them.
template <class T>
struct Inputs {
  Sizes size;
  Argument<int64_t> row_index, lengths;
  Argument<T> weight_hh, bias_hn, h_0, c_0;
  Argument<bool> reset;
  std::unique_ptr<T, Free> zeros;

  Inputs(const Sizes& s, const OptionalTensor& row_index, const Tensor& weight_hh, const OptionalTensor& bias_hn,
         const OptionalTensor& h_0, const OptionalTensor& c_0, const OptionalTensor& reset,
         const OptionalTensor& lengths)
      : size(s),
        row_index("row_index", row_index, {s.T, s.B}),
        lengths("lengths", lengths, {s.B}),
        weight_hh("weight_hh", weight_hh, {s.G * s.H, s.H}),
        bias_hn("bias_hn", bias_hn, {s.H}),
        h_0("h_0", h_0, {s.B, s.H}),
        c_0("c_0", c_0, {s.B, s.H}),
        reset("reset", reset, {s.T, s.B}),
        zeros(scratch<T>(s.G * s.H)) {
    check_range("row_index", this->row_index.get(), s.T * s.B, 0, s.R - 1);
    check_range("lengths", this->lengths.get(), s.B, 0, s.T);
    std::fill_n(zeros.get(), s.G * s.H, T(0));
  }

  void describe(RecurrenceArgs<T>& args, int64_t cell) const {
    args.cell = cell;
    args.T_ = size.T, args.B = size.B, args.H = size.H;
    args.row_index = row_index.get(), args.lengths = lengths.get(), args.reset = reset.get();
    args.bias_hn = bias_hn.get(), args.h_0 = h_0.get(), args.c_0 = c_0.get();
    args.zeros = zeros.get();
  }

  int64_t flops() const { return 2 * size.T * size.B * size.G * size.H * (size.H + 16); }
};

template <class T, class Args>
void run_lanes(void (*kernel)(const Args&, int64_t, int64_t, void*), const Args& args, int64_t flops) {
  if (args.H == 0) return;  // however long: nothing to compute
  const int64_t lane_bytes = kernels<T>().recurrence_scratch_bytes(1, args.cell, args.H);
  const auto memory = scratch<char>(args.B * lane_bytes);
  parallel_over(args.B, flops,
                [&](int64_t begin, int64_t end) { kernel(args, begin, end, memory.get() + begin * lane_bytes); });
}

template <class T>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward(const Tensor& rows, const OptionalTensor& row_index,
                                                           const Tensor& weight_hh, const OptionalTensor& bias_hn,
                                                           const OptionalTensor& h_0, const OptionalTensor& c_0,
                                                           const OptionalTensor& reset, const OptionalTensor& lengths,
                                                           int64_t cell, bool save) {
  const Sizes s = sizes_of(rows, row_index, cell);
  const Inputs<T> inputs(s, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths);
  const Argument<T> held_rows("rows", rows, row_index ? Shape{s.R, s.G * s.H} : Shape{s.T, s.B, s.G * s.H});
  const bool lstm = cell == kLstm, keep = save && saved_gates_of(cell) > 0;
  Tensor output = new_tensor<T>({s.T, s.B, s.H}), h_n = new_tensor<T>({s.B, s.H});
  Tensor c_n = lstm ? new_tensor<T>({s.B, s.H}) : new_tensor<T>({0});
  Tensor gates = keep ? new_tensor<T>({s.T, s.B, saved_gates_of(cell) * s.H}) : new_tensor<T>({0});
  Tensor cells = keep && lstm ? new_tensor<T>({s.T, s.B, s.H}) : new_tensor<T>({0});

  const auto packed = scratch<T>(kernels<T>().packed_forward_size(cell, s.H));
  kernels<T>().pack_forward(cell, s.H, inputs.weight_hh.get(), packed.get());
  ForwardArgs<T> args{};
  inputs.describe(args, cell);
  args.rows = held_rows.get();
  args.packed_hh = packed.get();
  args.output = data<T>(output), args.h_n = data<T>(h_n), args.c_n = data<T>(c_n);
  args.gates = keep ? data<T>(gates) : nullptr;
  args.cells = keep && lstm ? data<T>(cells) : nullptr;
  run_lanes<T>(kernels<T>().recurrence_forward, args, inputs.flops());
  return {output, h_n, c_n, gates, cells};
}

// W_hh's gradient: rows of grad_gates times the states they were computed from, rows of zeros where a reset replaced
// them.
template <class T>
void weight_gradient(const BackwardArgs<T>& args, T* grad_weight, T* grad_bias_hn) {
  if (args.H == 0) return;
  const int64_t T_ = args.T_, B = args.B, H = args.H, GH = gates_of(args.cell) * H, own = args.cell == kGru ? H : 0;
  std::vector<const T*> h_prev(static_cast<size_t>(T_ * B));
  for (int64_t at = 0; at < T_ * B; ++at) {
    const bool fresh = args.reset && args.reset[at];
    const T* row = at >= B ? args.output + (at - B) * H : args.h_0 ? args.h_0 + at * H : args.zeros;
    h_prev[static_cast<size_t>(at)] = fresh ? args.zeros : row;
  }
  const auto product = [&](const T* grad, int64_t stride, int64_t units, T* out) {
    MatmulArgs<T> p{};
    p.M = units, p.N = H, p.K = T_ * B;
    p.a = {grad, stride, nullptr}, p.a_transposed = true;
    p.b = {nullptr, 0, h_prev.data()};
    p.c = out, p.c_stride = H;
    multiply(p);
  };
  product(args.grad_gates, GH, GH - own, grad_weight);
  if (args.cell != kGru) return;
  product(args.grad_hn, H, H, grad_weight + 2 * H * H);
  kernels<T>().sum_rows(args.grad_hn, T_ * B, H, nullptr, 1, grad_bias_hn, 0, H);
}

template <class T>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const OptionalTensor& grad_c_n, int64_t num_rows,
    const OptionalTensor& row_index, const Tensor& weight_hh, const OptionalTensor& h_0, const OptionalTensor& c_0,
    const OptionalTensor& reset, const OptionalTensor& lengths, const Tensor& output, const Tensor& gates,
    const Tensor& cells, int64_t cell, bool need_rows, bool need_weight, bool need_state) {
  check_cell(cell);
  STD_TORCH_CHECK(output.dim() == 3, "output: got ", output.dim(), " dimensions, want 3");
  STD_TORCH_CHECK(num_rows >= 0, "num_rows: got ", num_rows, ", want 0 or more");
  check_units(output.size(2));
  const Sizes s{output.size(0), output.size(1), output.size(2), gates_of(cell), num_rows};
  const Inputs<T> inputs(s, row_index, weight_hh, std::nullopt, h_0, c_0, reset, lengths);
  const bool lstm = cell == kLstm, gru = cell == kGru;
  const Shape step{s.T, s.B, s.H}, lane{s.B, s.H};
  const Argument<T> held_output("output", output, step), held_grad_output("grad_output", grad_output, step),
      held_grad_h_n("grad_h_n", grad_h_n, lane), held_grad_c_n("grad_c_n", grad_c_n, lane),
      held_gates("gates", gates, saved_gates_of(cell) ? Shape{s.T, s.B, saved_gates_of(cell) * s.H} : Shape{0}),
      held_cells("cells", cells, lstm ? step : Shape{0});

  Tensor grad_gates = new_tensor<T>({s.T, s.B, s.G * s.H});
  Tensor grad_weight = need_weight ? new_tensor<T>({s.G * s.H, s.H}) : new_tensor<T>({0});
  Tensor grad_bias_hn = need_weight && gru ? new_tensor<T>({s.H}) : new_tensor<T>({0});
  Tensor grad_h_0 = need_state ? new_tensor<T>({s.B, s.H}) : new_tensor<T>({0});
  Tensor grad_c_0 = need_state && lstm ? new_tensor<T>({s.B, s.H}) : new_tensor<T>({0});

  const auto packed = scratch<T>(kernels<T>().packed_backward_size(cell, s.H));
  kernels<T>().pack_backward(cell, s.H, inputs.weight_hh.get(), packed.get());
  const auto grad_hn = scratch<T>(gru ? s.T * s.B * s.H : 0), carry = scratch<T>(s.B * s.H);
  BackwardArgs<T> args{};
  inputs.describe(args, cell);
  args.packed_backward = packed.get();
  args.output = held_output.get(), args.gates = held_gates.get(), args.cells = held_cells.get();
  args.grad_output = held_grad_output.get();
  args.grad_h_n = held_grad_h_n.get(), args.grad_c_n = held_grad_c_n.get();
  args.grad_gates = data<T>(grad_gates), args.grad_hn = grad_hn.get(), args.carry = carry.get();
  args.grad_h_0 = need_state ? data<T>(grad_h_0) : nullptr;
  args.grad_c_0 = need_state && lstm ? data<T>(grad_c_0) : nullptr;
  run_lanes<T>(kernels<T>().recurrence_backward, args, inputs.flops());

  if (need_weight) weight_gradient(args, data<T>(grad_weight), data<T>(grad_bias_hn));
  if (!need_rows) return {new_tensor<T>({0}), grad_weight, grad_bias_hn, grad_h_0, grad_c_0};
  if (!row_index) return {grad_gates, grad_weight, grad_bias_hn, grad_h_0, grad_c_0};
  Tensor grad_rows = new_tensor<T>({s.R, s.G * s.H});
  // Split over columns, so that every sum runs over time and lanes in one order.
  parallel_over(s.G * s.H, 8 * s.T * s.B * s.G * s.H, [&](int64_t begin, int64_t end) {
    kernels<T>().sum_rows(args.grad_gates, s.T * s.B, s.G * s.H, args.row_index, s.R, data<T>(grad_rows), begin, end);
  });
  return {grad_rows, grad_weight, grad_bias_hn, grad_h_0, grad_c_0};
}

template <class T>
Tensor pack(const Tensor& weight_hh, int64_t cell) {
  check_cell(cell);
  STD_TORCH_CHECK(weight_hh.dim() == 2, "weight_hh: got ", weight_hh.dim(), " dimensions, want 2");
  const int64_t H = weight_hh.size(1);
  check_units(H);
  const Argument<T> held("weight_hh", weight_hh, {gates_of(cell) * H, H});
  Tensor packed = new_tensor<T>({kernels<T>().packed_forward_size(cell, H)});
  kernels<T>().pack_forward(cell, H, held.get(), data<T>(packed));
  return packed;
}

// From this many lanes on, packing W_hh for a single step costs less than it saves.
constexpr int64_t kLanesWorthPacking = 5;

template <class T>
std::tuple<Tensor, Tensor> step(const Tensor& rows, const OptionalTensor& row_index, const Tensor& weight, bool packed,
                                const OptionalTensor& bias_hn, const OptionalTensor& h, const OptionalTensor& c,
                                const OptionalTensor& reset, int64_t cell) {
  check_cell(cell);
  STD_TORCH_CHECK(rows.dim() == 2, "rows: got ", rows.dim(), " dimensions, want 2");
  STD_TORCH_CHECK(!row_index || row_index->dim() == 1, "row_index: got ", row_index->dim(), " dimensions, want 1");
  const int64_t G = gates_of(cell), H = rows.size(1) / G, R = rows.size(0), B = row_index ? row_index->size(0) : R;
  check_units(H);
  STD_TORCH_CHECK(cell == kLstm || !c, "c: got a tensor, want none but for LSTM");
  STD_TORCH_CHECK(cell == kGru || !bias_hn, "bias_hn: got a tensor, want none but for GRU");
  const bool lstm = cell == kLstm;
  const Argument<T> held_rows("rows", rows, {R, G * H}), held_bias("bias_hn", bias_hn, {H}), held_h("h", h, {B, H}),
      held_c("c", c, {B, H}),
      held_weight("weight", weight, packed ? Shape{kernels<T>().packed_forward_size(cell, H)} : Shape{G * H, H});
  const Argument<int64_t> held_index("row_index", row_index, {B});
  const Argument<bool> held_reset("reset", reset, {B});
  check_range("row_index", held_index.get(), B, 0, R - 1);
  Tensor h_next = new_tensor<T>({B, H}), c_next = lstm ? new_tensor<T>({B, H}) : new_tensor<T>({0});

  // One block of scratch: a row of zeros, the unused second copy of h, and what the weight is turned into.
  const bool pack_now = !packed && B >= kLanesWorthPacking;
  const int64_t derived = packed ? 0 : pack_now ? kernels<T>().packed_forward_size(cell, H) : B * G * H;
  const auto memory = scratch<T>(G * H + B * H + derived);
  T *zeros = memory.get(), *h_n = zeros + G * H, *from_weight = h_n + B * H;
  std::fill_n(zeros, G * H, T(0));

  ForwardArgs<T> args{};
  args.cell = cell, args.T_ = 1, args.B = B, args.H = H;
  args.rows = held_rows.get(), args.row_index = held_index.get();
  args.bias_hn = held_bias.get(), args.h_0 = held_h.get(), args.c_0 = held_c.get();
  args.reset = held_reset.get(), args.zeros = zeros;
  args.output = data<T>(h_next), args.h_n = h_n, args.c_n = data<T>(c_next);
  args.packed_hh = packed ? held_weight.get() : from_weight;
  if (pack_now) kernels<T>().pack_forward(cell, H, held_weight.get(), from_weight);
  if (!packed && !pack_now) {
    std::vector<const T*> h_prev(static_cast<size_t>(B), zeros);
    for (int64_t b = 0; b < B; ++b)
      if (args.h_0 && !(args.reset && args.reset[b])) h_prev[static_cast<size_t>(b)] = args.h_0 + b * H;
    MatmulArgs<T> p{};
    p.M = B, p.N = G * H, p.K = H;
    p.a = {nullptr, 0, h_prev.data()};
    p.b = {held_weight.get(), H, nullptr}, p.b_transposed = true;
    p.c = from_weight, p.c_stride = G * H;
    kernels<T>().matmul(p, 0, B, scratch<char>(kernels<T>().matmul_scratch_bytes(p)).get());
    args.products = from_weight;
  }
  run_lanes<T>(kernels<T>().recurrence_forward, args, 2 * B * G * H * (H + 16));
  return {h_next, c_next};
}

// The boxed signatures: one for both dtypes.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward_of_any_dtype(
    const Tensor& rows, const OptionalTensor& row_index, const Tensor& weight_hh, const OptionalTensor& bias_hn,
    const OptionalTensor& h_0, const OptionalTensor& c_0, const OptionalTensor& reset, const OptionalTensor& lengths,
    int64_t cell, bool save) {
  return with_dtype("rows", rows, [&](auto zero) {
    return forward<decltype(zero)>(rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths, cell, save);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward_of_any_dtype(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const OptionalTensor& grad_c_n, int64_t num_rows,
    const OptionalTensor& row_index, const Tensor& weight_hh, const OptionalTensor& h_0, const OptionalTensor& c_0,
    const OptionalTensor& reset, const OptionalTensor& lengths, const Tensor& output, const Tensor& gates,
    const Tensor& cells, int64_t cell, bool need_rows, bool need_weight, bool need_state) {
  return with_dtype("output", output, [&](auto zero) {
    return backward<decltype(zero)>(grad_output, grad_h_n, grad_c_n, num_rows, row_index, weight_hh, h_0, c_0, reset,
                                    lengths, output, gates, cells, cell, need_rows, need_weight, need_state);
  });
}

Tensor pack_of_any_dtype(const Tensor& weight_hh, int64_t cell) {
  return with_dtype("weight_hh", weight_hh, [&](auto zero) { return pack<decltype(zero)>(weight_hh, cell); });
}

std::tuple<Tensor, Tensor> step_of_any_dtype(const Tensor& rows, const OptionalTensor& row_index, const Tensor& weight,
                                             bool packed, const OptionalTensor& bias_hn, const OptionalTensor& h,
                                             const OptionalTensor& c, const OptionalTensor& reset, int64_t cell) {
  return with_dtype("rows", rows, [&](auto zero) {
    return step<decltype(zero)>(rows, row_index, weight, packed, bias_hn, h, c, reset, cell);
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "recurrence_forward(Tensor rows, Tensor? row_index, Tensor weight_hh, Tensor? bias_hn, Tensor? h_0, "
      "Tensor? c_0, Tensor? reset, Tensor? lengths, int cell, bool save) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "recurrence_backward(Tensor? grad_output, Tensor? grad_h_n, Tensor? grad_c_n, SymInt num_rows, "
      "Tensor? row_index, Tensor weight_hh, Tensor? h_0, Tensor? c_0, Tensor? reset, Tensor? lengths, Tensor output, "
      "Tensor gates, Tensor cells, int cell, bool need_rows, bool need_weight, bool need_state) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def("recurrence_pack(Tensor weight_hh, int cell) -> Tensor");
  m.def(
      "recurrence_step(Tensor rows, Tensor? row_index, Tensor weight, bool packed, Tensor? bias_hn, Tensor? h, "
      "Tensor? c, Tensor? reset, int cell) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) {
  m.impl("recurrence_forward", TORCH_BOX(&pyagent::forward_of_any_dtype));
  m.impl("recurrence_backward", TORCH_BOX(&pyagent::backward_of_any_dtype));
  m.impl("recurrence_pack", TORCH_BOX(&pyagent::pack_of_any_dtype));
  m.impl("recurrence_step", TORCH_BOX(&pyagent::step_of_any_dtype));
}

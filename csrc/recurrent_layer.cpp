// torch ops of a whole recurrent layer (pyagent/ops/recurrent_layer.py has the maths and the shapes): input projection
// and recurrence, with nothing kept in between but what the backward pass needs.
//
// Time is cut into segments where that saves memory: so that the rows of a few steps exist at a time where no gates are
// kept, and so that the gates of one segment at a time are made again where the backward pass finds none.
//
// With `split`, products of float32 are of sums of two Bf16, where the target has kernels for that.
#include "recurrent_layer.h"

#include <torch/csrc/stable/library.h>

#include <tuple>

namespace pyagent {
namespace {

// Rows of a segment whose gates are not kept fit a second-level cache, together with what they are made from.
constexpr int64_t kSegmentBytes = 1 << 18;

// Lengths, as a segment of `steps` steps from `begin` on sees them.
std::vector<int64_t> lengths_within(const int64_t* lengths, int64_t B, int64_t begin, int64_t steps) {
  std::vector<int64_t> within(lengths ? static_cast<size_t>(B) : 0);
  for (size_t b = 0; b < within.size(); ++b) within[b] = std::clamp(lengths[b] - begin, int64_t{0}, steps);
  return within;
}

// Turns the description of a whole sequence into that of a segment. `output` holds the states before it.
template <class T>
void narrow(RecurrenceArgs<T>& args, const T* output, int64_t begin, int64_t steps,
            const std::vector<int64_t>& lengths) {
  const int64_t at = begin * args.B;
  args.T_ = steps;
  if (args.row_index) args.row_index += at;
  if (args.reset) args.reset += at;
  if (args.lengths) args.lengths = lengths.data();
  if (begin > 0) args.h_0 = output + (at - args.B) * args.H;
}

// every = 0 keeps nothing for a backward pass, 1 all gates and cells, K > 1 the cells before steps K, 2K, ….
template <class T>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward(const Layer<T>& layer, int64_t every) {
  using R = Real<T>;
  const auto [T_, B, H, G] = layer.size();
  const int64_t cell = layer.cell(), saved = saved_gates_of(cell) * H, width = G * H;
  const bool lstm = cell == kLstm, dense = !layer.reads_tokens(), keep = every == 1 && saved > 0;
  const bool mark = every > 1 && lstm;
  Tensor output = new_tensor<T>({T_, B, H}), h_n = new_tensor<T>({B, H});
  Tensor c_n = new_tensor<R>(lstm ? Shape{B, H} : Shape{0});
  Tensor gates = keep ? new_tensor<T>({T_, B, saved}) : new_tensor<T>({0});
  const int64_t cells_kept = keep ? T_ : (std::max<int64_t>(T_, 1) - 1) / std::max<int64_t>(every, 1);
  Tensor cells = new_tensor<R>(lstm && every > 0 ? Shape{cells_kept, B, H} : Shape{0});

  const auto packed = packed_forward(layer.kernels(), cell, H, layer.weight_hh());
  ForwardArgs<T> whole{};
  layer.describe(whole);
  whole.packed_hh = packed.get();
  whole.c = data<R>(c_n);
  if (lstm && !keep) copy_or_zero(whole.c_0, B * H, whole.c);

  // A dense layer's rows are made where the gates will stand, or the output where no gates are ever kept.
  const bool apart = saved > 0 && !keep;
  const int64_t row_bytes = std::max<int64_t>(1, B * width * static_cast<int64_t>(sizeof(T)));
  const int64_t most_steps = dense && apart ? std::max<int64_t>(1, kSegmentBytes / row_bytes) : T_;
  const auto rows = scratch<T>(!dense ? layer.rows() * width : apart ? std::min(most_steps, T_) * B * width : 0);
  if (!dense) layer.project(0, layer.rows(), rows.get(), width);

  for (int64_t begin = 0, steps; begin < T_; begin += steps) {
    steps = std::min(most_steps, T_ - begin);
    if (mark) steps = std::min(steps, every - begin % every);
    if (mark && begin > 0 && begin % every == 0)
      std::copy_n(whole.c, B * H, data<R>(cells) + (begin / every - 1) * B * H);
    const int64_t at = begin * B;
    const auto lengths = lengths_within(whole.lengths, B, begin, steps);
    ForwardArgs<T> args = whole;
    narrow(args, data<T>(output), begin, steps, lengths);
    args.output = data<T>(output) + at * H;
    args.gates = keep ? data<T>(gates) + at * saved : nullptr;
    args.cells = keep && lstm ? data<R>(cells) + at * H : nullptr;
    args.rows = rows.get();
    if (dense) {
      T* made = apart ? rows.get() : keep ? args.gates : args.output;
      if (keep) args.row_stride = saved;
      layer.project(at, steps * B, made, args.row_stride);
      args.rows = made;
    }
    run_lanes(layer.kernels(), layer.kernels().recurrence_forward, args);
  }
  copy_final_state(whole, data<const T>(output), whole.h_0, data<T>(h_n));
  if (keep && lstm) copy_final_state(whole, data<const R>(cells), whole.c_0, data<R>(c_n));
  return {output, h_n, c_n, gates, cells};
}

// What is asked for; empty where it is not wanted. Biases are added to, weights written by the first segment.
template <class T>
struct LayerGradients {
  using R = Real<T>;
  Tensor input, weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0;

  LayerGradients(const Layer<T>& layer, bool need_input, bool need_weight_ih, bool need_weight_hh, bool need_bias,
                 bool need_state)
      : input(layer.reads_tokens()
                  ? zero_tensor<R>(need_input, {layer.vocabulary(), layer.input_size()})
                  : new_tensor<T>(need_input ? Shape{layer.size().T, layer.size().B, layer.input_size()} : Shape{0})),
        weight_ih(matrix(layer, need_weight_ih, layer.input_size())),
        weight_hh(matrix(layer, need_weight_hh, layer.size().H)),
        bias_ih(zero_tensor<R>(need_bias, {layer.width()})),
        bias_hh(zero_tensor<R>(need_bias, {layer.width()})),
        h_0(new_tensor<R>(need_state ? Shape{layer.size().B, layer.size().H} : Shape{0})),
        c_0(new_tensor<R>(need_state && layer.cell() == kLstm ? Shape{layer.size().B, layer.size().H} : Shape{0})) {}

 private:
  // Without a segment nothing writes it.
  static Tensor matrix(const Layer<T>& layer, bool wanted, int64_t columns) {
    const Shape shape{layer.width(), columns};
    return wanted && layer.size().T > 0 ? new_tensor<R>(shape) : zero_tensor<R>(wanted, shape);
  }
};

// Of `count` rows made from `inputs`: grad_input = grad_rows W_ih (null: not wanted), W_ih's and the biases' gradients.
// Columns are for_row_gradients' where the rows are gate gradients, else the rows' own.
template <class T, class Input>
void add_projection_gradients(const Layer<T>& layer, const MatrixRows<T>& inputs, int64_t count, const T* grad_rows,
                              bool of_gates, bool add_to_weights, Input* grad_input, LayerGradients<T>& grads) {
  const int64_t E = layer.input_size(), H = layer.size().H;
  const int64_t stride = of_gates ? gate_gradients_of(layer.cell()) * H : layer.width();
  const auto add = [&](int64_t from, int64_t to, int64_t columns) {
    MatmulArgs<T> p{};
    p.a = {grad_rows + from, stride, nullptr};
    p.N = E, p.c_stride = E;
    if (grad_input) {
      MatmulArgs<T> q = p;
      q.M = count, q.K = columns;
      q.b = {layer.weight_ih() + to * E, E, nullptr};
      write_to(q, grad_input), q.accumulate = to > 0;
      multiply(q, layer.split());
    }
    if (grads.weight_ih.dim() == 2) {
      p.M = columns, p.K = count;
      p.a_transposed = true;
      p.b = inputs;
      p.c = data<Real<T>>(grads.weight_ih) + to * E, p.accumulate = add_to_weights;
      multiply(p, layer.split());
    }
    if (grads.bias_ih.numel() > 0)
      add_rows(RowSumArgs<T>{grad_rows + from, stride, count, nullptr, data<Real<T>>(grads.bias_ih) + to, 0}, columns);
  };
  if (of_gates)
    for_row_gradients(layer.cell(), H, add);
  else
    add(0, 0, layer.width());
}

// As T: itself, or rounded into `rounded`.
template <class T>
const T* as_stored(const T* values, int64_t, T*) {
  return values;
}
inline const Bf16* as_stored(const float* values, int64_t count, Bf16* rounded) {
  kernels<Bf16>().narrow(values, count, rounded);
  return rounded;
}

// From the gradients of the distinct tokens' rows.
template <class T>
void add_embedding_gradients(const Layer<T>& layer, const Real<T>* grad_rows, int64_t padding_idx,
                             LayerGradients<T>& grads) {
  const int64_t E = layer.input_size(), *ids = layer.ids(), size = layer.rows() * layer.width();
  const bool need_input = grads.input.dim() == 2;
  const auto gathered = scratch<Real<T>>(need_input && ids ? layer.rows() * E : 0);
  const auto rounded = scratch<T>(std::is_same_v<T, Real<T>> ? 0 : size);
  Real<T>* table = need_input ? data<Real<T>>(grads.input) : nullptr;
  add_projection_gradients(layer, layer.inputs(), layer.rows(), as_stored(grad_rows, size, rounded.get()), false, false,
                           ids ? gathered.get() : table, grads);
  if (!need_input) return;
  for (int64_t r = 0; ids && r < layer.rows(); ++r) std::copy_n(gathered.get() + r * E, E, table + ids[r] * E);
  if (padding_idx >= 0) std::fill_n(table + padding_idx * E, E, Real<T>(0));
}

// The gates of one segment at a time, made again where none were saved.
template <class T>
class Gates {
 public:
  // `cells`: all of them beside saved gates, else those before every segment but the first.
  Gates(const Layer<T>& layer, T* saved_gates, const Real<T>* cells, int64_t segment)
      : layer_(layer), saved_gates_(saved_gates), cells_(cells), segment_(segment) {
    const auto [T_, B, H, G] = layer.size();
    if (saved_gates_ || saved_gates_of(layer.cell()) == 0) return;
    const int64_t places = std::min(segment, T_) * B;
    packed_ = packed_forward(layer.kernels(), layer.cell(), H, layer.weight_hh());
    made_gates_ = scratch<T>(places * saved_gates_of(layer.cell()) * H);
    made_cells_ = scratch<Real<T>>(layer.cell() == kLstm ? places * H : 0);
    made_output_ = scratch<T>(places * H);
    if (!layer.reads_tokens()) return;
    rows_ = scratch<T>(layer.rows() * layer.width());
    layer.project(0, layer.rows(), rows_.get(), layer.width());
  }

  // Points the arguments of the segment that starts at `begin` at its gates and cells; returns where the gates stand.
  T* provide(BackwardArgs<T>& args, int64_t begin) {
    const int64_t at = begin * args.B, saved = saved_gates_of(args.cell) * args.H;
    if (saved == 0) return nullptr;
    if (saved_gates_) {
      args.gates = saved_gates_ + at * saved, args.cells = cells_ + at * args.H;
      return saved_gates_ + at * saved;
    }
    if (begin > 0 && args.cell == kLstm) args.c_0 = cells_ + (begin / segment_ - 1) * args.B * args.H;
    ForwardArgs<T> again{};
    static_cast<RecurrenceArgs<T>&>(again) = args;
    again.packed_hh = packed_.get();
    again.output = made_output_.get(), again.gates = made_gates_.get(), again.cells = made_cells_.get();
    again.rows = rows_.get();
    if (!layer_.reads_tokens()) {
      layer_.project(at, args.T_ * args.B, again.gates, saved);
      again.rows = again.gates, again.row_stride = saved;
    }
    run_lanes(layer_.kernels(), layer_.kernels().recurrence_forward, again);
    args.gates = again.gates, args.cells = again.cells;
    return again.gates;
  }

 private:
  const Layer<T>& layer_;
  T* saved_gates_;
  const Real<T>* cells_;
  int64_t segment_;
  std::unique_ptr<T, Free> packed_, made_gates_, made_output_, rows_;
  std::unique_ptr<Real<T>, Free> made_cells_;
};

template <class T>
using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// `gates` are overwritten by their gradients.
template <class T>
Gradients<T> backward(const Layer<T>& layer, const OptionalTensor& grad_output, const OptionalTensor& grad_h_n,
                      const OptionalTensor& grad_c_n, const Tensor& output, const OptionalTensor& gates,
                      const Tensor& cells, int64_t every, int64_t padding_idx, LayerGradients<T> grads) {
  using R = Real<T>;
  const auto [T_, B, H, G] = layer.size();
  const int64_t cell = layer.cell(), saved = saved_gates_of(cell) * H, width = gate_gradients_of(cell) * H;
  const bool lstm = cell == kLstm, save_all = saved > 0 && gates, need_state = grads.h_0.dim() == 2;
  const int64_t segment = every > 1 ? every : std::max<int64_t>(T_, 1);
  STD_TORCH_CHECK(every >= 1, "every: got ", every, ", want 1 or more");
  STD_TORCH_CHECK(!save_all || every == 1, "gates: got a tensor, want none where every is ", every);
  STD_TORCH_CHECK(padding_idx < layer.vocabulary() || !layer.reads_tokens(), "padding_idx: got ", padding_idx);
  const Shape step{T_, B, H}, lane{B, H};
  const Argument<T> held_output("output", output, step), held_grad_output("grad_output", grad_output, step);
  const Argument<R> held_grad_h_n = computed_argument<T>("grad_h_n", grad_h_n, lane),
                    held_grad_c_n = computed_argument<T>("grad_c_n", grad_c_n, lane);
  if (save_all) {
    const Argument<T> held("gates", gates, {T_, B, saved});
    STD_TORCH_CHECK(gates->is_contiguous(), "gates: want a contiguous tensor");
  }
  const int64_t cells_kept = save_all ? T_ : (std::max<int64_t>(T_, 1) - 1) / every;
  const Argument<R> held_cells("cells", lstm && (save_all || every > 1) ? OptionalTensor(cells) : std::nullopt,
                               {cells_kept, B, H});

  const auto packed = packed_backward(layer.kernels(), cell, H, layer.weight_hh());
  const auto carry = scratch<R>(B * H);
  const auto own_gradients = scratch<T>(saved > 0 ? 0 : std::min(segment, T_) * B * width);
  const auto grad_rows = scratch<R>(layer.reads_tokens() ? layer.rows() * layer.width() : 0);
  std::fill_n(grad_rows.get(), layer.reads_tokens() ? layer.rows() * layer.width() : 0, R(0));
  // What flows out of a segment's beginning flows into the one before; one place a lane serves both.
  const bool flows = need_state || T_ > segment;
  const auto flow = scratch<R>(flows && !need_state ? 2 * B * H : 0);
  R* flow_h = need_state ? data<R>(grads.h_0) : flow.get();
  R* flow_c = need_state ? data<R>(grads.c_0) : flow.get() + (flows ? B * H : 0);
  if (flows) copy_or_zero(held_grad_h_n.get(), B * H, flow_h);
  if (flows && lstm) copy_or_zero(held_grad_c_n.get(), B * H, flow_c);

  BackwardArgs<T> whole{};
  layer.describe(whole);
  whole.packed_backward = packed.get();
  whole.carry = carry.get();
  whole.grad_h_n = flows ? flow_h : held_grad_h_n.get();
  whole.grad_c_n = flows ? flow_c : held_grad_c_n.get();
  Gates<T> provider(layer, save_all ? data<T>(*gates) : nullptr, held_cells.get(), segment);
  for (int64_t begin = T_ > 0 ? (T_ - 1) / segment * segment : -1; begin >= 0; begin -= segment) {
    const int64_t steps = std::min(segment, T_ - begin), at = begin * B;
    const bool later = begin + steps < T_;  // not the first that is come to
    const auto lengths = lengths_within(whole.lengths, B, begin, steps);
    BackwardArgs<T> args = whole;
    narrow(args, held_output.get(), begin, steps, lengths);
    T* made = provider.provide(args, begin);
    args.output = held_output.get() + at * H;
    args.grad_output = grad_output ? held_grad_output.get() + at * H : nullptr;
    args.grad_gates = made ? made : own_gradients.get();
    if (need_state || begin > 0) args.grad_h_0 = flow_h, args.grad_c_0 = flow_c;
    run_lanes(layer.kernels(), layer.kernels().recurrence_backward, args);

    if (grads.weight_hh.dim() == 2) add_weight_gradient(args, layer.split(), later, data<R>(grads.weight_hh));
    if (grads.bias_hh.numel() > 0 && cell == kGru) add_bias_hn_gradient(args, data<R>(grads.bias_hh) + 2 * H);
    if (layer.reads_tokens())
      add_row_gradients(cell, H, args.grad_gates, steps * B, args.row_index, grad_rows.get());
    else
      add_projection_gradients(layer, layer.inputs(at), steps * B, args.grad_gates, true, later,
                               grads.input.dim() == 3 ? data<T>(grads.input) + at * layer.input_size() : nullptr,
                               grads);
  }
  if (layer.reads_tokens()) add_embedding_gradients(layer, grad_rows.get(), padding_idx, grads);
  // b_hh stands beside b_ih, but for the GRU's third gate, whose gradient is there already.
  const int64_t joined = grads.bias_ih.numel() > 0 ? (cell == kGru ? 2 * H : G * H) : 0;
  std::copy_n(data<R>(grads.bias_ih), joined, data<R>(grads.bias_hh));
  return {grads.input, grads.weight_ih, grads.weight_hh, grads.bias_ih, grads.bias_hh, grads.h_0, grads.c_0};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> forward_of_any_dtype(
    const Tensor& input, const OptionalTensor& embedding, const Tensor& weight_ih, const Tensor& weight_hh,
    const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, const OptionalTensor& h_0, const OptionalTensor& c_0,
    const OptionalTensor& reset, const OptionalTensor& lengths, int64_t cell, int64_t every, bool split) {
  return with_any_dtype("weight_ih", weight_ih, [&](auto zero) {
    const Layer<decltype(zero)> layer(input, embedding, weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0, reset,
                                      lengths, cell, split);
    return forward(layer, every);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> backward_of_any_dtype(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const OptionalTensor& grad_c_n,
    const Tensor& input, const OptionalTensor& embedding, const Tensor& weight_ih, const Tensor& weight_hh,
    const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, const OptionalTensor& h_0, const OptionalTensor& c_0,
    const OptionalTensor& reset, const OptionalTensor& lengths, const Tensor& output, const OptionalTensor& gates,
    const Tensor& cells, int64_t cell, int64_t every, int64_t padding_idx, bool need_input, bool need_weight_ih,
    bool need_weight_hh, bool need_bias, bool need_state, bool split) {
  return with_any_dtype("weight_ih", weight_ih, [&](auto zero) {
    const Layer<decltype(zero)> layer(input, embedding, weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0, reset,
                                      lengths, cell, split);
    LayerGradients<decltype(zero)> grads(layer, need_input, need_weight_ih, need_weight_hh, need_bias, need_state);
    return backward(layer, grad_output, grad_h_n, grad_c_n, output, gates, cells, every, padding_idx, grads);
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "recurrent_layer_forward(Tensor input, Tensor? embedding, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, "
      "Tensor? bias_hh, Tensor? h_0, Tensor? c_0, Tensor? reset, Tensor? lengths, int cell, int every, "
      "bool split=False) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "recurrent_layer_backward(Tensor? grad_output, Tensor? grad_h_n, Tensor? grad_c_n, Tensor input, "
      "Tensor? embedding, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor? h_0, "
      "Tensor? c_0, Tensor? reset, Tensor? lengths, Tensor output, Tensor(a!)? gates, Tensor cells, int cell, "
      "int every, int padding_idx, bool need_input, bool need_weight_ih, bool need_weight_hh, bool need_bias, "
      "bool need_state, bool split=False) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) {
  m.impl("recurrent_layer_forward", TORCH_BOX(&pyagent::forward_of_any_dtype));
  m.impl("recurrent_layer_backward", TORCH_BOX(&pyagent::backward_of_any_dtype));
}

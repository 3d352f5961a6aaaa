#include "recurrence_step.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>

#include "core/dispatch.h"
#include "tensors.h"

namespace pyagent {

namespace {

template <class T>
int64_t packed_size(int64_t cell, int64_t I, int64_t H) {
  return kernels<T>().step_packed_size(cell, I, H);
}

}  // namespace

bool Step::has_cell_state() const { return arguments_.cell == kLstm; }

const char* Step::prepare() {
  const StepArguments& a = arguments_;
  if (a.cell < 0 || a.cell >= kNumCells) return "cell: want 0 to 3";
  if (a.hidden_size < 1 || a.hidden_size > kMostUnits) return "hidden_size: want 1 to 2**24";
  if (a.num_weights < 1) return "layers: got none";
  dtype_ = a.weights[0].dtype;
  if (dtype_ != ScalarType::Float && dtype_ != ScalarType::Double) return "layers: want float32 or float64";
  const TensorView& from = a.table ? *a.table : *a.input;
  if (from.dim != 2 || from.dtype != dtype_ || !from.is_contiguous())
    return a.table ? "table: want [V, width] of the weights' dtype" : "input: want [B, width] of the weights' dtype";
  if (a.table && (a.input->dim != 1 || (a.input->dtype != ScalarType::Long && a.input->dtype != ScalarType::Int)))
    return "input: want int32 or int64 tokens [B]";
  lanes_ = a.input->sizes[0], width_ = from.sizes[1];
  if (width_ > 4 * kMostUnits || (a.projected && width_ != gates_of(a.cell) * a.hidden_size))
    return a.table ? "table: unexpected width" : "input: unexpected width";
  const char* complaint = check_weights();
  if (!complaint) complaint = check_state();
  return complaint ? complaint : find_rows();
}

const char* Step::check_weights() {
  const StepArguments& a = arguments_;
  const bool bias = !a.packed && a.num_weights > 2 && a.weights[2].dim == 1;
  tensors_a_layer_ = a.packed ? 1 : bias ? 4 : 2;
  if (a.num_weights % tensors_a_layer_ != 0) return "layers: unexpected number";
  layers_ = a.num_weights / tensors_a_layer_;
  const int64_t H = a.hidden_size, GH = gates_of(a.cell) * H;
  for (int64_t layer = 0; layer < layers_; ++layer) {
    const TensorView* weight = a.weights + layer * tensors_a_layer_;
    const bool projected = a.projected && layer == 0;
    const int64_t I = layer > 0 ? H : projected ? 0 : width_;
    if (a.packed) {
      const int64_t size = is_double() ? packed_size<double>(a.cell, I, H) : packed_size<float>(a.cell, I, H);
      if (!weight[0].is(dtype_, {size})) return "layers: want what recurrence_step_pack made of these layers";
      continue;
    }
    if (!projected && !weight[0].is(dtype_, {GH, I})) return "layers: want weight_ih [G*H, I]";
    if (!weight[1].is(dtype_, {GH, H})) return "layers: want weight_hh [G*H, H]";
    if (bias && !(weight[2].is(dtype_, {GH}) && weight[3].is(dtype_, {GH}))) return "layers: want biases [G*H]";
  }
  return nullptr;
}

const char* Step::check_state() {
  const StepArguments& a = arguments_;
  const int64_t B = lanes_, H = a.hidden_size;
  int64_t elements;
  if (__builtin_mul_overflow(layers_ * H * static_cast<int64_t>(sizeof(double)), B, &elements))
    return "input: too many";
  if (a.h && !a.h->is(dtype_, {layers_, B, H})) return "h: want [L, B, H] of the weights' dtype";
  if (a.c && !has_cell_state()) return "c: got a tensor, want none but for LSTM";
  if (a.c && !a.c->is(dtype_, {layers_, B, H})) return "c: want [L, B, H] of the weights' dtype";
  if (!a.reset) return nullptr;
  reset_stride_ = a.reset->dim == 1 ? a.reset->strides[0] : 0;
  const bool fits = a.reset->dtype == ScalarType::Bool && a.reset->dim == 1 && a.reset->sizes[0] == B && a.reset->data;
  return fits || B == 0 ? nullptr : "reset: want bool [B]";
}

namespace {

// A pointer to the row of each token; false where one is outside the table.
template <class Token>
bool look_up(const TensorView& tokens, const TensorView& table, int64_t row_bytes, const void** rows) {
  const auto* token = static_cast<const Token*>(tokens.data);
  for (int64_t b = 0; b < tokens.sizes[0]; ++b) {
    const int64_t id = token[b * tokens.strides[0]];
    if (id < 0 || id >= table.sizes[0]) return false;
    rows[b] = static_cast<const char*>(table.data) + id * row_bytes;
  }
  return true;
}

}  // namespace

const char* Step::find_rows() {
  const StepArguments& a = arguments_;
  const int64_t row_bytes = width_ * static_cast<int64_t>(is_double() ? sizeof(double) : sizeof(float));
  rows_ = scratch<const void*>(3 * lanes_);
  if (!a.table) {
    for (int64_t b = 0; b < lanes_; ++b) rows_.get()[b] = static_cast<const char*>(a.input->data) + b * row_bytes;
    return nullptr;
  }
  if (lanes_ > 0 && !a.input->data) return "input: want tokens in memory";
  const bool found = a.input->dtype == ScalarType::Long ? look_up<int64_t>(*a.input, *a.table, row_bytes, rows_.get())
                                                        : look_up<int32_t>(*a.input, *a.table, row_bytes, rows_.get());
  return found ? nullptr : "input: a token outside the table";
}

void Step::run(void* output, void* h_n, void* c_n) const {
  if (is_double())
    run(static_cast<double*>(output), static_cast<double*>(h_n), static_cast<double*>(c_n));
  else
    run(static_cast<float*>(output), static_cast<float*>(h_n), static_cast<float*>(c_n));
}

template <class T>
void Step::run(T* output, T* h_n, T* c_n) const {
  const StepArguments& a = arguments_;
  const int64_t B = lanes_, H = a.hidden_size, G = gates_of(a.cell);
  const auto** x = reinterpret_cast<const T**>(rows_.get());
  const T **h_prev = x + B, **c_prev = h_prev + B;
  const auto* h = a.h ? static_cast<const T*>(a.h->data) : nullptr;
  const auto* c = a.c ? static_cast<const T*>(a.c->data) : nullptr;
  const auto* reset = a.reset ? static_cast<const bool*>(a.reset->data) : nullptr;
  const auto zeros = scratch<T>(h && (c || a.cell != kLstm) && !reset ? 0 : H);
  if (zeros) std::fill_n(zeros.get(), H, T(0));

  for (int64_t layer = 0; layer < layers_; ++layer) {
    const int64_t start = layer * B * H;
    for (int64_t b = 0; b < B; ++b) {
      const bool fresh = reset && reset[b * reset_stride_];
      h_prev[b] = h && !fresh ? h + start + b * H : zeros.get();
      c_prev[b] = c && !fresh ? c + start + b * H : zeros.get();
      if (layer > 0) x[b] = h_n + start - (B - b) * H;
    }
    StepArgs<T> args{};
    args.cell = a.cell, args.B = B, args.H = H;
    args.projected = a.projected && layer == 0;
    args.I = layer > 0 ? H : args.projected ? 0 : width_;
    args.x = x, args.h_prev = h_prev, args.c_prev = c_prev;
    args.h = h_n + start, args.c = c_n + (a.cell == kLstm ? start : 0);
    args.output = layer == layers_ - 1 ? output : nullptr;
    const TensorView* weight = a.weights + layer * tensors_a_layer_;
    const auto data = [&](int64_t i) { return static_cast<const T*>(weight[i].data); };
    if (a.packed) {
      args.packed = data(0);
    } else {
      args.weight_ih = data(0), args.weight_hh = data(1);
      if (tensors_a_layer_ == 4) args.bias_ih = data(2), args.bias_hh = data(3);
    }
    parallel_over(kernels<T>().step_parts(args), 2 * B * G * H * (H + args.I + 16),
                  [&](int64_t begin, int64_t end) { kernels<T>().step(args, begin, end); });
  }
}

namespace {

// A tensor as the step reads it, held while it does.
class Held {
 public:
  Held(const char* name, const Tensor& tensor) : tensor_(tensor) {
    STD_TORCH_CHECK(tensor.is_cpu(), name, ": want a CPU tensor");
    if (!tensor_.is_contiguous()) tensor_ = torch::stable::contiguous(tensor_);
    view_ = {tensor_.data_ptr(), tensor_.dim(), tensor_.sizes().data(), tensor_.strides().data(),
             tensor_.scalar_type()};
  }
  const TensorView& view() const { return view_; }

 private:
  Tensor tensor_;
  TensorView view_;
};

// A traced graph passes an undefined tensor for None.
std::optional<Held> held(const char* name, const OptionalTensor& tensor) {
  return tensor && tensor->defined() ? std::optional<Held>(std::in_place, name, *tensor) : std::nullopt;
}

const TensorView* view(const std::optional<Held>& tensor) { return tensor ? &tensor->view() : nullptr; }

std::tuple<Tensor, Tensor, Tensor> step(const Tensor& input, const OptionalTensor& h, const OptionalTensor& c,
                                        const OptionalTensor& reset, const OptionalTensor& table,
                                        const std::vector<Tensor>& layers, int64_t cell, int64_t hidden_size,
                                        bool projected, bool packed) {
  const Held held_input("input", input);
  const auto held_table = held("table", table), held_h = held("h", h), held_c = held("c", c),
             held_reset = held("reset", reset);
  std::vector<Held> held_layers;
  std::vector<TensorView> views;
  for (const Tensor& weight : layers) views.push_back(held_layers.emplace_back("layers", weight).view());
  Step step({&held_input.view(), view(held_h), view(held_c), view(held_reset), view(held_table), views.data(),
             static_cast<int64_t>(views.size()), cell, hidden_size, projected, packed});
  const char* complaint = step.prepare();
  STD_TORCH_CHECK(!complaint, complaint);
  const auto run = [&](auto zero) -> std::tuple<Tensor, Tensor, Tensor> {
    using T = decltype(zero);
    const int64_t L = step.layers(), B = step.lanes(), H = step.units();
    Tensor output = new_tensor<T>({B, H}), h_n = new_tensor<T>({L, B, H});
    Tensor c_n = step.has_cell_state() ? new_tensor<T>({L, B, H}) : new_tensor<T>({0});
    step.run(output.data_ptr(), h_n.data_ptr(), c_n.data_ptr());
    return {output, h_n, c_n};
  };
  return step.dtype() == ScalarType::Double ? run(double{}) : run(float{});
}

template <class T>
Tensor pack(const OptionalTensor& weight_ih, const Tensor& weight_hh, const OptionalTensor& bias_ih,
            const OptionalTensor& bias_hh, int64_t cell) {
  STD_TORCH_CHECK(cell >= 0 && cell < kNumCells, "cell: got ", cell, ", want 0 to ", kNumCells - 1);
  STD_TORCH_CHECK(weight_hh.dim() == 2, "weight_hh: got ", weight_hh.dim(), " dimensions, want 2");
  STD_TORCH_CHECK(!weight_ih || weight_ih->dim() == 2, "weight_ih: got ", weight_ih->dim(), " dimensions, want 2");
  StepArgs<T> args{};
  args.cell = cell, args.H = weight_hh.size(1), args.I = weight_ih ? weight_ih->size(1) : 0;
  const int64_t GH = gates_of(cell) * args.H;
  STD_TORCH_CHECK(args.H <= kMostUnits && args.I <= kMostUnits, "layers: got ", args.I, " inputs of ", args.H,
                  " units, want ", kMostUnits, " at most");
  const Argument<T> held_ih("weight_ih", weight_ih, {GH, args.I}), held_hh("weight_hh", weight_hh, {GH, args.H}),
      held_bias_ih("bias_ih", bias_ih, {GH}), held_bias_hh("bias_hh", bias_hh, {GH});
  args.weight_ih = held_ih.get(), args.weight_hh = held_hh.get();
  args.bias_ih = held_bias_ih.get(), args.bias_hh = held_bias_hh.get();
  Tensor packed = new_tensor<T>({packed_size<T>(cell, args.I, args.H)});
  kernels<T>().step_pack(args, data<T>(packed));
  return packed;
}

Tensor pack_of_any_dtype(const OptionalTensor& weight_ih, const Tensor& weight_hh, const OptionalTensor& bias_ih,
                         const OptionalTensor& bias_hh, int64_t cell) {
  return with_dtype("weight_hh", weight_hh,
                    [&](auto zero) { return pack<decltype(zero)>(weight_ih, weight_hh, bias_ih, bias_hh, cell); });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "recurrence_step_pack(Tensor? weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? bias_hh, int cell) "
      "-> Tensor");
  m.def(
      "recurrence_step(Tensor input, Tensor? h, Tensor? c, Tensor? reset, Tensor? table, Tensor[] layers, int cell, "
      "int hidden_size, bool projected, bool packed) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) {
  m.impl("recurrence_step_pack", TORCH_BOX(&pyagent::pack_of_any_dtype));
  m.impl("recurrence_step", TORCH_BOX(&pyagent::step));
}

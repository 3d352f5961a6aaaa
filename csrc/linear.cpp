// torch ops of the linear map, and of several with tanh between (pyagent/ops/linear.py and tanh_layers.py have the
// maths and the shapes), split over output rows only. With `split`, operands of float32 are multiplied as sums of two
// Bf16, where the target has a kernel for that.
#include <torch/csrc/stable/library.h>

#include <tuple>
#include <vector>

#include "core/dispatch.h"
#include "multiply.h"
#include "parallel.h"
#include "tensors.h"

namespace pyagent {
namespace {

void check_matrix(const char* name, const Tensor& tensor) {
  STD_TORCH_CHECK(tensor.dim() == 2, name, ": got ", tensor.dim(), " dimensions, want 2");
}

// A small product takes longer to split than to compute.
template <class T>
void multiply_large_split(const MatmulArgs<T>& p, bool split) {
  multiply(p, split && p.M >= 32 && p.N >= 32);
}

// What an element of tanh or of its gradient is taken to cost, in floating-point operations.
constexpr int64_t kTanhFlops = 32;

template <class T>
Tensor forward(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, bool tanh, bool split) {
  check_matrix("input", input), check_matrix("weight", weight);
  const int64_t M = input.size(0), N = weight.size(0), K = input.size(1);
  const Argument<T> a("input", input, {M, K}), b("weight", weight, {N, K});
  const Argument<Real<T>> held_bias = computed_argument<T>("bias", bias, {N});
  Tensor output = new_tensor<T>({M, N});
  MatmulArgs<T> p{};
  p.M = M, p.N = N, p.K = K;
  p.a = {a.get(), K, nullptr};
  p.b = {b.get(), K, nullptr}, p.b_transposed = true;
  p.bias = held_bias.get();
  write_to(p, data<T>(output)), p.c_stride = N;
  multiply_large_split(p, split);
  if (tanh)
    parallel_over(M * N, kTanhFlops * M * N,
                  [&](int64_t begin, int64_t end) { kernels<T>().tanh(data<T>(output) + begin, end - begin); });
  return output;
}

// The gradient before the tanh.
template <class T>
Tensor before_tanh(const Tensor& grad, const Tensor& tanh, int64_t M, int64_t N) {
  const Argument<T> g("grad", grad, {M, N}), y("hidden", tanh, {M, N});
  Tensor before = new_tensor<T>({M, N});
  parallel_over(M * N, kTanhFlops * M * N, [&](int64_t begin, int64_t end) {
    kernels<T>().tanh_gradient(g.get() + begin, y.get() + begin, end - begin, data<T>(before) + begin);
  });
  return before;
}

template <class T>
std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                            const OptionalTensor& tanh, bool need_input, bool need_weight,
                                            bool need_bias, bool split) {
  check_matrix("input", input), check_matrix("weight", weight);
  const int64_t M = input.size(0), N = weight.size(0), K = input.size(1);
  const Argument<T> g("grad", tanh ? before_tanh<T>(grad, *tanh, M, N) : grad, {M, N});
  const Argument<T> x("input", input, {M, K}), w("weight", weight, {N, K});
  Tensor grad_input = need_input ? new_tensor<T>({M, K}) : new_tensor<T>({0});
  Tensor grad_weight = need_weight ? new_tensor<T>({N, K}) : new_tensor<T>({0});
  Tensor grad_bias = zero_tensor<Real<T>>(need_bias, {N});
  MatmulArgs<T> p{};
  p.N = K, p.c_stride = K;
  if (need_input) {
    p.M = M, p.K = N;
    p.a = {g.get(), N, nullptr};
    p.b = {w.get(), K, nullptr};
    write_to(p, data<T>(grad_input));
    multiply_large_split(p, split);
  }
  if (need_weight) {
    p.M = N, p.K = M;
    p.a = {g.get(), N, nullptr}, p.a_transposed = true;
    p.b = {x.get(), K, nullptr};
    write_to(p, data<T>(grad_weight));
    multiply_large_split(p, split);
  }
  if (need_bias) add_rows(RowSumArgs<T>{g.get(), N, M, nullptr, data<Real<T>>(grad_bias), 0}, N);
  return {grad_input, grad_weight, grad_bias};
}

using Tensors = std::vector<Tensor>;

// Of every layer; all but the last end in tanh.
template <class T>
Tensors layers_forward(const Tensor& input, const Tensors& weights, const Tensors& biases, bool split) {
  Tensors outputs;
  for (size_t i = 0; i < weights.size(); ++i)
    outputs.push_back(forward<T>(i > 0 ? outputs[i - 1] : input, weights[i], biases[i], i + 1 < weights.size(), split));
  return outputs;
}

template <class T>
std::tuple<Tensor, Tensors, Tensors> layers_backward(const Tensor& grad, const Tensor& input, const Tensors& weights,
                                                     const Tensors& hidden, bool need_input, bool split) {
  Tensors grad_weights(weights), grad_biases(weights);
  Tensor flow = grad;
  for (size_t i = weights.size(); i-- > 0;) {
    const OptionalTensor output = i < hidden.size() ? OptionalTensor(hidden[i]) : std::nullopt;
    std::tie(flow, grad_weights[i], grad_biases[i]) =
        backward<T>(flow, i > 0 ? hidden[i - 1] : input, weights[i], output, i > 0 || need_input, true, true, split);
  }
  return {flow, grad_weights, grad_biases};
}

Tensor forward_of_any_dtype(const Tensor& input, const Tensor& weight, const OptionalTensor& bias, bool split) {
  return with_any_dtype("input", input,
                        [&](auto zero) { return forward<decltype(zero)>(input, weight, bias, false, split); });
}

std::tuple<Tensor, Tensor, Tensor> backward_of_any_dtype(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                                         bool need_input, bool need_weight, bool need_bias,
                                                         bool split) {
  return with_any_dtype("input", input, [&](auto zero) {
    return backward<decltype(zero)>(grad, input, weight, std::nullopt, need_input, need_weight, need_bias, split);
  });
}

Tensors layers_forward_of_any_dtype(const Tensor& input, Tensors weights, Tensors biases, bool split) {
  STD_TORCH_CHECK(!weights.empty(), "weights: got none, want one or more");
  STD_TORCH_CHECK(weights.size() == biases.size(), "biases: got ", biases.size(), ", want ", weights.size());
  return with_any_dtype("input", input,
                        [&](auto zero) { return layers_forward<decltype(zero)>(input, weights, biases, split); });
}

std::tuple<Tensor, Tensors, Tensors> layers_backward_of_any_dtype(const Tensor& grad, const Tensor& input,
                                                                  Tensors weights, Tensors hidden, bool need_input,
                                                                  bool split) {
  STD_TORCH_CHECK(weights.size() == hidden.size() + 1, "hidden: got ", hidden.size(), ", want one less than weights");
  return with_any_dtype("input", input, [&](auto zero) {
    return layers_backward<decltype(zero)>(grad, input, weights, hidden, need_input, split);
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def("linear_forward(Tensor input, Tensor weight, Tensor? bias, bool split=False) -> Tensor");
  m.def(
      "linear_backward(Tensor grad, Tensor input, Tensor weight, bool need_input, bool need_weight, bool need_bias, "
      "bool split=False) -> (Tensor, Tensor, Tensor)");
  m.def("tanh_layers_forward(Tensor input, Tensor[] weights, Tensor[] biases, bool split=False) -> Tensor[]");
  m.def(
      "tanh_layers_backward(Tensor grad, Tensor input, Tensor[] weights, Tensor[] hidden, bool need_input, "
      "bool split=False) -> (Tensor, Tensor[], Tensor[])");
}

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) {
  m.impl("linear_forward", TORCH_BOX(&pyagent::forward_of_any_dtype));
  m.impl("linear_backward", TORCH_BOX(&pyagent::backward_of_any_dtype));
  m.impl("tanh_layers_forward", TORCH_BOX(&pyagent::layers_forward_of_any_dtype));
  m.impl("tanh_layers_backward", TORCH_BOX(&pyagent::layers_backward_of_any_dtype));
}

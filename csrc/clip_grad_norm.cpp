// torch op that bounds the norm of a gradient (pyagent/ops/clip_grad_norm.py has the maths). Its vectors are of 16
// bytes on every processor: what it waits for is memory.
#include <torch/csrc/stable/library.h>

#include <cmath>
#include <vector>

#define PYAGENT_VECTOR_BYTES 16
#include "core/simd.h"
#include "parallel.h"
#include "tensors.h"

namespace pyagent {
namespace {

// So few that sums of them in the numbers' own type are as good as their squares.
constexpr int64_t kBlock = 2048;

template <class T>
double sum_of_squares(const T* x, int64_t count) {
  constexpr int64_t W = Simd<T>::kWidth;
  Vec<T> sum[4] = {};
  int64_t i = 0;
  for (; i + 4 * W <= count; i += 4 * W)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const Vec<T> v = load(x + i + k * W);
      sum[k] += v * v;
    }
  double rest = 0;
  for (; i < count; ++i) rest += static_cast<double>(x[i]) * x[i];
  return rest + sum_lanes<T>((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// Sums of blocks, added in order, whatever threads make them.
template <class T>
double sum_of_squares_in_blocks(const T* x, int64_t count) {
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<double> sums(static_cast<size_t>(blocks));
  parallel_over(blocks, 2 * count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      sums[i] = sum_of_squares(x + i * kBlock, i + 1 < blocks ? kBlock : count - i * kBlock);
  });
  double all = 0;
  for (const double sum : sums) all += sum;
  return all;
}

template <class T>
double clip(const std::vector<Tensor>& grads, double max_norm) {
  double squares = 0;
  for (const Tensor& grad : grads) {
    STD_TORCH_CHECK(grad.is_cpu() && grad.scalar_type() == scalar_type_of<T>() && grad.is_contiguous(),
                    "grads: want contiguous CPU tensors of one dtype");
    squares += sum_of_squares_in_blocks(data<const T>(grad), grad.numel());
  }
  const double norm = std::sqrt(squares);
  if (!(norm > max_norm)) return norm;
  const T factor = static_cast<T>(max_norm / norm);
  for (const Tensor& grad : grads) {
    T* x = data<T>(grad);
    parallel_over(grad.numel(), grad.numel(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) x[i] *= factor;
    });
  }
  return norm;
}

Tensor clip_grad_norm(std::vector<Tensor> grads, double max_norm) {
  Tensor norm = new_tensor<double>({});
  *data<double>(norm) =
      with_dtype("grads", grads.at(0), [&](auto zero) { return clip<decltype(zero)>(grads, max_norm); });
  return norm;
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) { m.def("clip_grad_norm(Tensor(a!)[] grads, float max_norm) -> Tensor"); }

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("clip_grad_norm", TORCH_BOX(&pyagent::clip_grad_norm)); }

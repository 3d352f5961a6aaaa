// torch ops of the language-model head (pyagent/ops/linear_cross_entropy.py has the maths and the shapes).
//
// Counted rows are taken a chunk at a time. A chunk's logits lie class by class, [V, rows of the chunk], so that
// W Xᵀ, the gradient of W and that of X are matrix products whose operands are read nearly as they lie; they become
// exponentials, then gradients in place. Work is split over blocks of classes and over rows, never over a sum.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "core/dispatch.h"
#include "multiply.h"
#include "parallel.h"
#include "tensors.h"

namespace pyagent {
namespace {

enum Reduction : int64_t { kNone = 0, kMean = 1, kSum = 2 };

// Logits of a chunk are 9.4 % of those of 2048 rows. Classes of a block are few enough for its logits to stay in
// the second-level cache, and many enough for what a block packs to be small beside its products.
constexpr int64_t kChunkRows = 192;
constexpr int64_t kBlockClasses = 512;
// So that no size computed from V overflows.
constexpr int64_t kMostClasses = int64_t{1} << 31;

template <class T>
class LinearCrossEntropy {
 public:
  LinearCrossEntropy(const Tensor& input, const Tensor& weight, const Tensor& target, const OptionalTensor& bias,
                     int64_t ignore_index, bool need_input, bool need_weight, bool need_bias)
      : N_(rows_of("input", input)),
        V_(rows_of("linear_weight", weight)),
        H_(input.size(1)),
        input_("input", input, {N_, H_}),
        weight_("linear_weight", weight, {V_, H_}),
        bias_("linear_bias", bias, {V_}),
        target_("target", target, {N_}),
        need_input_(need_input),
        need_weight_(need_weight),
        need_bias_(need_bias && bias_.get()) {
    STD_TORCH_CHECK(V_ <= kMostClasses, "linear_weight: got ", V_, " classes, want at most ", kMostClasses);
    for (int64_t n = 0; n < N_; ++n)
      if (target_.get()[n] != ignore_index) counted_.push_back(n);
    for (const int64_t n : counted_) check_range("target", target_.get() + n, 1, 0, V_ - 1);
  }

  int64_t rows() const { return N_; }
  int64_t counted() const { return static_cast<int64_t>(counted_.size()); }

  // loss [N] unless null, 0 where ignored; and the gradients of sum_n grad_loss[n * grad_stride] * loss[n].
  std::tuple<Tensor, Tensor, Tensor> run(T* loss, const T* grad_loss, int64_t grad_stride) {
    const bool needed = need_input_ || need_weight_ || need_bias_;
    Tensor grad_input = need_input_ ? new_tensor<T>({N_, H_}) : new_tensor<T>({0});
    Tensor grad_weight = need_weight_ ? new_tensor<T>({V_, H_}) : new_tensor<T>({0});
    Tensor grad_bias = need_bias_ ? new_tensor<T>({V_}) : new_tensor<T>({0});
    if (loss) std::fill_n(loss, N_, T(0));
    std::fill_n(data<T>(grad_bias), grad_bias.numel(), T(0));
    if (counted() == 0) std::fill_n(data<T>(grad_weight), grad_weight.numel(), T(0));

    const int64_t chunks = (counted() + kChunkRows - 1) / kChunkRows, most = std::min(counted(), kChunkRows);
    const auto logits = scratch<T>(most * (needed ? V_ : 0));
    const auto block_largest = scratch<T>(most * blocks()), block_sum = scratch<T>(most * blocks());
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      Chunk c;
      c.first = chunk * kChunkRows;
      c.rows = std::min(counted() - c.first, kChunkRows);
      c.logits = needed ? logits.get() : nullptr;
      c.block_largest = block_largest.get(), c.block_sum = block_sum.get();
      for (int64_t i = 0; i < c.rows; ++i) c.input.push_back(input_.get() + counted_[c.first + i] * H_);
      c.target_logit.resize(c.rows), c.largest.resize(c.rows), c.sum.resize(c.rows), c.grad_loss.resize(c.rows);
      exponentials(c);
      join_blocks(c);
      for (int64_t i = 0; i < c.rows; ++i) {
        const int64_t n = counted_[c.first + i];
        if (loss) loss[n] = c.largest[i] - c.target_logit[i] + std::log(c.sum[i]);
        if (needed) c.grad_loss[i] = grad_loss[n * grad_stride];
      }
      if (!needed) continue;
      gradients_of_classes(c, data<T>(grad_weight), data<T>(grad_bias));
      if (need_input_) gradient_of_input(c, data<T>(grad_input) + c.first * H_);
    }
    if (need_input_) spread_rows(data<T>(grad_input));
    return {grad_input, grad_weight, grad_bias};
  }

 private:
  struct Chunk {
    int64_t first, rows;           // among the counted rows
    T* logits;                     // [V, rows], or null where they are not kept
    T *block_largest, *block_sum;  // [blocks, rows]
    std::vector<const T*> input;   // a pointer to each row
    std::vector<T> target_logit, largest, sum, grad_loss;
  };

  static int64_t rows_of(const char* name, const Tensor& matrix) {
    STD_TORCH_CHECK(matrix.dim() == 2, name, ": got ", matrix.dim(), " dimensions, want 2");
    return matrix.size(0);
  }

  int64_t blocks() const { return (V_ + kBlockClasses - 1) / kBlockClasses; }
  int64_t product_flops(const Chunk& c) const { return 2 * c.rows * V_ * H_; }
  int64_t target_of(const Chunk& c, int64_t i) const { return target_.get()[counted_[c.first + i]]; }

  // f(block, first class, classes) over all blocks.
  template <class F>
  void for_blocks(const Chunk& c, const F& f) const {
    parallel_over(blocks(), product_flops(c) + 32 * c.rows * V_, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block)
        f(block, block * kBlockClasses, std::min(V_ - block * kBlockClasses, kBlockClasses));
    });
  }

  // Per block exp(logits - the block's largest), its sum, and the logit of the target.
  void exponentials(Chunk& c) const {
    for_blocks(c, [&](int64_t block, int64_t v, int64_t classes) {
      const auto own = scratch<T>(c.logits ? 0 : classes * c.rows);
      SoftmaxBlock<T> s{classes, c.rows, c.rows};
      s.values = c.logits ? c.logits + v * c.rows : own.get();
      s.bias = bias_.get() ? bias_.get() + v : nullptr;
      s.largest = c.block_largest + block * c.rows, s.sum = c.block_sum + block * c.rows;
      MatmulArgs<T> p{};
      p.M = V_, p.N = c.rows, p.K = H_;
      p.a = {weight_.get() + v * H_, H_, nullptr};
      p.b = {nullptr, 0, c.input.data()}, p.b_transposed = true;
      p.c = s.values, p.c_stride = c.rows;
      kernels<T>().matmul(p, 0, classes, scratch<char>(kernels<T>().matmul_scratch_bytes(p)).get());
      for (int64_t i = 0; i < c.rows; ++i) {
        const int64_t row = target_of(c, i) - v;
        if (row >= 0 && row < classes) c.target_logit[i] = s.values[row * c.rows + i] + (s.bias ? s.bias[row] : T(0));
      }
      kernels<T>().exponentiate(s);
    });
  }

  // What a block's exponentials must be multiplied by to be exp(logits - the largest of all).
  static T block_factor(T block_largest, T largest) { return std::exp(block_largest - largest); }

  void join_blocks(Chunk& c) const {
    for (int64_t i = 0; i < c.rows; ++i) {
      T largest = -std::numeric_limits<T>::infinity(), sum = 0;
      for (int64_t block = 0; block < blocks(); ++block)
        largest = std::max(largest, c.block_largest[block * c.rows + i]);
      for (int64_t block = 0; block < blocks(); ++block) {
        const int64_t at = block * c.rows + i;
        sum += c.block_sum[at] * block_factor(c.block_largest[at], largest);
      }
      c.largest[i] = largest, c.sum[i] = sum;
    }
  }

  // Logits become their gradient, grad_loss (softmax - one-hot); those of W and of the bias follow from it.
  void gradients_of_classes(const Chunk& c, T* grad_weight, T* grad_bias) const {
    for_blocks(c, [&](int64_t block, int64_t v, int64_t classes) {
      SoftmaxBlock<T> s{classes, c.rows, c.rows};
      s.values = c.logits + v * c.rows;
      std::vector<T> factor(static_cast<size_t>(c.rows));
      for (int64_t i = 0; i < c.rows; ++i)
        factor[i] = block_factor(c.block_largest[block * c.rows + i], c.largest[i]) / c.sum[i] * c.grad_loss[i];
      kernels<T>().scale_columns(s, factor.data(), need_bias_ ? grad_bias + v : nullptr);
      for (int64_t i = 0; i < c.rows; ++i) {
        const int64_t row = target_of(c, i) - v;
        if (row < 0 || row >= classes) continue;
        s.values[row * c.rows + i] -= c.grad_loss[i];
        if (need_bias_) grad_bias[v + row] -= c.grad_loss[i];
      }
      if (!need_weight_) return;
      MatmulArgs<T> p{};
      p.M = V_, p.N = H_, p.K = c.rows;
      p.a = {s.values, c.rows, nullptr};
      p.b = {nullptr, 0, c.input.data()};
      p.accumulate = c.first > 0;
      p.c = grad_weight + v * H_, p.c_stride = H_;
      kernels<T>().matmul(p, 0, classes, scratch<char>(kernels<T>().matmul_scratch_bytes(p)).get());
    });
  }

  void gradient_of_input(const Chunk& c, T* grad_input) const {
    MatmulArgs<T> p{};
    p.M = c.rows, p.N = H_, p.K = V_;
    p.a = {c.logits, c.rows, nullptr}, p.a_transposed = true;
    p.b = {weight_.get(), H_, nullptr};
    p.c = grad_input, p.c_stride = H_;
    multiply(p);
  }

  // From the counted rows, which lie in front, to all rows: zeros where ignored.
  void spread_rows(T* rows) const {
    int64_t next = counted();
    for (int64_t n = N_ - 1; n >= next; --n) {
      if (next > 0 && counted_[next - 1] == n) {
        --next;
        std::copy_n(rows + next * H_, H_, rows + n * H_);
      } else {
        std::fill_n(rows + n * H_, H_, T(0));
      }
    }
  }

  int64_t N_, V_, H_;
  Argument<T> input_, weight_, bias_;
  Argument<int64_t> target_;
  bool need_input_, need_weight_, need_bias_;
  std::vector<int64_t> counted_;  // rows whose target is not ignored
};

template <class T>
std::tuple<Tensor, Tensor, Tensor, Tensor> forward(const Tensor& input, const Tensor& weight, const Tensor& target,
                                                   const OptionalTensor& bias, int64_t ignore_index, int64_t reduction,
                                                   bool need_input, bool need_weight, bool need_bias) {
  STD_TORCH_CHECK(reduction >= kNone && reduction <= kSum, "reduction: got ", reduction, ", want 0 to 2");
  const bool reduced = reduction != kNone;
  LinearCrossEntropy<T> head(input, weight, target, bias, ignore_index, reduced && need_input, reduced && need_weight,
                             reduced && need_bias);
  Tensor losses = new_tensor<T>({head.rows()});
  const T scale = reduction == kMean ? T(1) / static_cast<T>(head.counted()) : T(1);
  auto [grad_input, grad_weight, grad_bias] = head.run(data<T>(losses), &scale, 0);
  if (!reduced) return {losses, grad_input, grad_weight, grad_bias};
  double sum = 0;
  for (int64_t n = 0; n < head.rows(); ++n) sum += data<T>(losses)[n];
  Tensor loss = new_tensor<T>({});
  *data<T>(loss) = static_cast<T>(reduction == kMean ? sum / static_cast<double>(head.counted()) : sum);
  return {loss, grad_input, grad_weight, grad_bias};
}

template <class T>
std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad_loss, const Tensor& input, const Tensor& weight,
                                            const Tensor& target, const OptionalTensor& bias, int64_t ignore_index,
                                            bool need_input, bool need_weight, bool need_bias) {
  LinearCrossEntropy<T> head(input, weight, target, bias, ignore_index, need_input, need_weight, need_bias);
  const Argument<T> held("grad_loss", grad_loss, {head.rows()});
  return head.run(nullptr, held.get(), 1);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> forward_of_any_dtype(const Tensor& input, const Tensor& weight,
                                                                const Tensor& target, const OptionalTensor& bias,
                                                                int64_t ignore_index, int64_t reduction,
                                                                bool need_input, bool need_weight, bool need_bias) {
  return with_dtype("input", input, [&](auto zero) {
    return forward<decltype(zero)>(input, weight, target, bias, ignore_index, reduction, need_input, need_weight,
                                   need_bias);
  });
}

std::tuple<Tensor, Tensor, Tensor> backward_of_any_dtype(const Tensor& grad_loss, const Tensor& input,
                                                         const Tensor& weight, const Tensor& target,
                                                         const OptionalTensor& bias, int64_t ignore_index,
                                                         bool need_input, bool need_weight, bool need_bias) {
  return with_dtype("input", input, [&](auto zero) {
    return backward<decltype(zero)>(grad_loss, input, weight, target, bias, ignore_index, need_input, need_weight,
                                    need_bias);
  });
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def(
      "linear_cross_entropy_forward(Tensor input, Tensor linear_weight, Tensor target, Tensor? linear_bias, "
      "int ignore_index, int reduction, bool need_input, bool need_weight, bool need_bias) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "linear_cross_entropy_backward(Tensor grad_loss, Tensor input, Tensor linear_weight, Tensor target, "
      "Tensor? linear_bias, int ignore_index, bool need_input, bool need_weight, bool need_bias) "
      "-> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) {
  m.impl("linear_cross_entropy_forward", TORCH_BOX(&pyagent::forward_of_any_dtype));
  m.impl("linear_cross_entropy_backward", TORCH_BOX(&pyagent::backward_of_any_dtype));
}

// A recurrent layer's arguments, checked, and its input projection.
#pragma once

#include <optional>
#include <vector>

#include "distinct_tokens.h"
#include "recurrence.h"

namespace pyagent {

// The layer's arguments, checked; `input` is dense [T, B, E], or tokens [T, B] with their embedding [V, E].
template <class T>
class Layer {
 public:
  Layer(const Tensor& input, const OptionalTensor& embedding, const Tensor& weight_ih, const Tensor& weight_hh,
        const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, const OptionalTensor& h_0,
        const OptionalTensor& c_0, const OptionalTensor& reset, const OptionalTensor& lengths, int64_t cell, bool split)
      : cell_(cell),
        split_(split),
        size_(sizes_of(input, embedding, weight_hh, cell)),
        E_(weight_ih.dim() == 2 ? weight_ih.size(1) : -1),
        sequence_(size_, weight_hh, h_0, c_0, reset, lengths),
        weight_ih_("weight_ih", weight_ih, {width(), E_}),
        bias_ih_(computed_argument<T>("bias_ih", bias_ih, {width()})),
        bias_hh_(computed_argument<T>("bias_hh", bias_hh, {width()})),
        bias_(scratch<Real<T>>(width())) {
    // Of the GRU, the third gate's b_hh stands inside its reset gate.
    const int64_t joined = cell == kGru ? 2 * size_.H : width();
    for (int64_t j = 0; j < width(); ++j)
      bias_.get()[j] = (bias_ih ? bias_ih_.get()[j] : 0) + (bias_hh && j < joined ? bias_hh_.get()[j] : 0);
    if (embedding) {
      V_ = embedding->dim() == 2 ? embedding->size(0) : -1;
      embedding_.emplace("embedding", *embedding, Shape{V_, E_});
      tokens_.emplace("input", input, Shape{size_.T, size_.B});
      find_rows();
    } else {
      dense_.emplace("input", input, Shape{size_.T, size_.B, E_});
    }
  }

  const Sizes& size() const { return size_; }
  int64_t cell() const { return cell_; }
  bool split() const { return split_; }
  const SequenceKernels<T>& kernels() const { return sequence_kernels<T>(split_); }
  int64_t width() const { return size_.G * size_.H; }
  int64_t input_size() const { return E_; }
  int64_t vocabulary() const { return V_; }
  bool reads_tokens() const { return tokens_.has_value(); }
  const T* weight_hh() const { return sequence_.weight_hh.get(); }
  const T* weight_ih() const { return weight_ih_.get(); }
  const int64_t* row_index() const { return row_index_; }
  // The rows are embeddings of these ids, R of them (null: of all); of a dense layer, its places.
  const int64_t* ids() const { return ids_.empty() ? nullptr : ids_.data(); }
  int64_t rows() const { return R_; }

  void describe(RecurrenceArgs<T>& args) const {
    sequence_.describe(args, cell_);
    args.row_index = row_index_;
    args.bias_hn = cell_ == kGru && bias_hh_.get() ? bias_hh_.get() + 2 * size_.H : nullptr;
  }

  // Embeddings of the distinct tokens, or the dense inputs from place `first` on.
  MatrixRows<T> inputs(int64_t first = 0) const {
    if (!reads_tokens()) return {dense_->get() + first * E_, E_, nullptr};
    return {embedding_->get(), E_, ids_.empty() ? nullptr : embeddings_.data()};
  }

  // Input pre-activations of `count` rows.
  void project(int64_t first, int64_t count, T* rows, int64_t stride) const {
    MatmulArgs<T> p{};
    p.M = count, p.N = width(), p.K = E_;
    p.a = inputs(first);
    p.b = {weight_ih_.get(), E_, nullptr}, p.b_transposed = true;
    p.bias = bias_.get();
    write_to(p, rows), p.c_stride = stride;
    multiply(p, split_);
  }

 private:
  static Sizes sizes_of(const Tensor& input, const OptionalTensor& embedding, const Tensor& weight_hh, int64_t cell) {
    check_cell(cell);
    const int64_t dim = embedding ? 2 : 3;
    STD_TORCH_CHECK(input.dim() == dim, "input: got ", input.dim(), " dimensions, want ", dim);
    STD_TORCH_CHECK(weight_hh.dim() == 2, "weight_hh: got ", weight_hh.dim(), " dimensions, want 2");
    check_units(weight_hh.size(1));
    return {input.size(0), input.size(1), weight_hh.size(1), gates_of(cell)};
  }

  void find_rows() {
    const int64_t count = size_.T * size_.B;
    const int64_t* token = tokens_->get();
    check_range("input", token, count, 0, V_ - 1);
    row_index_ = token;
    R_ = V_;
    // Where most of a small vocabulary occurs, looking for the absent costs more than projecting it too.
    if (2 * V_ <= count) return;
    ids_.resize(static_cast<size_t>(std::min(V_, count)));
    found_.resize(static_cast<size_t>(count));
    R_ = find_distinct(token, count, V_, ids_.data(), found_.data());
    ids_.resize(static_cast<size_t>(R_));
    row_index_ = found_.data();
    for (const int64_t id : ids_) embeddings_.push_back(embedding_->get() + id * E_);
  }

  int64_t cell_;
  bool split_;
  Sizes size_;
  int64_t E_, V_ = 0, R_ = 0;
  SequenceInputs<T> sequence_;
  Argument<T> weight_ih_;
  Argument<Real<T>> bias_ih_, bias_hh_;
  std::unique_ptr<Real<T>, Free> bias_;
  std::optional<Argument<T>> dense_, embedding_;
  std::optional<Argument<int64_t>> tokens_;
  const int64_t* row_index_ = nullptr;
  std::vector<int64_t> ids_, found_;
  std::vector<const T*> embeddings_;
};

}  // namespace pyagent

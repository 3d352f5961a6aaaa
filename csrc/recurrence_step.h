// One step of all layers (pyagent/ops/recurrence_step.py has the maths and the shapes), as both its doors see it: the
// dispatcher's op, and the Python function that plain tensors take.
#pragma once

#include <cstdint>
#include <memory>

#include "parallel.h"
#include "tensor_view.h"

namespace pyagent {

// The arguments; a null pointer is an absent one.
struct StepArguments {
  const TensorView *input, *h, *c, *reset, *table, *weights;
  int64_t num_weights, cell, hidden_size;
  bool projected, packed;
};

class Step {
 public:
  // Checks everything that memory depends on, and finds the rows that the first layer reads.
  explicit Step(const StepArguments& arguments) : arguments_(arguments) {}
  // What is wrong with the arguments, or null.
  const char* prepare();

  torch::headeronly::ScalarType dtype() const { return dtype_; }
  int64_t layers() const { return layers_; }
  int64_t lanes() const { return lanes_; }
  int64_t units() const { return arguments_.hidden_size; }
  bool has_cell_state() const;

  // Reads the arguments' memory, not what their holders say about it, which other Python threads may change meanwhile.
  // Of that dtype: output [B, H], h_n and for the LSTM c_n [L, B, H], all to be overwritten.
  void run(void* output, void* h_n, void* c_n) const;

 private:
  bool is_double() const { return dtype_ == torch::headeronly::ScalarType::Double; }
  const char* check_weights();
  const char* check_state();
  const char* find_rows();
  template <class T>
  void run(T* output, T* h_n, T* c_n) const;

  StepArguments arguments_;
  torch::headeronly::ScalarType dtype_{};
  int64_t layers_ = 0, lanes_ = 0, width_ = 0, tensors_a_layer_ = 1, reset_stride_ = 0;
  std::unique_ptr<const void*, Free> rows_;
};

}  // namespace pyagent

// The arguments of every kernel, and the table of entry points that each instruction set fills.
// Plain pointers and sizes: no torch, no Python, no STL, because the targets are compiled for newer processors.
#pragma once

#include <cstdint>

namespace pyagent {

// The upper half of a float. Only a way to store numbers: all arithmetic is done in float.
struct Bf16 {
  uint16_t bits;
};

// What a type is computed in.
template <class T>
struct Computed {
  using Real = T;
};
template <>
struct Computed<Bf16> {
  using Real = float;
};
template <class T>
using Real = typename Computed<T>::Real;

enum Cell : int64_t { kTanh = 0, kRelu = 1, kGru = 2, kLstm = 3, kNumCells = 4 };

constexpr int64_t gates_of(int64_t cell) { return cell == kLstm ? 4 : cell == kGru ? 3 : 1; }
// Rows of H values kept a step for the backward pass: LSTM i f g o; GRU r z, W_hn h + b_hn, n.
constexpr int64_t saved_gates_of(int64_t cell) { return cell == kLstm || cell == kGru ? 4 : 0; }
// Rows of H gradients a step, each of what was saved in its place; the first gates_of(cell) are those of W_hh h.
constexpr int64_t gate_gradients_of(int64_t cell) { return cell == kLstm || cell == kGru ? 4 : 1; }

// So that no size computed from H overflows.
constexpr int64_t kMostUnits = int64_t{1} << 24;

// Sizes T, B, H and G as everywhere; a null pointer means the argument is absent (zeros, no reset, full length).
// Cells, and gradients that flow through a state, are in the type that is computed in.
template <class T>
struct RecurrenceArgs {
  int64_t cell, T_, B, H;
  const T* rows;             // [R, G*H] with row_index, else [T, B, G*H]
  int64_t row_stride;        // between rows, at least G*H
  const int64_t* row_index;  // [T, B], each in [0, R)
  const T* packed_hh;        // what pack_forward wrote
  const Real<T>* bias_hn;    // [H], GRU only
  const T* h_0;              // [B, H]
  const Real<T>* c_0;        // [B, H], LSTM only
  const bool* reset;         // [T, B]
  const int64_t* lengths;    // [B], each in [0, T]
  const Real<T>* zeros;      // at least G*H zeros
};

// Gates may be written over the rows (same stride, no row_index), and the output over the rows where a cell saves no
// gates: a row is read before anything takes its place.
template <class T>
struct ForwardArgs : RecurrenceArgs<T> {
  T* output;       // [T, B, H]
  T* gates;        // [T, B, saved_gates * H] or null
  Real<T>* cells;  // [T, B, H], LSTM only, or null:
  Real<T>* c;      // [B, H]: the state, updated in place (c_0 is not read)
};

template <class T>
struct BackwardArgs : RecurrenceArgs<T> {
  const T* packed_backward;  // what pack_backward wrote
  const T* output;           // [T, B, H]
  const T* gates;            // as saved by forward
  const Real<T>* cells;
  const T* grad_output;     // [T, B, H]
  const Real<T>* grad_h_n;  // [B, H]
  const Real<T>* grad_c_n;  // [B, H]
  T* grad_gates;            // [T, B, gate_gradients * H], may be the memory of gates
  Real<T>* carry;           // [B, H] scratch: LSTM's gradient of c, GRU's direct path to h
  Real<T>* grad_h_0;        // [B, H] or null; may be the memory of grad_h_n
  Real<T>* grad_c_0;        // [B, H] or null; may be the memory of grad_c_n
};

// One layer of a single step: the lanes' rows are found beforehand, so that tokens, dense inputs and fresh states are
// all just pointers.
template <class T>
struct StepArgs {
  int64_t cell, B, I, H;
  bool projected;          // x are the input's pre-activations: no product with W_ih
  const T* packed;         // what step_pack wrote; or null, and the weights as they are:
  const T* weight_ih;      // [G*H, I]
  const T* weight_hh;      // [G*H, H]
  const T* bias_ih;        // [G*H], or null: none
  const T* bias_hh;        // [G*H], or null: none
  const T* const* x;       // B rows: [I], or [G*H] where projected
  const T* const* h_prev;  // B rows of [H]
  const T* const* c_prev;  // B rows of [H], LSTM only
  T* h;                    // [B, H]
  T* c;                    // [B, H], LSTM only
  T* output;               // [B, H]: h once more, or null
};

// One operand of a matrix product, as rows that are contiguous along one of its two axes.
template <class T>
struct MatrixRows {
  const T* data;
  int64_t stride;        // between rows
  const T* const* rows;  // instead of data and stride: a pointer to each row
};

// C[m, n] = bias[n] + sum_k A[m, k] B[k, n]. A's rows run over m (or over k if a_transposed); B's over k (or over n if
// b_transposed). Every element is summed in the order of k, whatever rows [m_begin, m_end) a call computes.
template <class T>
struct MatmulOperands {
  int64_t M, N, K;
  MatrixRows<T> a, b;
  bool a_transposed, b_transposed;
};

template <class T>
struct MatmulArgs : MatmulOperands<T> {
  const T* bias;    // [N] or null
  bool accumulate;  // sums start from C instead of the bias
  T* c;             // [M, N]
  int64_t c_stride;
};

// Summed in float.
template <>
struct MatmulArgs<Bf16> : MatmulOperands<Bf16> {
  const float* bias;  // [N] or null
  bool accumulate;    // the sums are added to C, instead of to the bias
  float* c;           // [M, N], or null:
  Bf16* rounded_c;    // rounded once, after the last k
  int64_t c_stride;
};

// Sums over rows that share an index.
template <class T>
struct RowSumArgs {
  const T* data;  // [count] rows
  int64_t stride, count;
  const int64_t* index;  // [count], or null: all are one row
  Real<T>* out;
  int64_t out_stride;
};

// A block of logits, class by class: column i is a position, of a stride of at least `columns`.
template <class T>
struct SoftmaxBlock {
  int64_t rows, columns, stride;
  T* values;      // [rows, columns]
  const T* bias;  // [rows] or null
  T* largest;     // [columns]: of the logits
  T* sum;         // [columns]: of exp(logit - largest)
};

// Of T steps of B lanes, [T, B] unless said. A truncated step counts as one of reward r_t + discount_t * v_final and
// discount 0.
template <class T>
struct ReturnArgs {
  int64_t T_, B;
  const T *r_t, *discount_t;
  const bool* truncated;  // or null: no step is
  const T* v_final;       // read where truncated
  T* out;
  T* pg_advantages;  // V-trace's, else null
};

template <class T>
struct DiscountedReturnsArgs : ReturnArgs<T> {
  const T* v_T;  // [B]
};

template <class T>
struct NStepReturnsArgs : ReturnArgs<T> {
  const T* v_t;
  int64_t n;
};

template <class T>
struct LambdaReturnsArgs : ReturnArgs<T> {
  const T* v_t;
  T lambda;
};

template <class T>
struct GaeArgs : ReturnArgs<T> {
  const T* v;  // [T + 1, B]
  T lambda;
};

template <class T>
struct VtraceArgs : ReturnArgs<T> {
  const T* v;  // [T + 1, B]
  const T* rho_tm1;
  T lambda, clip_rho, clip_pg_rho;
};

template <class T>
struct RetraceArgs : ReturnArgs<T> {
  int64_t A;
  const T *q_t, *pi_t;  // [T, B, A]
  const int64_t* a_t;   // each in [0, A)
  const T* mu_t;
  T lambda;
};

// Lanes in the range, which does not change a bit of any of them.
template <class T>
struct ReturnKernels {
  void (*discounted_returns)(const DiscountedReturnsArgs<T>&, int64_t b_begin, int64_t b_end);
  void (*n_step_returns)(const NStepReturnsArgs<T>&, int64_t b_begin, int64_t b_end);
  void (*lambda_returns)(const LambdaReturnsArgs<T>&, int64_t b_begin, int64_t b_end);
  void (*gae)(const GaeArgs<T>&, int64_t b_begin, int64_t b_end);
  void (*vtrace)(const VtraceArgs<T>&, int64_t b_begin, int64_t b_end);
  void (*retrace)(const RetraceArgs<T>&, int64_t b_begin, int64_t b_end);
};

// What there is of every type.
template <class T>
struct SequenceKernels {
  int64_t (*packed_forward_size)(int64_t cell, int64_t H);   // in elements
  int64_t (*packed_backward_size)(int64_t cell, int64_t H);  // in elements
  void (*pack_forward)(int64_t cell, int64_t H, const T* weight_hh, T* packed);
  void (*pack_backward)(int64_t cell, int64_t H, const T* weight_hh, T* packed);
  int64_t (*recurrence_scratch_bytes)(int64_t lanes, int64_t cell, int64_t H);
  void (*recurrence_forward)(const ForwardArgs<T>&, int64_t b_begin, int64_t b_end, void* scratch);
  void (*recurrence_backward)(const BackwardArgs<T>&, int64_t b_begin, int64_t b_end, void* scratch);
  int64_t (*matmul_scratch_bytes)(const MatmulArgs<T>&);
  void (*matmul)(const MatmulArgs<T>&, int64_t m_begin, int64_t m_end, void* scratch);
  // out[r, c] += data[i, c] for every i with index[i] == r, in the order of i (index null: one row), c in the range.
  void (*sum_rows)(const RowSumArgs<T>&, int64_t c_begin, int64_t c_end);
  void (*tanh)(T* values, int64_t count);  // in place
  // out = grad (1 - tanh^2)
  void (*tanh_gradient)(const T* grad, const T* tanh, int64_t count, T* out);
};

template <class T>
struct Kernels : SequenceKernels<T> {
  int64_t (*step_packed_size)(int64_t cell, int64_t I, int64_t H);  // in elements
  void (*step_pack)(const StepArgs<T>& weights, T* packed);
  // A step falls into independent parts: blocks of units times groups of lanes.
  int64_t (*step_parts)(const StepArgs<T>&);
  void (*step)(const StepArgs<T>&, int64_t part_begin, int64_t part_end);
  void (*exponentiate)(const SoftmaxBlock<T>&);
  void (*scale_columns)(const SoftmaxBlock<T>&, const T* factor, T* row_sum);
  ReturnKernels<T> returns;
};

template <>
struct Kernels<Bf16> : SequenceKernels<Bf16> {
  void (*widen)(const Bf16* from, int64_t count, float* to);
  void (*narrow)(const float* from, int64_t count, Bf16* to);  // rounds
};

struct FloatKernels {
  Kernels<float> f32;
  Kernels<double> f64;
};

// Targets that differ in what they do with Bf16 alone share one table of the rest.
struct Target {
  const char* isa;
  const FloatKernels* floats;
  Kernels<Bf16> bf16;
  const SequenceKernels<float>* split;  // floats multiplied as sums of two Bf16; null where that would be slower
};

extern const Target kBaseline;
#if defined(__x86_64__)
extern const FloatKernels kAvx512Floats;
extern const Target kAvx2, kAvx512, kAvx512Bf16, kAmx;
#endif

// The best target of this processor, or the one PYAGENT_CPU_ISA names. Chosen once.
// Throws std::runtime_error where the variable names an unknown or unsupported instruction set.
const Target& target();
bool supported(const Target& target);
const Target* const* all_targets(int* count);  // best first

template <class T>
const Kernels<T>& kernels();

}  // namespace pyagent

// The recurrence backward in time: gradients of the gates of every step and of the initial state, all in one kernel.
//
//     wait for grad_gates[t+1]   sums = W_hh^T grad_gates[t+1]   differentiate the cell   write grad_gates[t]   arrive
//
// Gradients go from block to block through `grad_gates` itself, or in a cluster through a pair of buffers in shared
// memory. W_hh is transposed into the workspace beforehand, so that both passes read weights along the sums.
#include "cuda/recurrence_block.h"
#include "cuda/recurrence_launch.h"

namespace pyagent::cuda {
namespace {

// Slots of what is fetched ahead: what of h_t's gradient the sums lack, whether it flows on to step t−1 in clusters;
// then gates, tanh(c_t), c_{t-1} and the gradient of c_t of the LSTM; gates and h_{t-1} of the GRU; h_t of the others.
constexpr int64_t staged_of(int64_t cell) { return cell == kLstm ? 9 : cell == kGru ? 7 : 3; }

template <class Real, bool kInCluster>
struct Backward : Block<Real, kInCluster> {
  using Base = Block<Real, kInCluster>;
  using Base::plan, Base::slot, Base::length, Base::sum, Base::B, Base::H, Base::is_fresh;
  const PyagentRecurrenceBackward& p;
  const Real* const weight_t;  // [H, K]
  float* const carry;          // [B, H]: gradient of c_{t-1}, or what reaches h_{t-1} of the GRU past W_hh
  const Real *const h_0 = static_cast<const Real*>(p.h_0), *const output = static_cast<const Real*>(p.output),
                    *const gates = static_cast<const Real*>(p.gates),
                    *const grad_output = static_cast<const Real*>(p.grad_output),
                    *const grad_h_n = static_cast<const Real*>(p.grad_h_n);
  Real *const grad_gates = static_cast<Real*>(p.grad_gates), *const grad_h_0 = static_cast<Real*>(p.grad_h_0);
  const int64_t width = p.cell == kLstm || p.cell == kGru ? 4 * p.H : p.H;
  const bool lstm = p.cell == kLstm, gru = p.cell == kGru;

  __device__ Backward(const PyagentRecurrenceBackward& args, const Plan& plan, const Workspace& workspace,
                      unsigned char* memory)
      : Base(args, plan,
             args.cell == kLstm  ? 4 * args.H
             : args.cell == kGru ? 3 * args.H
                                 : args.H,
             workspace.counters, memory),
        p(args),
        weight_t(static_cast<const Real*>(workspace.weight_t)),
        carry(workspace.carry) {}

  __device__ const Real* weight_row(int64_t unit_tile, int row) const {
    const int64_t u = unit_tile * plan.units + row;
    return row < plan.units && u < H ? weight_t + u * this->K : nullptr;
  }

  // Whether nothing flows from step t+1 to step t; t = −1 is the initial state.
  __device__ bool is_cut(int64_t t, int lane, int64_t b) const { return t + 1 >= length[lane] || is_fresh(t + 1, b); }

  __device__ void begin_pairs() {
    this->for_unit_tiles([&](int64_t unit_tile) {
      this->for_pairs(unit_tile, [&](int, int lane, int, int64_t b, int64_t u) {
        for (int64_t t = length[lane]; t < p.T; ++t)
          for (int64_t k = u; k < width; k += H) grad_gates[(t * B + b) * width + k] = Real(0.f);
      });
    });
  }

  __device__ void find_operands(int64_t t) {
    if (threadIdx.x >= plan.lanes) return;
    const int64_t b = this->first_lane + threadIdx.x;
    this->operand_rows[threadIdx.x] = is_cut(t, threadIdx.x, b) ? nullptr : grad_gates + ((t + 1) * B + b) * width;
  }

  // What reaches h_t past W_hh, and c_t from step t+1.
  __device__ float flow_to_h(int64_t t, int lane, int64_t b, int64_t u) const {
    if (t == length[lane] - 1) return grad_h_n ? widen(grad_h_n[b * H + u]) : 0.f;
    return gru && !is_cut(t, lane, b) ? carry[b * H + u] : 0.f;
  }
  __device__ float flow_to_c(int64_t t, int lane, int64_t b, int64_t u) const {
    if (t == length[lane] - 1) return p.grad_c_n ? p.grad_c_n[b * H + u] : 0.f;
    return is_cut(t, lane, b) ? 0.f : carry[b * H + u];
  }

  __device__ void fetch(int64_t t, int64_t unit_tile) {
    this->for_pairs(unit_tile, [&](int pair, int lane, int, int64_t b, int64_t u) {
      if (t < 0 || t >= length[lane]) return;
      const int64_t at = (t * B + b) * H + u, before = at - B * H;
      const bool fresh = is_fresh(t, b);
      slot(0, pair) = flow_to_h(t, lane, b, u) + (grad_output ? widen(grad_output[at]) : 0.f) + this->poison[lane];
      slot(1, pair) = !fresh;
      for (int g = 0; g < 4 && (lstm || gru); ++g) slot(2 + g, pair) = widen(gates[(t * B + b) * width + g * H + u]);
      if (lstm) {
        slot(6, pair) = tanhf(p.cells[at]);
        slot(7, pair) = fresh ? 0.f : t > 0 ? p.cells[before] : p.c_0 ? p.c_0[b * H + u] : 0.f;
        slot(8, pair) = flow_to_c(t, lane, b, u);
      } else if (gru) {
        slot(6, pair) = fresh ? 0.f : t > 0 ? widen(output[before]) : h_0 ? widen(h_0[b * H + u]) : 0.f;
      } else {
        slot(2, pair) = widen(output[at]);
      }
    });
  }

  // Gradients of the gates at step t, of this block's lanes and units, from the sums.
  template <int64_t kCell>
  __device__ void update(int64_t t, int64_t unit_tile) {
    this->for_pairs(unit_tile, [&](int pair, int lane, int unit, int64_t b, int64_t u) {
      if (t >= length[lane]) return;
      const float dh = slot(0, pair) + sum(lane, unit);
      const auto gate = [&](int g) { return slot(2 + g, pair); };
      const auto emit = [&](int g, float value) {
        const Real rounded = Real(value);
        grad_gates[(t * B + b) * width + g * H + u] = rounded;
        if (kInCluster && g * H + u < this->K)
          this->pass_on(t - 1, lane, g * H + u, slot(1, pair) ? rounded : Real(0.f));
      };
      if constexpr (kCell == kLstm) {
        const float i = gate(0), f = gate(1), g = gate(2), o = gate(3), tanh_c = slot(6, pair);
        const float dc = fmaf(dh * o, 1 - tanh_c * tanh_c, slot(8, pair));
        emit(0, dc * g * i * (1 - i));
        emit(1, dc * slot(7, pair) * f * (1 - f));
        emit(2, dc * i * (1 - g * g));
        emit(3, dh * tanh_c * o * (1 - o));
        carry[b * H + u] = dc * f;
      } else if constexpr (kCell == kGru) {
        const float r = gate(0), z = gate(1), hn = gate(2), n = gate(3);
        const float dn = dh * (1 - z) * (1 - n * n);
        emit(0, dn * hn * r * (1 - r));
        emit(1, dh * (slot(6, pair) - n) * z * (1 - z));
        emit(2, dn * r);
        emit(3, dn);
        carry[b * H + u] = dh * z;
      } else {
        const float h = slot(2, pair);
        emit(0, kCell == kTanh ? dh * (1 - h * h) : h <= 0 ? 0.f : dh);
      }
    });
  }

  __device__ void write_initial(int64_t unit_tile) {
    this->for_pairs(unit_tile, [&](int, int lane, int unit, int64_t b, int64_t u) {
      const float poison = this->poison[lane];
      if (grad_h_0) grad_h_0[b * H + u] = Real(sum(lane, unit) + flow_to_h(-1, lane, b, u) + poison);
      if (p.grad_c_0) p.grad_c_0[b * H + u] = flow_to_c(-1, lane, b, u) + poison;
    });
  }

  __device__ void run(int64_t lane_tile) {
    const int64_t first = this->begin_lanes(lane_tile) - 1, last = grad_h_0 || p.grad_c_0 ? -1 : 0;
    begin_pairs();
    find_operands(first);
    fetch(first, blockIdx.x);
    this->begin_exchange(first);
    for (int64_t t = first; t >= last; --t) {
      if (t < first) this->barrier.wait();
      this->for_unit_tiles([&](int64_t unit_tile) {
        if (unit_tile != blockIdx.x) fetch(t, unit_tile);
        this->multiply_step(t, unit_tile, [&](int64_t tile, int row) { return weight_row(tile, row); });
        if (t < 0) return write_initial(unit_tile);
        with_cell(p.cell, [&](auto cell) { update<decltype(cell)::value>(t, unit_tile); });
      });
      if (t == last) break;
      this->barrier.arrive();
      find_operands(t - 1);
      fetch(t - 1, blockIdx.x);
    }
    this->end_exchange();
  }
};

template <class Real, bool kInCluster>
__global__ void __launch_bounds__(kThreads, 1)
    recurrence_backward_kernel(const __grid_constant__ PyagentRecurrenceBackward args,
                               const __grid_constant__ Plan plan, const __grid_constant__ Workspace workspace) {
  extern __shared__ __align__(16) unsigned char memory[];
  Backward<Real, kInCluster> block(args, plan, workspace, memory);
  if (plan.variant != kStreamed) block.load_weights([&](int64_t tile, int row) { return block.weight_row(tile, row); });
  for (int64_t tile = blockIdx.y; tile < plan.lane_tiles; tile += gridDim.y) block.run(tile);
}

constexpr int kSquare = 32;

// to [columns, rows] = from [rows, columns]
template <class Real>
__global__ void __launch_bounds__(kThreads)
    transpose_kernel(const Real* from, int64_t rows, int64_t columns, Real* to) {
  __shared__ Real square[kSquare][kSquare + 1];
  const int64_t row = int64_t{blockIdx.x} * kSquare, column = int64_t{blockIdx.y} * kSquare;
  const int x = threadIdx.x % kSquare;
  for (int y = threadIdx.x / kSquare; y < kSquare; y += kThreads / kSquare)
    if (row + y < rows && column + x < columns) square[y][x] = from[(row + y) * columns + column + x];
  __syncthreads();
  for (int y = threadIdx.x / kSquare; y < kSquare; y += kThreads / kSquare)
    if (column + y < columns && row + x < rows) to[(column + y) * rows + row + x] = square[x][y];
}

template <class Real>
cudaError_t launch_backward(const PyagentRecurrenceBackward& args, cudaStream_t stream) {
  const int64_t K = gates_of(args.cell) * args.H;
  const Workspace workspace = workspace_of(args);
  auto* const weight_t = static_cast<Real*>(workspace.weight_t);
  const dim3 squares(static_cast<unsigned>(ceil_div(K, kSquare)), static_cast<unsigned>(ceil_div(args.H, kSquare)));
  transpose_kernel<Real>
      <<<squares, kThreads, 0, stream>>>(static_cast<const Real*>(args.weight_hh), K, args.H, weight_t);
  if (const cudaError_t error = cudaGetLastError()) return error;
  const Problem problem{args.B, args.H, K, 1, staged_of(args.cell), sizeof(Real)};
  return launch(recurrence_backward_kernel<Real, false>, recurrence_backward_kernel<Real, true>, problem,
                begin_at_vectors<Real>(args.H, {args.grad_gates}), args, workspace, stream);
}

}  // namespace
}  // namespace pyagent::cuda

int pyagent_recurrence_backward(const PyagentRecurrenceBackward* args, void* stream) {
  using namespace pyagent::cuda;
  if (args->B == 0 || args->H == 0) return 0;
  const auto on = static_cast<cudaStream_t>(stream);
  return args->bfloat16 ? launch_backward<Bfloat16>(*args, on) : launch_backward<float>(*args, on);
}

int64_t pyagent_recurrence_workspace_bytes(int64_t cell, int64_t bfloat16, int64_t B, int64_t H) {
  const auto size = pyagent::cuda::workspace_size(cell, bfloat16, B, H);
  return size.counters + size.carry + size.weight_t;
}

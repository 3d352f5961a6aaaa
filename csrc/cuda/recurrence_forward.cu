// The recurrence forward in time: h_t = cell(row + W_hh h_{t-1}), all steps in one kernel.
//
//     wait for h_{t-1}   sums = W_hh h_{t-1}   cell   write h_t   arrive   fetch what step t+1 needs beside h_t
//
// h goes from block to block through `output` itself, or in a cluster through a pair of buffers in shared memory: step
// t reads buffer t%2 and fills the other one of every block, which nobody has read since the last barrier.
#include "cuda/recurrence_block.h"
#include "cuda/recurrence_launch.h"

namespace pyagent::cuda {
namespace {

// Slots of what is fetched ahead: the row's G values; in 3 and 4 the GRU's h_{t-1} and b_hn; in 4 the LSTM's c_{t-1};
// in 5 whether h_t is passed on in a cluster.
constexpr int64_t kStaged = 6;

template <class Real, bool kInCluster>
struct Forward : Block<Real, kInCluster> {
  using Base = Block<Real, kInCluster>;
  using Base::plan, Base::slot, Base::length, Base::sum, Base::B, Base::H, Base::G, Base::is_fresh;
  const PyagentRecurrenceForward& p;
  const Real* const h_0 = static_cast<const Real*>(p.h_0);
  Real *const output = static_cast<Real*>(p.output), *const h_n = static_cast<Real*>(p.h_n),
              *const gates = static_cast<Real*>(p.gates);

  __device__ Forward(const PyagentRecurrenceForward& args, const Plan& plan, const Workspace& workspace,
                     unsigned char* memory)
      : Base(args, plan, args.H, workspace.counters, memory), p(args) {}

  __device__ const Real* weight_row(int64_t unit_tile, int row) const {
    const int64_t gate = row / plan.units, u = unit_tile * plan.units + row % plan.units;
    return gate < G && u < H ? static_cast<const Real*>(p.weight_hh) + (gate * H + u) * H : nullptr;
  }

  // The state before the first step, and what stands past the ends of lanes.
  __device__ void begin_pairs() {
    this->for_unit_tiles([&](int64_t unit_tile) {
      this->for_pairs(unit_tile, [&](int, int lane, int, int64_t b, int64_t u) {
        const float poison = this->poison[lane];
        h_n[b * H + u] = Real((h_0 ? widen(h_0[b * H + u]) : 0.f) + poison);
        if (p.cell == kLstm) p.c_n[b * H + u] = (p.c_0 ? p.c_0[b * H + u] : 0.f) + poison;
        for (int64_t t = length[lane]; t < p.T; ++t) {
          const int64_t at = t * B + b;
          output[at * H + u] = Real(0.f);
          for (int g = 0; g < 4 && gates; ++g) gates[(at * 4 + g) * H + u] = Real(0.f);
          if (p.cells) p.cells[at * H + u] = 0;
        }
      });
    });
  }

  // Where step t of every lane finds h_{t-1}.
  __device__ void find_operands(int64_t t) {
    if (threadIdx.x >= plan.lanes) return;
    const int64_t b = this->first_lane + threadIdx.x;
    const Real* row = nullptr;
    if (t < length[threadIdx.x] && !is_fresh(t, b))
      row = t > 0 ? output + ((t - 1) * B + b) * H : h_0 ? h_0 + b * H : nullptr;
    this->operand_rows[threadIdx.x] = row;
  }

  __device__ void fetch(int64_t t, int64_t unit_tile) {
    this->for_pairs(unit_tile, [&](int pair, int lane, int, int64_t b, int64_t u) {
      if (t >= length[lane]) return;
      const int64_t at = t * B + b, row = p.row_index ? p.row_index[at] : at;
      const bool valid = !p.row_index || (0 <= row && row < p.num_rows);
      if (!valid) atomicExch(p.out_of_range, 1);
      const Real* const from = static_cast<const Real*>(p.rows) + row * G * H + u;
      for (int g = 0; g < G; ++g) slot(g, pair) = valid ? widen(from[g * H]) + this->poison[lane] : NAN;
      const bool fresh = is_fresh(t, b);
      if (p.cell == kLstm) slot(4, pair) = fresh ? 0.f : p.c_n[b * H + u];
      if (p.cell == kGru) {
        const Real* const h_prev = t > 0 ? output + (at - B) * H : h_0 ? h_0 + b * H : nullptr;
        slot(3, pair) = fresh || !h_prev ? 0.f : widen(h_prev[u]);
        slot(4, pair) = p.bias_hn ? widen(static_cast<const Real*>(p.bias_hn)[u]) : 0.f;
      }
      if (kInCluster) slot(5, pair) = t + 1 == p.T || !is_fresh(t + 1, b);
    });
  }

  // Step t of this block's lanes and units, from the sums.
  template <int64_t kCell>
  __device__ void update(int64_t t, int64_t unit_tile) {
    this->for_pairs(unit_tile, [&](int pair, int lane, int unit, int64_t b, int64_t u) {
      if (t >= length[lane]) return;
      const int64_t at = t * B + b;
      const auto pre = [&](int g) { return slot(g, pair) + sum(lane, g * plan.units + unit); };
      const auto keep = [&](int g, float value) { gates[(at * 4 + g) * H + u] = Real(value); };
      float h;
      if constexpr (kCell == kLstm) {
        const float i = sigmoid(pre(0)), f = sigmoid(pre(1)), g = tanhf(pre(2)), o = sigmoid(pre(3));
        const float c = fmaf(f, slot(4, pair), i * g);
        h = o * tanhf(c);
        p.c_n[b * H + u] = c;
        if (p.cells) p.cells[at * H + u] = c;
        if (gates) keep(0, i), keep(1, f), keep(2, g), keep(3, o);
      } else if constexpr (kCell == kGru) {
        const float r = sigmoid(pre(0)), z = sigmoid(pre(1)), hn = sum(lane, 2 * plan.units + unit) + slot(4, pair);
        const float n = tanhf(fmaf(r, hn, slot(2, pair)));
        h = fmaf(z, slot(3, pair) - n, n);
        if (gates) keep(0, r), keep(1, z), keep(2, hn), keep(3, n);
      } else {
        const float x = pre(0);
        h = kCell == kTanh ? tanhf(x) : x < 0 ? 0.f : x;
      }
      const Real rounded = Real(h);
      output[at * H + u] = rounded;
      if (t == length[lane] - 1) h_n[b * H + u] = rounded;
      if (kInCluster) this->pass_on(t + 1, lane, u, slot(5, pair) ? rounded : Real(0.f));
    });
  }

  __device__ void run(int64_t lane_tile) {
    const int64_t longest = this->begin_lanes(lane_tile);
    begin_pairs();
    find_operands(0);
    fetch(0, blockIdx.x);
    this->begin_exchange(0);
    for (int64_t t = 0; t < longest; ++t) {
      if (t > 0) this->barrier.wait();
      this->for_unit_tiles([&](int64_t unit_tile) {
        if (unit_tile != blockIdx.x) fetch(t, unit_tile);
        this->multiply_step(t, unit_tile, [&](int64_t tile, int row) { return weight_row(tile, row); });
        with_cell(p.cell, [&](auto cell) { update<decltype(cell)::value>(t, unit_tile); });
      });
      if (t + 1 == longest) break;
      this->barrier.arrive();
      find_operands(t + 1);
      fetch(t + 1, blockIdx.x);
    }
    this->end_exchange();
  }
};

template <class Real, bool kInCluster>
__global__ void __launch_bounds__(kThreads, 1)
    recurrence_forward_kernel(const __grid_constant__ PyagentRecurrenceForward args, const __grid_constant__ Plan plan,
                              const __grid_constant__ Workspace workspace) {
  extern __shared__ __align__(16) unsigned char memory[];
  Forward<Real, kInCluster> block(args, plan, workspace, memory);
  if (plan.variant != kStreamed) block.load_weights([&](int64_t tile, int row) { return block.weight_row(tile, row); });
  for (int64_t tile = blockIdx.y; tile < plan.lane_tiles; tile += gridDim.y) block.run(tile);
}

template <class Real>
cudaError_t launch_forward(const PyagentRecurrenceForward& args, cudaStream_t stream) {
  const Problem problem{args.B, args.H, args.H, gates_of(args.cell), kStaged, sizeof(Real)};
  const bool vectors = begin_at_vectors<Real>(args.H, {args.weight_hh, args.h_0, args.output});
  return launch(recurrence_forward_kernel<Real, false>, recurrence_forward_kernel<Real, true>, problem, vectors, args,
                workspace_of(args), stream);
}

}  // namespace
}  // namespace pyagent::cuda

int pyagent_recurrence_forward(const PyagentRecurrenceForward* args, void* stream) {
  using namespace pyagent::cuda;
  if (args->B == 0 || args->H == 0) return 0;
  const auto on = static_cast<cudaStream_t>(stream);
  return args->bfloat16 ? launch_forward<Bfloat16>(*args, on) : launch_forward<float>(*args, on);
}

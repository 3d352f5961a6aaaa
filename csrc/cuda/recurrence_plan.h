// How a pass over time is laid out on the device: host code, no CUDA.
//
// A block has the weights of `units` hidden units and takes `lanes` lanes of the batch through all time steps. The
// blocks that share lanes exchange h, or gradients of gates, every step:
//
//                   lanes 0…7    lanes 8…15
//     units 0…7       block        block        blocks of a row have the same weights,
//     units 8…15      block        block        blocks of a column meet at a barrier every step
//
// A step's product is [rows, K] times [K, lanes]: `rows` are the block's rows of W_hh (in the backward pass, of its
// transpose), filled up to whole tiles. Where there are fewer tiles than warps, K is split among warps.
#pragma once

#include <algorithm>
#include <cstdint>

namespace pyagent::cuda {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kTileRows = 32, kTileLanes = 8, kMostLaneTiles = 4;  // of a warp at once; it repeats its lanes' tiles
constexpr int kMostLanes = kThreads;
constexpr int kCounterWords = 32;       // a cache line a counter
constexpr int64_t kMostColumns = 1024;  // of a grid
constexpr int kMostClusterBlocks = 8;   // on every device that has clusters
constexpr int64_t kChunkGrain = 32;

enum Variant : int64_t {
  kResident = 1,  // weights stay in shared memory, exchange through global memory, a cooperative launch
  kCluster = 2,   // weights stay in shared memory, exchange through the shared memories of a cluster
  kStreamed = 3,  // as kResident, but weights are read every step: they need not fit, nor units be all at work at once
};

struct Device {
  int64_t multiprocessors, shared_bytes;
  bool clusters;
};

struct Problem {
  int64_t B, H, K;  // lanes, units, terms of a sum
  int64_t weights;  // rows of weights a unit
  int64_t staged;   // floats a lane and unit that are fetched ahead of a step
  int64_t element;  // bytes of a factor
};

struct Plan {
  int64_t variant, unit_tiles, lane_tiles;
  int units, lanes, rows;
  int blocks_x, blocks_y;  // the grid over unit tiles and lane tiles; a block may take several of either
  int splits;              // partial sums of an element
  int64_t chunk, chunks;   // terms that pass through shared memory together
  int weight_stride, operand_stride, sum_stride;       // elements between rows in shared memory
  int operand_at, sum_at, staged_at, lanes_at, bytes;  // where things begin there; weights do at 0
  bool vectors;                                        // rows of both factors begin at whole vectors in global memory
};

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Terms that a warp multiplies at once: a vector of float, or two depths of an mma of bfloat16.
constexpr int64_t step_of(int64_t element) { return element == 4 ? 4 : 32; }

// An odd number of steps, so that rows which a warp reads together lie in different banks.
constexpr int64_t padded(int64_t K, int64_t element) { return (ceil_div(K, step_of(element)) | 1) * step_of(element); }

// Fills in what follows from variant, units, lanes and chunk; false where shared memory is too small.
inline bool complete(const Problem& x, const Device& device, Plan& plan) {
  const bool streamed = plan.variant == kStreamed, cluster = plan.variant == kCluster;
  const int64_t rows = round_up(x.weights * plan.units, kTileRows), lanes = plan.lanes;
  const int64_t tiles = rows / kTileRows * ceil_div(lanes, kTileLanes * kMostLaneTiles);
  const int64_t splits =
      std::clamp<int64_t>(kWarps / tiles, 1, ceil_div(std::min(plan.chunk, x.K), step_of(x.element)));
  plan.chunks = ceil_div(x.K, plan.chunk);
  const int64_t buffers = cluster || plan.chunks > 1 ? 2 : 1;
  const int64_t weight_stride = padded(streamed ? plan.chunk : x.K, x.element);
  const int64_t operand_stride = padded(plan.chunk, x.element);
  const int64_t sum_stride = rows + 4;  // stores of a tile's sums go to different banks
  const int64_t operand_at = (streamed ? buffers : 1) * rows * weight_stride * x.element;
  const int64_t sum_at = operand_at + buffers * lanes * operand_stride * x.element;
  const int64_t staged_at = sum_at + splits * lanes * sum_stride * 4;
  const int64_t lanes_at = round_up(staged_at + x.staged * lanes * plan.units * 4, 8);
  const int64_t bytes = lanes_at + lanes * 24;
  if (bytes > device.shared_bytes) return false;
  plan.rows = static_cast<int>(rows), plan.splits = static_cast<int>(splits);
  plan.weight_stride = static_cast<int>(weight_stride), plan.operand_stride = static_cast<int>(operand_stride);
  plan.sum_stride = static_cast<int>(sum_stride);
  plan.operand_at = static_cast<int>(operand_at), plan.sum_at = static_cast<int>(sum_at);
  plan.staged_at = static_cast<int>(staged_at), plan.lanes_at = static_cast<int>(lanes_at);
  plan.bytes = static_cast<int>(bytes);
  plan.unit_tiles = ceil_div(x.H, plan.units), plan.lane_tiles = ceil_div(x.B, lanes);
  const int64_t blocks_x = streamed ? std::min(plan.unit_tiles, device.multiprocessors) : plan.unit_tiles;
  const int64_t columns = cluster ? kMostColumns : std::max<int64_t>(device.multiprocessors / blocks_x, 1);
  plan.blocks_x = static_cast<int>(blocks_x);
  plan.blocks_y = static_cast<int>(std::min({plan.lane_tiles, columns, kMostColumns}));
  return true;
}

// Clocks a time step takes, roughly: enough to rank plans. A barrier of the grid takes about 1.5 µs, one of a cluster
// 0.4 µs, and a chunk's first loads 0.2 µs. All together, each multiprocessor reads 32 bytes a clock from the L2 cache.
// Reads of shared memory bound a product: 128 bytes a clock, and four clocks for each vector of float that a warp's
// threads share.
inline double clocks(const Problem& x, const Device& device, const Plan& plan) {
  const bool cluster = plan.variant == kCluster;
  const int64_t at_once = cluster ? std::max<int64_t>(device.multiprocessors / plan.blocks_x, 1) : plan.blocks_y;
  const double barrier = plan.blocks_x == 1 ? 0 : cluster ? 700 : 2500;
  const int64_t read_rows = (cluster ? 0 : plan.lanes) + (plan.variant == kStreamed ? plan.rows : 0);
  const double read = read_rows * x.K * x.element / 32.0;
  const int lane_tiles = std::min(plan.lanes / kTileLanes, kMostLaneTiles);
  const int64_t tiles = plan.rows / kTileRows * (plan.lanes / kTileLanes / lane_tiles);
  const double product =
      static_cast<double>(tiles * ceil_div(x.K, step_of(x.element))) * (16 + (x.element == 4 ? 8 : 4) * lane_tiles);
  const double both = plan.chunks > 1 ? std::max(read, product) : read + product;
  const double cell = 400 + 150.0 * ceil_div(int64_t{plan.lanes} * plan.units, kThreads);
  const double unit_tile = both + 350.0 * plan.chunks + cell;
  return ceil_div(plan.lane_tiles, at_once) * (barrier + ceil_div(plan.unit_tiles, plan.blocks_x) * unit_tile);
}

// What is asked for; 0 is any.
struct Wanted {
  int64_t variant, units, lanes;
};

// The quickest plan; false where none fits.
inline bool choose(const Problem& x, const Device& device, const Wanted& wanted, Plan& best) {
  double least = -1;
  for (const int64_t v : {kResident, kCluster, kStreamed}) {
    if (wanted.variant ? v != wanted.variant : v == kCluster && !device.clusters) continue;
    const int64_t most_tiles = v == kResident ? device.multiprocessors : v == kCluster ? kMostClusterBlocks : x.H;
    for (int lanes = kTileLanes; lanes <= kMostLanes && (lanes == kTileLanes || lanes / 2 < x.B); lanes *= 2) {
      if (wanted.lanes && lanes != wanted.lanes) continue;
      for (int units = 8; units - 8 < x.H; units += 8) {
        Plan plan{};
        plan.variant = v, plan.units = units, plan.lanes = lanes, plan.chunk = round_up(x.K, kChunkGrain);
        bool fits = complete(x, device, plan);
        while (!fits && v != kCluster && plan.chunk > kChunkGrain) {
          plan.chunk = round_up(plan.chunk / 2, kChunkGrain);
          fits = complete(x, device, plan);
        }
        if (!fits) break;
        if (plan.unit_tiles > most_tiles || (wanted.units && units != wanted.units)) continue;
        const double time = clocks(x, device, plan);
        if (least < 0 || time < least) least = time, best = plan;
      }
    }
  }
  return least >= 0;
}

}  // namespace pyagent::cuda

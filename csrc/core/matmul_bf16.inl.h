// Matrix products of Bf16, and on tiles of floats by parts, summed in float.
//
// Blocks of B are packed into panels of pairs; rows of A are read where they lie, or packed where they are not
// contiguous in k. Every element of C is one chain over k, so the result does not depend on how rows are split. Where k
// takes several blocks the sums wait in float, and are rounded once.
#pragma once

#include "core/dispatch.h"
#include "core/matmul.inl.h"
#include "core/pack_bf16.inl.h"
#include "core/panel_bf16.inl.h"
#if defined(PYAGENT_TILES)
#include "core/panel_tiles.inl.h"
#endif

namespace pyagent {
namespace {

// A panel, or with tiles the packed rows, fill most of a first-level cache; a block of panels and the sums of a chunk
// of rows stay in the second.
#if defined(PYAGENT_TILES)
constexpr int kPairVectors = 2;
constexpr int64_t kPairBlockRows = 2 * kTileRows, kChunkRows = 8 * kPairBlockRows;
constexpr int64_t kPairDepth = 512, kPairBlockColumns = 512;
// Rows are packed in the order in which tiles read them.
constexpr int64_t kPackedRow = kTileDepth, kPackedStep = kPairBlockRows * kTileDepth;
constexpr int64_t kPackedSize = kPairBlockRows * kPairDepth;
#else
constexpr int kPairVectors = kPlainVectors;
constexpr int64_t kPairBlockRows = 16 * panel_rows(kPairVectors), kChunkRows = 4 * kPairBlockRows;
constexpr int64_t kPairDepth = 256, kPairBlockColumns = 256;
// A power of two would put all packed rows in the same few cache sets.
constexpr int64_t kPackedRow = kPairDepth + 32, kPackedStep = 2 * kLanes;
constexpr int64_t kPackedSize = kPairBlockRows * kPackedRow;
#endif
constexpr int64_t kPairColumns = kPairVectors * kLanes;

// The part of a product that one packed block of B takes part in.
struct PairBlock {
  int64_t n, columns, k, depth;
  const Bf16* panels;
  bool first, last;  // in k
  float* sums;       // [row of the chunk][kPairBlockColumns], unless both
};

bool takes_dot_products(const MatmulArgs<Bf16>& p) { return p.M <= kFewRows && p.b_transposed && !p.a_transposed; }

template <class T>
int64_t pair_matmul_scratch(const MatmulArgs<T>& p) {
  const int64_t pairs = kPairBlockColumns * kPairDepth + kPackedSize;
  const int64_t sums = p.K > kPairDepth ? at_most(p.M, kChunkRows) * kPairBlockColumns : 0;
  return pairs * 2 * kParts<T, Bf16> + sums * 4;
}

int64_t matmul_scratch(const MatmulArgs<Bf16>& p) { return takes_dot_products(p) ? 0 : pair_matmul_scratch(p); }

// Of floats, panels of high and of low parts in turns.
template <class T>
void pack_panels(const MatmulArgs<T>& p, int64_t n_begin, int64_t columns, int64_t k, int64_t depth, Bf16* panels) {
  const PanelLayout layout = panel_layout(kPairVectors);
  for (int64_t n = 0; n < columns; n += kPairColumns)
    for (int part = 0; part < kParts<T, Bf16>; ++part, panels += depth_in_panel(depth) * kPairColumns)
      if (p.b_transposed) {
        for (int64_t j = 0; j < kPairVectors; ++j) {
          const auto row = [&](int64_t column) { return row_of(p.b, n_begin + n + j * kLanes + column) + k; };
          pack_across(row, columns - n - j * kLanes, depth, part, panels + j * layout.vector, layout);
        }
      } else {
        const auto row = [&](int64_t i) { return row_of(p.b, k + i) + n_begin + n; };
        pack_along<kPairVectors>(row, columns - n, depth, part, panels);
      }
}

// A's rows m..m + count at k..k + depth, followed by zeros up to a multiple of kDepthUnit.
template <class T>
PairRows rows_in_k(const MatmulArgs<T>& p, int64_t m, int64_t count, int64_t k, int64_t depth, Bf16* packed) {
  if constexpr (kParts<T, Bf16> == 1) {
#if defined(PYAGENT_TILES)
    const bool readable = depth % kDepthUnit == 0;
#else
    const bool readable = true;
#endif
    if (readable && !p.a_transposed && !p.a.rows) return {p.a.data + m * p.a.stride + k, p.a.stride, kDepthUnit, 0};
  }
  if (p.a_transposed) {
    const auto row = [&](int64_t i) { return row_of(p.a, k + i) + m; };
    for (int part = 0; part < kParts<T, Bf16>; ++part)
      pack_columns(row, count, depth, part, packed + part * kPackedSize, kPackedRow, kPackedStep);
  } else {
    for (int64_t i = 0; i < count; ++i)
      copy_row(row_of(p.a, m + i) + k, depth, packed + i * kPackedRow, kPackedStep, kPackedSize);
  }
  return {packed, kPackedRow, kPackedStep, kPackedSize};
}

template <class C>
PYAGENT_INLINE void store_sum(C* c, bool accumulate, Vec<float> sum, int64_t count) {
  store_first(c, accumulate ? load_first(c, count) + sum : sum, count);
}

PYAGENT_INLINE void store_c(const MatmulArgs<float>& p, int64_t m, int64_t n, Vec<float> sum, int64_t count) {
  store_sum(p.c + m * p.c_stride + n, p.accumulate, sum, count);
}

PYAGENT_INLINE void store_c(const MatmulArgs<Bf16>& p, int64_t m, int64_t n, Vec<float> sum, int64_t count) {
  if (p.c)
    store_sum(p.c + m * p.c_stride + n, p.accumulate, sum, count);
  else
    store_sum(p.rounded_c + m * p.c_stride + n, p.accumulate, sum, count);
}

#if defined(PYAGENT_TILES)

// C's rows m..m + count, from the rows of A; `chunk_row` of the waiting sums is the first of them.
template <class T>
void multiply_rows(const MatmulArgs<T>& p, const PairBlock& block, PairRows a, int64_t m, int64_t count,
                   int64_t chunk_row) {
  alignas(64) float made[kPairBlockRows * kPairColumns];
  const bool waits = !(block.first && block.last);
  const int64_t stride = waits ? kPairBlockColumns : kPairColumns;
  const PanelLayout layout = panel_layout(kPairVectors);
  PairRows panel = {block.panels, layout.pair, layout.step, depth_in_panel(block.depth) * kPairColumns};
  Tiles tiles;
  tiles.configure(count);
  for (int64_t n = 0; n < block.columns; n += kPairColumns, panel.data += kParts<T, Bf16> * panel.low) {
    float* const sums = waits ? block.sums + chunk_row * stride + n : made;
    accumulate_tiles<kParts<T, Bf16>, kPairVectors>(count, block.first, sums, stride, a, panel, block.depth);
    if (!block.last) continue;
    for (int64_t j = 0; j < kPairColumns && n + j < block.columns; j += kLanes) {
      const int64_t column = block.n + n + j, left = block.columns - n - j;
      const Vec<float> bias = p.bias ? load_first(p.bias + column, left) : Vec<float>{};
      for (int64_t r = 0; r < count; ++r) store_c(p, m + r, column, load(sums + r * stride + j) + bias, left);
    }
  }
  tiles.release();
}

#else

void multiply_rows(const MatmulArgs<Bf16>& p, const PairBlock& block, PairRows a, int64_t m, int64_t count,
                   int64_t chunk_row) {
  constexpr int N = kPairVectors, W = kLanes;
  for (int64_t n = 0; n < block.columns; n += kPairColumns) {
    const Bf16* panel = block.panels + n * depth_in_panel(block.depth);
    const int64_t columns = block.columns - n;
    for_row_groups<panel_rows(N)>(count, [&](int64_t i, auto size) {
      constexpr int M = decltype(size)::value;
      const Bf16* rows[M];
      Vec<float> sum[M][N];
      float* const sums = block.sums + (chunk_row + i) * kPairBlockColumns + n;
#pragma GCC unroll 16
      for (int r = 0; r < M; ++r) {
        rows[r] = a.data + (i + r) * a.stride;
#pragma GCC unroll 16
        for (int j = 0; j < N; ++j)
          sum[r][j] = !block.first                ? load(sums + r * kPairBlockColumns + j * W)
                      : p.bias && columns > j * W ? load_first(p.bias + block.n + n + j * W, columns - j * W)
                                                  : Vec<float>{};
      }
      accumulate(sum, rows, panel, block.depth);
#pragma GCC unroll 16
      for (int r = 0; r < M; ++r)
#pragma GCC unroll 16
        for (int j = 0; j < N; ++j) {
          if (!block.last)
            store<float>(sums + r * kPairBlockColumns + j * W, sum[r][j]);
          else if (columns > j * W)
            store_c(p, m + i + r, block.n + n + j * W, sum[r][j], columns - j * W);
        }
    });
  }
}

#endif

// Few rows of A against rows of B that are contiguous in k: dot products, where packing would cost more than it saves.
void dot_products(const MatmulArgs<Bf16>& p, int64_t m_begin, int64_t m_end) {
  for (int64_t m = m_begin; m < m_end; ++m) {
    const Bf16* a = row_of(p.a, m);
    for (int64_t n = 0; n < p.N; n += kLanes) {
      const int64_t count = at_most(p.N - n, kLanes);
      const Bf16* b[kLanes];
      Vec<float> sum[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        b[i] = row_of(p.b, n + at_most(i, count - 1));
        sum[i] = Vec<float>{};
      }
      for (int64_t k = 0; k < p.K; k += 2 * kLanes) {
        const Pairs x = load_first_pairs(a + k, p.K - k);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) sum[i] = dot_pairs(x, load_first_pairs(b[i] + k, p.K - k), sum[i]);
      }
      Pairs lanes[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) lanes[i] = (Pairs)sum[i];
      transpose(lanes);
      Vec<float> total = p.bias ? load_first(p.bias + n, count) : Vec<float>{};
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) total += (Vec<float>)lanes[i];
      store_c(p, m, n, total, count);
    }
  }
}

template <class T>
void set_to_bias(const MatmulArgs<T>& p, int64_t m_begin, int64_t m_end) {
  for (int64_t m = m_begin; m < m_end; ++m)
    for (int64_t n = 0; n < p.N; n += kLanes)
      store_c(p, m, n, p.bias ? load_first(p.bias + n, p.N - n) : Vec<float>{}, p.N - n);
}

template <class T>
void pair_matmul(const MatmulArgs<T>& p, int64_t m_begin, int64_t m_end, void* scratch) {
  if (p.K == 0) return set_to_bias(p, m_begin, m_end);
  Bf16* panels = static_cast<Bf16*>(scratch);
  Bf16* packed_rows = panels + kParts<T, Bf16> * kPairBlockColumns * kPairDepth;
  float* sums = reinterpret_cast<float*>(packed_rows + kParts<T, Bf16> * kPackedSize);
  // Where no sums wait there is no need for chunks.
  const int64_t chunk = p.K > kPairDepth ? kChunkRows : m_end - m_begin;
  for (int64_t begin = m_begin; begin < m_end; begin += chunk) {
    const int64_t end = at_most(m_end, begin + chunk);
    for (int64_t n = 0; n < p.N; n += kPairBlockColumns)
      for (int64_t k = 0; k < p.K; k += kPairDepth) {
        const int64_t columns = at_most(p.N - n, kPairBlockColumns), depth = at_most(p.K - k, kPairDepth);
        pack_panels(p, n, columns, k, depth, panels);
        const PairBlock block = {n, columns, k, depth, panels, k == 0, k + depth == p.K, sums};
        for (int64_t m = begin; m < end; m += kPairBlockRows) {
          const int64_t count = at_most(end - m, kPairBlockRows);
          multiply_rows(p, block, rows_in_k(p, m, count, k, depth, packed_rows), m, count, m - begin);
        }
      }
  }
}

void matmul(const MatmulArgs<Bf16>& p, int64_t m_begin, int64_t m_end, void* scratch) {
  if (takes_dot_products(p)) return dot_products(p, m_begin, m_end);
  pair_matmul(p, m_begin, m_end, scratch);
}

void sum_rows(const RowSumArgs<Bf16>& p, int64_t c_begin, int64_t c_end) {
  for (int64_t i = 0; i < p.count; ++i) {
    const Bf16* from = p.data + i * p.stride;
    float* to = p.out + (p.index ? p.index[i] : 0) * p.out_stride;
    for (int64_t c = c_begin; c < c_end; c += kLanes)
      store_first<float>(to + c, load_first(to + c, c_end - c) + load_first(from + c, c_end - c), c_end - c);
  }
}

void narrow(const float* from, int64_t count, Bf16* to) {
  for (int64_t i = 0; i < count; i += kLanes) store_first(to + i, load_first(from + i, count - i), count - i);
}

void widen(const Bf16* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i += kLanes) store_first<float>(to + i, load_first(from + i, count - i), count - i);
}

}  // namespace
}  // namespace pyagent

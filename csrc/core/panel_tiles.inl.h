// The inner loop of products of Bf16 on AMX tiles: up to 32 rows times up to two vectors of a panel.
//
// Tiles 0 to 3 hold the sums, [row tile][vector]; 4 and 5 rows of A; 6 and 7 the panel's vectors. The panels are those
// of panel_bf16.inl.h; rows, too, have zeros up to a multiple of kTileDepth. Numbers of two parts are multiplied three
// times, low times high, high times high, high times low, so that each part is loaded once.
#pragma once

#include "core/panel_bf16.inl.h"
#include "core/tiles.h"

namespace pyagent {
namespace {

// For products of `rows` rows, 1 to 32 of them. It also zeroes every tile.
inline void configure_tile_rows(int64_t rows) {
  TileConfig config = {};
  config.palette = 1;
  const int64_t top = rows < kTileRows ? rows : kTileRows, bottom = rows > kTileRows ? rows - kTileRows : top;
  const int64_t tile_rows[8] = {top, top, bottom, bottom, top, bottom, kTileDepth / 2, kTileDepth / 2};
  for (int i = 0; i < 8; ++i) {
    config.rows[i] = static_cast<uint8_t>(tile_rows[i]);
    config.row_bytes[i] = 64;
  }
  configure_tiles(config);
}

template <int kTile>
PYAGENT_INLINE void start_tile(bool from_zero, const float* sum, int64_t stride) {
  if (from_zero)
    zero_tile<kTile>();
  else
    load_tile<kTile>(sum, stride);
}

// Keeps the processor's tiles configured for a number of rows until they are released. (Not by a destructor: what
// cleans up after exceptions is a weak symbol, which no file for one instruction set may have.)
class Tiles {
 public:
  PYAGENT_INLINE void configure(int64_t rows) {
    if (rows != rows_) configure_tile_rows(rows_ = rows);
  }
  PYAGENT_INLINE void release() {
    if (rows_ > 0) release_tiles();
  }

 private:
  int64_t rows_ = 0;
};

// Tiles kFirst and, of two, kFirst + 1.
template <int kFirst, int kCount>
PYAGENT_INLINE void load_tiles(const Bf16* from, int64_t stride) {
  load_tile<kFirst>(from, 2 * stride);
  if constexpr (kCount > 1) load_tile<kFirst + 1>(from + kTileRows * stride, 2 * stride);
}

template <int kRowTiles, int kVectors>
PYAGENT_INLINE void multiply_rows_and_vectors() {
  multiply_tiles<0, 4, 6>();
  if constexpr (kVectors > 1) multiply_tiles<1, 4, 7>();
  if constexpr (kRowTiles > 1) multiply_tiles<2, 5, 6>();
  if constexpr (kRowTiles > 1 && kVectors > 1) multiply_tiles<3, 5, 7>();
}

// sum[m][n] += A times kVectors vectors of a panel, numbers of as many parts, or from zero.
template <int kNumParts, int kRowTiles, int kVectors>
PYAGENT_INLINE void accumulate_tiles(bool from_zero, float* sum, int64_t sum_stride, PairRows a, PairRows panel,
                                     int64_t K) {
  float* const bottom = sum + kTileRows * sum_stride;
  const int64_t stride = sum_stride * 4;
  start_tile<0>(from_zero, sum, stride);
  if constexpr (kVectors > 1) start_tile<1>(from_zero, sum + kLanes, stride);
  if constexpr (kRowTiles > 1) start_tile<2>(from_zero, bottom, stride);
  if constexpr (kRowTiles > 1 && kVectors > 1) start_tile<3>(from_zero, bottom + kLanes, stride);
  for (int64_t k = 0; k < K; k += kTileDepth, a.data += a.step, panel.data += panel.step) {
    load_tiles<6, kVectors>(panel.data, panel.stride);
    if constexpr (kNumParts > 1) load_tiles<4, kRowTiles>(a.data + a.low, a.stride);
    if constexpr (kNumParts > 1) multiply_rows_and_vectors<kRowTiles, kVectors>();
    load_tiles<4, kRowTiles>(a.data, a.stride);
    multiply_rows_and_vectors<kRowTiles, kVectors>();
    if constexpr (kNumParts > 1) load_tiles<6, kVectors>(panel.data + panel.low, panel.stride);
    if constexpr (kNumParts > 1) multiply_rows_and_vectors<kRowTiles, kVectors>();
  }
  store_tile<0>(sum, stride);
  if constexpr (kVectors > 1) store_tile<1>(sum + kLanes, stride);
  if constexpr (kRowTiles > 1) store_tile<2>(bottom, stride);
  if constexpr (kRowTiles > 1 && kVectors > 1) store_tile<3>(bottom + kLanes, stride);
}

// With the tiles configured for as many rows.
template <int kNumParts, int kVectors>
PYAGENT_INLINE void accumulate_tiles(int64_t rows, bool from_zero, float* sum, int64_t sum_stride, PairRows a,
                                     PairRows panel, int64_t K) {
  if (rows > kTileRows)
    accumulate_tiles<kNumParts, 2, kVectors>(from_zero, sum, sum_stride, a, panel, K);
  else
    accumulate_tiles<kNumParts, 1, kVectors>(from_zero, sum, sum_stride, a, panel, K);
}

}  // namespace
}  // namespace pyagent

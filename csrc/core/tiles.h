// AMX: eight tiles of at most 16 rows of 64 bytes, and products of tiles of Bf16.
//
// A tile is named by a number known when compiling. With PYAGENT_EMULATE_TILES the same functions are plain C++, by the
// pseudo code of Intel's manual: for tests, which then need no such processor. The instructions are written out because
// compilers' own functions for them take no template parameters.
#pragma once

#include "core/simd.h"

namespace pyagent {
namespace {

struct TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

#if defined(PYAGENT_EMULATE_TILES)

struct Tile {
  alignas(64) uint8_t bytes[16][64];
};

TileConfig tile_config;
Tile tiles[8];

void configure_tiles(const TileConfig& config) {
  tile_config = config;
  for (Tile& tile : tiles) tile = {};
}

void release_tiles() { configure_tiles({}); }

// A use that a processor would refuse ends the program here too.
void require(bool condition) {
  if (!condition) __builtin_trap();
}

template <int kTile>
void zero_tile() {
  require(tile_config.rows[kTile] > 0);
  tiles[kTile] = {};
}

template <int kTile>
void load_tile(const void* from, int64_t stride) {
  require(tile_config.rows[kTile] > 0);
  tiles[kTile] = {};
  for (int i = 0; i < tile_config.rows[kTile]; ++i)
    __builtin_memcpy(tiles[kTile].bytes[i], static_cast<const uint8_t*>(from) + i * stride,
                     tile_config.row_bytes[kTile]);
}

template <int kTile>
void store_tile(void* to, int64_t stride) {
  require(tile_config.rows[kTile] > 0);
  for (int i = 0; i < tile_config.rows[kTile]; ++i)
    __builtin_memcpy(static_cast<uint8_t*>(to) + i * stride, tiles[kTile].bytes[i], tile_config.row_bytes[kTile]);
}

float flushed(float x) { return __builtin_fabsf(x) < __FLT_MIN__ ? __builtin_copysignf(0, x) : x; }

float element(const Tile& tile, int row, int i) {
  uint16_t half;
  __builtin_memcpy(&half, &tile.bytes[row][2 * i], sizeof(half));
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float x;
  __builtin_memcpy(&x, &bits, sizeof(x));
  return flushed(x);
}

template <int kSum, int kA, int kB>
void multiply_tiles() {
  const TileConfig& is = tile_config;
  require(is.rows[kSum] == is.rows[kA] && is.row_bytes[kSum] == is.row_bytes[kB] &&
          is.row_bytes[kA] == 4 * is.rows[kB]);
  for (int m = 0; m < is.rows[kSum]; ++m)
    for (int n = 0; n < is.row_bytes[kSum] / 4; ++n) {
      float even = 0, odd = 0, sum;
      for (int k = 0; k < is.rows[kB]; ++k) {
        const Tile &a = tiles[kA], &b = tiles[kB];
        even = flushed(__builtin_fmaf(element(a, m, 2 * k), element(b, k, 2 * n), even));
        odd = flushed(__builtin_fmaf(element(a, m, 2 * k + 1), element(b, k, 2 * n + 1), odd));
      }
      __builtin_memcpy(&sum, &tiles[kSum].bytes[m][4 * n], sizeof(sum));
      sum = flushed(flushed(sum) + flushed(even + odd));
      __builtin_memcpy(&tiles[kSum].bytes[m][4 * n], &sum, sizeof(sum));
    }
}

#else

PYAGENT_INLINE void configure_tiles(const TileConfig& config) { __asm__ volatile("ldtilecfg %0" : : "m"(config)); }

PYAGENT_INLINE void release_tiles() { __asm__ volatile("tilerelease"); }

template <int kTile>
PYAGENT_INLINE void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

template <int kTile>
PYAGENT_INLINE void load_tile(const void* from, int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}

template <int kTile>
PYAGENT_INLINE void store_tile(void* to, int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}

// sum[m][n] += sum_k a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1].
template <int kSum, int kA, int kB>
PYAGENT_INLINE void multiply_tiles() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
}

#endif

}  // namespace
}  // namespace pyagent

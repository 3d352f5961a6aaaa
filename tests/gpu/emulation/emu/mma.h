// The tensor-core instruction that kernels use as inline assembly; `mma.h` has the one of nvcuda::wmma.
#pragma once

#include "emu/collectives.h"

namespace emu {

// Of the two bfloat16 in a register.
inline float bf16_of(unsigned bits, int upper) {
  const unsigned float_bits = upper ? bits & 0xffff0000u : bits << 16;
  float x;
  std::memcpy(&x, &float_bits, sizeof x);
  return x;
}

// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32, d += a b, with the layout of fragments as the PTX manual has it:
// lane 4 g + t holds rows g and g + 8 of a and d, and column g of b.
inline void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  struct Operands {
    unsigned a[4], b[2];
  } mine;
  std::memcpy(mine.a, a, sizeof mine.a);
  std::memcpy(mine.b, b, sizeof mine.b);
  const auto lanes = exchange(mine, "mma.sync");
  const int lane = this_thread().rank & 31, group = lane >> 2, in_group = lane & 3;
  for (int i = 0; i < 4; ++i) {
    const int row = group + (i >> 1) * 8, column = 2 * in_group + (i & 1);
    float sum = d[i];
    for (int k = 0; k < 16; ++k) {
      const int holder = (k & 7) / 2, half = k >> 3;
      const float x = bf16_of(lanes[(row & 7) * 4 + holder].a[(row >> 3) + 2 * half], k & 1);
      sum += x * bf16_of(lanes[column * 4 + holder].b[half], k & 1);
    }
    d[i] = sum;
  }
  done_exchanging("mma.sync");
}

}  // namespace emu

// nvcuda::wmma. Which lane holds which element is the hardware's secret; here element i of a fragment is in lane i
// % 32.
#pragma once

#include <cuda_runtime.h>

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int kM, int kN, int kK, class T, class Layout = void>
struct fragment {
  static constexpr int kRows = std::is_same_v<Use, matrix_b> ? kK : kM;
  static constexpr int kColumns = std::is_same_v<Use, matrix_a> ? kK : kN;
  static constexpr int num_elements = kRows * kColumns / 32;
  T x[num_elements];
};

// f(number in the lane, row, column) for the elements that the caller holds.
template <class Fragment, class F>
void for_own_elements(const F& f) {
  const int lane = emu::this_thread().rank & 31;
  for (int e = 0; e < Fragment::num_elements; ++e) {
    const int i = e * 32 + lane;
    f(e, i / Fragment::kColumns, i % Fragment::kColumns);
  }
}

template <class Fragment, class T>
void fill_fragment(Fragment& fragment, T value) {
  for (auto& element : fragment.x) element = value;
}

template <class Use, int kM, int kN, int kK, class T, class Layout>
void load_matrix_sync(fragment<Use, kM, kN, kK, T, Layout>& f, const T* from, unsigned stride) {
  for_own_elements<fragment<Use, kM, kN, kK, T, Layout>>([&](int e, int row, int column) {
    f.x[e] = std::is_same_v<Layout, col_major> ? from[column * stride + row] : from[row * stride + column];
  });
  emu::done_exchanging("wmma.load");
}

template <class T, class Fragment>
void store_matrix_sync(T* to, const Fragment& f, unsigned stride, layout_t layout) {
  for_own_elements<Fragment>([&](int e, int row, int column) {
    to[layout == mem_col_major ? column * stride + row : row * stride + column] = f.x[e];
  });
  emu::done_exchanging("wmma.store");
}

template <class D, class A, class B, class C>
void mma_sync(D& d, const A& a, const B& b, const C& c) {
  struct Operands {
    A a;
    B b;
  } mine{a, b};
  const auto lanes = emu::exchange(mine, "wmma.mma");
  D result;
  for_own_elements<D>([&](int e, int row, int column) {
    float sum = c.x[e];
    for (int k = 0; k < A::kColumns; ++k) {
      const int ia = row * A::kColumns + k, ib = k * B::kColumns + column;
      sum += static_cast<float>(lanes[ia & 31].a.x[ia >> 5]) * static_cast<float>(lanes[ib & 31].b.x[ib >> 5]);
    }
    result.x[e] = sum;
  });
  emu::done_exchanging("wmma.mma");
  d = result;
}

}  // namespace nvcuda::wmma

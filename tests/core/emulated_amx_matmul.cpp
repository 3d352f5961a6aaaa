// Products of the amx target on emulated tiles, for test_matmul_bf16.py.
#include "emulated_amx.h"

using namespace pyagent;

struct Case {
  int64_t M, N, K, a_transposed, b_transposed, has_bias, rounded, by_rows, split, of_floats;
};

template <class T>
MatrixRows<T> rows_of(const std::vector<T>& matrix, int64_t stride, std::vector<const T*>& rows, bool by_rows) {
  if (!by_rows) return {matrix.data(), stride, nullptr};
  for (size_t at = 0; at < matrix.size(); at += stride) rows.push_back(matrix.data() + at);
  return {nullptr, 0, rows.data()};
}

void write_to(MatmulArgs<float>& p, float* c, Bf16*) { p.c = c; }
void write_to(MatmulArgs<Bf16>& p, float* c, Bf16* rounded_c) { p.c = c, p.rounded_c = rounded_c; }

template <class T>
void run(const SequenceKernels<T>& kernels, const Case& x) {
  const auto a = read<T>(x.M * x.K), b = read<T>(x.K * x.N);
  const auto bias = read<float>(x.has_bias ? x.N : 0);
  std::vector<const T*> a_rows, b_rows;
  std::vector<float> c(x.rounded ? 0 : x.M * x.N);
  std::vector<Bf16> rounded_c(x.rounded ? x.M * x.N : 0);
  MatmulArgs<T> p{};
  p.M = x.M, p.N = x.N, p.K = x.K;
  p.a_transposed = x.a_transposed, p.b_transposed = x.b_transposed;
  p.a = rows_of(a, x.a_transposed ? x.M : x.K, a_rows, x.by_rows);
  p.b = rows_of(b, x.b_transposed ? x.K : x.N, b_rows, x.by_rows);
  p.bias = x.has_bias ? bias.data() : nullptr;
  write_to(p, x.rounded ? nullptr : c.data(), x.rounded ? rounded_c.data() : nullptr);
  p.c_stride = x.N;
  void* scratch = std::aligned_alloc(64, (kernels.matmul_scratch_bytes(p) + 63) / 64 * 64);
  kernels.matmul(p, 0, x.split, scratch);
  kernels.matmul(p, x.split, x.M, scratch);
  std::free(scratch);
  write(c), write(rounded_c);
}

int main() {
  Case x;
  while (std::fread(&x, sizeof(x), 1, stdin) == 1)
    if (x.of_floats)
      run<float>(*kAmx.split, x);
    else
      run<Bf16>(kAmx.bf16, x);
}

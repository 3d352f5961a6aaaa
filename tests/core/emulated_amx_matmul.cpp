// Products of the amx target on emulated tiles, for test_matmul_bf16.py.
#include "emulated_amx.h"

using namespace pyagent;

struct Case {
  int64_t M, N, K, a_transposed, b_transposed, has_bias, rounded, by_rows, split, of_floats;
};

// `columns` is the size of a contiguous row. Floats are split into Bf16 three times as deep.
std::vector<Bf16> read_operand(const Case& x, int64_t rows, int64_t columns, bool k_outside, bool second) {
  if (!x.of_floats) return read<Bf16>(rows * columns);
  const auto floats = read<float>(rows * columns);
  std::vector<Bf16> parts(3 * rows * columns);
  kAmx.bf16.split({floats.data(), columns, nullptr}, rows, columns, k_outside, second, parts.data(), 0, rows);
  return parts;
}

MatrixRows<Bf16> rows_of(const std::vector<Bf16>& matrix, int64_t stride, std::vector<const Bf16*>& rows,
                         bool by_rows) {
  if (!by_rows) return {matrix.data(), stride, nullptr};
  for (size_t at = 0; at < matrix.size(); at += stride) rows.push_back(matrix.data() + at);
  return {nullptr, 0, rows.data()};
}

int main() {
  Case x;
  while (std::fread(&x, sizeof(x), 1, stdin) == 1) {
    const auto a = x.a_transposed ? read_operand(x, x.K, x.M, true, false) : read_operand(x, x.M, x.K, false, false);
    const auto b = x.b_transposed ? read_operand(x, x.N, x.K, false, true) : read_operand(x, x.K, x.N, true, true);
    if (x.of_floats) x.K *= 3;
    const auto bias = read<float>(x.has_bias ? x.N : 0);
    std::vector<const Bf16*> a_rows, b_rows;
    std::vector<float> c(x.rounded ? 0 : x.M * x.N);
    std::vector<Bf16> rounded_c(x.rounded ? x.M * x.N : 0);
    MatmulArgs<Bf16> p{};
    p.M = x.M, p.N = x.N, p.K = x.K;
    p.a_transposed = x.a_transposed, p.b_transposed = x.b_transposed;
    p.a = rows_of(a, x.a_transposed ? x.M : x.K, a_rows, x.by_rows);
    p.b = rows_of(b, x.b_transposed ? x.K : x.N, b_rows, x.by_rows);
    p.bias = x.has_bias ? bias.data() : nullptr;
    p.c = x.rounded ? nullptr : c.data(), p.rounded_c = x.rounded ? rounded_c.data() : nullptr;
    p.c_stride = x.N;
    void* scratch = std::aligned_alloc(64, (kAmx.bf16.matmul_scratch_bytes(p) + 63) / 64 * 64);
    kAmx.bf16.matmul(p, 0, x.split, scratch);
    kAmx.bf16.matmul(p, x.split, x.M, scratch);
    std::free(scratch);
    write(c), write(rounded_c);
  }
}

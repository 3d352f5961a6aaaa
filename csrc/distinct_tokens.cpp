// torch op that finds the distinct tokens of a batch (pyagent/ops/distinct_tokens.py has the contract).
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "tensors.h"

namespace pyagent {
namespace {

// Up to this many vocabulary entries a token, marking them in a table is quicker than sorting the tokens.
constexpr int64_t kTablePerToken = 32;

// Both write the distinct tokens in order, and where each token stands among them; they return how many there are.
int64_t by_table(const int64_t* token, int64_t count, int64_t num_embeddings, int64_t* id, int64_t* row) {
  std::vector<int64_t> row_of(static_cast<size_t>(num_embeddings), -1);
  for (int64_t i = 0; i < count; ++i) row_of[static_cast<size_t>(token[i])] = 0;
  int64_t rows = 0;
  for (int64_t v = 0; v < num_embeddings; ++v) {
    if (row_of[static_cast<size_t>(v)] < 0) continue;
    id[rows] = v;
    row_of[static_cast<size_t>(v)] = rows++;
  }
  for (int64_t i = 0; i < count; ++i) row[i] = row_of[static_cast<size_t>(token[i])];
  return rows;
}

int64_t by_sorting(const int64_t* token, int64_t count, int64_t* id, int64_t* row) {
  std::vector<int64_t> sorted(token, token + count);
  std::sort(sorted.begin(), sorted.end());
  const int64_t rows = std::unique(sorted.begin(), sorted.end()) - sorted.begin();
  std::copy_n(sorted.begin(), rows, id);
  for (int64_t i = 0; i < count; ++i) row[i] = std::lower_bound(id, id + rows, token[i]) - id;
  return rows;
}

std::tuple<Tensor, Tensor, Tensor> distinct_tokens(const Tensor& tokens, int64_t num_embeddings) {
  STD_TORCH_CHECK(tokens.dim() == 2, "tokens: got ", tokens.dim(), " dimensions, want 2");
  STD_TORCH_CHECK(num_embeddings >= 0, "num_embeddings: got ", num_embeddings, ", want 0 or more");
  const int64_t T = tokens.size(0), B = tokens.size(1), count = T * B, most = std::min(num_embeddings, count);
  const Argument<int64_t> held("tokens", tokens, {T, B});
  const int64_t* token = held.get();
  check_range("tokens", token, count, 0, num_embeddings - 1);
  Tensor ids = new_tensor<int64_t>({most}), row_index = new_tensor<int64_t>({T, B}), found = new_tensor<int64_t>({});

  int64_t *id = data<int64_t>(ids), *row = data<int64_t>(row_index);
  const int64_t rows = num_embeddings <= kTablePerToken * count ? by_table(token, count, num_embeddings, id, row)
                                                                : by_sorting(token, count, id, row);
  std::fill(id + rows, id + most, int64_t{0});
  *data<int64_t>(found) = rows;
  return {ids, row_index, found};
}

}  // namespace
}  // namespace pyagent

STABLE_TORCH_LIBRARY_FRAGMENT(pyagent, m) {
  m.def("distinct_tokens(Tensor tokens, SymInt num_embeddings) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(pyagent, CPU, m) { m.impl("distinct_tokens", TORCH_BOX(&pyagent::distinct_tokens)); }

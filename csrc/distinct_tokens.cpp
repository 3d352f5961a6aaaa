// torch op that finds the distinct tokens of a batch (pyagent/ops/distinct_tokens.py has the contract).
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <tuple>

#include "distinct_tokens.h"
#include "tensors.h"

namespace pyagent {
namespace {

std::tuple<Tensor, Tensor, Tensor> distinct_tokens(const Tensor& tokens, int64_t num_embeddings) {
  STD_TORCH_CHECK(tokens.dim() == 2, "tokens: got ", tokens.dim(), " dimensions, want 2");
  STD_TORCH_CHECK(num_embeddings >= 0, "num_embeddings: got ", num_embeddings, ", want 0 or more");
  const int64_t T = tokens.size(0), B = tokens.size(1), count = T * B, most = std::min(num_embeddings, count);
  const Argument<int64_t> held("tokens", tokens, {T, B});
  const int64_t* token = held.get();
  check_range("tokens", token, count, 0, num_embeddings - 1);
  Tensor ids = new_tensor<int64_t>({most}), row_index = new_tensor<int64_t>({T, B}), found = new_tensor<int64_t>({});

  int64_t *id = data<int64_t>(ids), *row = data<int64_t>(row_index);
  const int64_t rows = find_distinct(token, count, num_embeddings, id, row);
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

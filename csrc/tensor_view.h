// A strided CPU tensor that somebody else holds, wherever it came from.
#pragma once

#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>
#include <initializer_list>

namespace pyagent {

struct TensorView {
  const void* data;
  int64_t dim;
  const int64_t *sizes, *strides;
  torch::headeronly::ScalarType dtype;

  bool is_contiguous() const {
    int64_t stride = 1;
    bool dense = data != nullptr;
    for (int64_t i = dim - 1; i >= 0; --i) {
      if (sizes[i] == 0) return true;
      dense = dense && (strides[i] == stride || sizes[i] == 1);
      stride *= sizes[i];
    }
    return dense;
  }

  // Contiguous, of this dtype and shape.
  bool is(torch::headeronly::ScalarType wanted, std::initializer_list<int64_t> shape) const {
    if (dtype != wanted || dim != static_cast<int64_t>(shape.size())) return false;
    for (int64_t i = 0; i < dim; ++i)
      if (sizes[i] != shape.begin()[i]) return false;
    return is_contiguous();
  }
};

}  // namespace pyagent

#define PYAGENT_VECTOR_BYTES 32
#define PYAGENT_VECTOR_REGISTERS 16
#include "core/targets/target.inl.h"

namespace pyagent {
static constexpr FloatKernels kFloats = float_kernels();
const Target kAvx2 = {"avx2", &kFloats, bf16_kernels(), nullptr};
}  // namespace pyagent

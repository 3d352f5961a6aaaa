#define PYAGENT_VECTOR_BYTES 64
#define PYAGENT_VECTOR_REGISTERS 32
#include "core/targets/target.inl.h"

namespace pyagent {
const FloatKernels kAvx512Floats = float_kernels();
const Target kAvx512 = {"avx512", &kAvx512Floats, bf16_kernels(), nullptr};
}  // namespace pyagent

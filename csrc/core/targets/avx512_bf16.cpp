#define PYAGENT_VECTOR_BYTES 64
#define PYAGENT_VECTOR_REGISTERS 32
#include "core/targets/target_bf16.inl.h"

namespace pyagent {
const Target kAvx512Bf16 = {"avx512_bf16", &kAvx512Floats, bf16_kernels(), nullptr};
}

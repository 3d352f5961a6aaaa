#define PYAGENT_VECTOR_BYTES 64
#define PYAGENT_VECTOR_REGISTERS 32
#define PYAGENT_TILES
#include "core/targets/target_bf16.inl.h"

namespace pyagent {
static constexpr SequenceKernels<float> kSplit = sequence_kernels<float, Bf16>();
const Target kAmx = {"amx", &kAvx512Floats, bf16_kernels(), &kSplit};
}  // namespace pyagent

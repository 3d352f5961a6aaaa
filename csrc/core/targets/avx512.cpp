#define PYAGENT_VECTOR_BYTES 64
#define PYAGENT_VECTOR_REGISTERS 32
#include "core/targets/target.inl.h"

namespace pyagent {
const Target kAvx512 = {"avx512", kernels_of<float>(), kernels_of<double>()};
}

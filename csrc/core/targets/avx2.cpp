#define PYAGENT_VECTOR_BYTES 32
#define PYAGENT_VECTOR_REGISTERS 16
#include "core/targets/target.inl.h"

namespace pyagent {
const Target kAvx2 = {"avx2", kernels_of<float>(), kernels_of<double>()};
}

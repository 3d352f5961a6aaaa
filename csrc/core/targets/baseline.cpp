#define PYAGENT_VECTOR_BYTES 16
#define PYAGENT_VECTOR_REGISTERS 16
#include "core/targets/target.inl.h"

namespace pyagent {
const Target kBaseline = {"baseline", kernels_of<float>(), kernels_of<double>()};
}

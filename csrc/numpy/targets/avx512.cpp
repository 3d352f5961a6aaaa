#include "numpy/table_kernels.inl.h"

namespace pyagent {
const TableTarget kTableAvx512 = table_target_of();
}

#include "numpy/table_kernels.inl.h"

namespace pyagent {
const TableTarget kTableAvx2 = table_target_of();
}

#include "numpy/table_kernels.inl.h"

namespace pyagent {
const TableTarget kTableBaseline = table_target_of();
}

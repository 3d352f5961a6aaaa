#include <cstdlib>
#include <cstring>

#include "numpy/table_kernels.h"

namespace pyagent {

static const TableTarget& choose() {
#if defined(__x86_64__)
  // The core refuses names that there are not, and sets that this processor does not have.
  const char* const forced = std::getenv("PYAGENT_CPU_ISA");
  const auto is_forced = [forced](const char* isa) { return forced != nullptr && std::strcmp(forced, isa) == 0; };
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && !is_forced("baseline");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && !is_forced("avx2");
  if (avx512) return kTableAvx512;
  if (avx2) return kTableAvx2;
#endif
  return kTableBaseline;
}

const TableTarget& table_target() {
  static const TableTarget& chosen = choose();
  return chosen;
}

}  // namespace pyagent

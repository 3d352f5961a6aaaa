#include "core/dispatch.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace pyagent {

const Target* const* all_targets(int* count) {
#if defined(__x86_64__)
  static const Target* const kAll[] = {&kAvx512, &kAvx2, &kBaseline};
#else
  static const Target* const kAll[] = {&kBaseline};
#endif
  *count = sizeof(kAll) / sizeof(kAll[0]);
  return kAll;
}

bool supported(const Target& target) {
#if defined(__x86_64__)
  // The compiler's run-time also asks the operating system whether it saves the wide registers.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (&target == &kAvx2) return avx2;
  if (&target == &kAvx512)
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
  return &target == &kBaseline;
}

static const Target& choose() {
  int count;
  const Target* const* all = all_targets(&count);
  const char* forced = std::getenv("PYAGENT_CPU_ISA");
  if (forced == nullptr || *forced == '\0') {
    for (int i = 0; i < count; ++i)
      if (supported(*all[i])) return *all[i];
  } else {
    std::string names;
    for (int i = 0; i < count; ++i) {
      if (std::strcmp(all[i]->isa, forced) != 0) {
        names += std::string(names.empty() ? "" : ", ") + all[i]->isa;
        continue;
      }
      if (supported(*all[i])) return *all[i];
      throw std::runtime_error(std::string("PYAGENT_CPU_ISA: this processor has no ") + forced);
    }
    throw std::runtime_error(std::string("PYAGENT_CPU_ISA: got ") + forced + ", want one of " + names);
  }
  return kBaseline;
}

const Target& target() {
  static const Target& chosen = choose();
  return chosen;
}

template <>
const Kernels<float>& kernels<float>() {
  return target().f32;
}

template <>
const Kernels<double>& kernels<double>() {
  return target().f64;
}

}  // namespace pyagent

#include "core/dispatch.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pyagent {

const Target* const* all_targets(int* count) {
#if defined(__x86_64__)
  static const Target* const kAll[] = {&kAmx, &kAvx512Bf16, &kAvx512, &kAvx2, &kBaseline};
#else
  static const Target* const kAll[] = {&kBaseline};
#endif
  *count = sizeof(kAll) / sizeof(kAll[0]);
  return kAll;
}

#if defined(__x86_64__)
// Whether the processor multiplies tiles of Bf16, the operating system saves them, and the kernel lets this process
// have them, which it has to be asked for, once.
static bool has_tiles() {
#if defined(__linux__)
  constexpr unsigned kTilesOfBf16 = 1u << 22 | 1u << 24, kTileState = 1u << 17 | 1u << 18, kOsSavesState = 1u << 27;
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kOsSavesState)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTilesOfBf16) != kTilesOfBf16) return false;
  __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  if ((a & kTileState) != kTileState) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  static const bool permitted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return permitted;
#else
  return false;
#endif
}
#endif

bool supported(const Target& target) {
#if defined(__x86_64__)
  // The compiler's run-time also asks the operating system whether it saves the wide registers.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (&target == &kAvx2) return avx2;
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (&target == &kAvx512) return avx512;
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  if (&target == &kAvx512Bf16) return bf16;
  if (&target == &kAmx) return bf16 && has_tiles();
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
  return target().floats->f32;
}

template <>
const Kernels<double>& kernels<double>() {
  return target().floats->f64;
}

template <>
const Kernels<Bf16>& kernels<Bf16>() {
  return target().bf16;
}

}  // namespace pyagent

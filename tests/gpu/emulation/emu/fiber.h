// A stack of its own for every thread of the device, and the switch between two of them (x86-64, Unix).
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#define EMU_TSAN 1
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
// On each function of the emulation itself: ThreadSanitizer is to see what kernels do, and not how they are emulated.
#define EMU_INTERNAL __attribute__((no_sanitize("thread"), noinline))
#else
#define EMU_INTERNAL
#endif

extern "C" void emu_swap(void** save_stack_pointer, void* load_stack_pointer);
asm(R"(
.weak emu_swap
.type emu_swap,@function
emu_swap:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace emu {

constexpr int kSavedRegisters = 6;

// While one lives, ThreadSanitizer ignores the loads and stores of this thread: those inlined from the standard library
// are not covered by EMU_INTERNAL.
struct Hidden {
#ifdef EMU_TSAN
  Hidden() {
    AnnotateIgnoreReadsBegin("", 0);
    AnnotateIgnoreWritesBegin("", 0);
  }
  ~Hidden() {
    AnnotateIgnoreReadsEnd("", 0);
    AnnotateIgnoreWritesEnd("", 0);
  }
#else
  Hidden() {}  // not trivial, so that it counts as used
#endif
};

// "What this thread has done, whoever acquires the same place later has seen."
inline void release([[maybe_unused]] void* place) {
#ifdef EMU_TSAN
  __tsan_release(place);
#endif
}

inline void acquire([[maybe_unused]] void* place) {
#ifdef EMU_TSAN
  __tsan_acquire(place);
#endif
}

struct Context {
  void* stack_pointer = nullptr;
  char* stack = nullptr;  // the scheduler's is the process's own
  size_t stack_size = 0;
#ifdef EMU_TSAN
  void* tsan = nullptr;
#endif
#ifdef EMU_ASAN
  void* fake_stack = nullptr;
#endif
};

// Sanitizers make frames larger.
constexpr size_t kStackSize =
#if defined(EMU_ASAN)
    4 *
#endif
    65536;

// Stacks that threads have left. What their frames poisoned for AddressSanitizer, nobody has cleared; ThreadSanitizer
// would see races between one thread's frames and the next one's, so there each has a new stack.
inline std::vector<char*> free_stacks;

EMU_INTERNAL inline char* take_stack() {
  if (free_stacks.empty()) {
    return static_cast<char*>(
        mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  char* stack = free_stacks.back();
  free_stacks.pop_back();
#ifdef EMU_ASAN
  __asan_unpoison_memory_region(stack, kStackSize);
#endif
  return stack;
}

EMU_INTERNAL inline void create_context(Context& context, void (*entry)()) {
  context.stack = take_stack();
  context.stack_size = kStackSize;
  void** top = reinterpret_cast<void**>(context.stack + kStackSize - 64);
  *--top = nullptr;  // the address that `entry` would return to, and that aligns its frame
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < kSavedRegisters; ++i) *--top = nullptr;
  context.stack_pointer = top;
#ifdef EMU_TSAN
  context.tsan = __tsan_create_fiber(0);
#endif
}

EMU_INTERNAL inline void destroy_context(Context& context) {
#ifdef EMU_TSAN
  __tsan_destroy_fiber(context.tsan);
  munmap(context.stack, kStackSize);
#else
  free_stacks.push_back(context.stack);
#endif
}

EMU_INTERNAL inline void adopt_this_thread([[maybe_unused]] Context& context) {
#ifdef EMU_TSAN
  context.tsan = __tsan_get_current_fiber();
#endif
}

EMU_INTERNAL inline void switch_context(Context& from, Context& to, [[maybe_unused]] bool from_ends = false) {
#ifdef EMU_TSAN
  __tsan_switch_to_fiber(to.tsan, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef EMU_ASAN
  __sanitizer_start_switch_fiber(from_ends ? nullptr : &from.fake_stack, to.stack, to.stack_size);
#endif
  emu_swap(&from.stack_pointer, to.stack_pointer);
#ifdef EMU_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

// First thing in a new context: tells AddressSanitizer so, and learns from it where the stack of `from` lies.
EMU_INTERNAL inline void entered_from([[maybe_unused]] Context& from) {
#ifdef EMU_ASAN
  const void* stack = nullptr;
  __sanitizer_finish_switch_fiber(nullptr, &stack, &from.stack_size);
  from.stack = static_cast<char*>(const_cast<void*>(stack));
#endif
}

}  // namespace emu

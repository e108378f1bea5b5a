#include <kernels/simt/fibre.hpp>

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define RAPT_ASAN_FIBRES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RAPT_ASAN_FIBRES 1
#endif
#endif
#ifdef RAPT_ASAN_FIBRES
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Saves what the System V ABI lets a callee keep, exchanges stacks and takes the other side's registers back. swapcontext would also ask the kernel
// for the signal mask, at fifty times the cost.
extern "C" void rapt_simt_switch(void** save_stack_pointer, void* load_stack_pointer);
asm(R"(
.text
.type rapt_simt_switch, @function
rapt_simt_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size rapt_simt_switch, .-rapt_simt_switch
)");

namespace rapt {
inline namespace v0 {
namespace simt {
namespace emulator {
namespace {

constexpr std::size_t stack_bytes = 256 * 1024;  // frames of kernels under AddressSanitizer are some tens of KiB

thread_local fibre* left = nullptr;  // who switched last

}  // namespace

void fibre::start(void (*entry)()) {
  if (!stack_) stack_.reset(new std::byte[stack_bytes]);
  bottom_ = stack_.get();
  size_ = stack_bytes;
  shadow_ = nullptr;
#ifdef RAPT_ASAN_FIBRES
  __asan_unpoison_memory_region(bottom_, size_);
#endif
  std::byte* const end = stack_.get() + stack_bytes;
  auto** frame = reinterpret_cast<void**>(end - reinterpret_cast<std::uintptr_t>(end) % 16);
  // As after a call: the word above the entry's address is where it would return to.
  *--frame = nullptr;
  *--frame = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--frame = nullptr;
  stack_pointer_ = frame;
}

void fibre::switch_to(fibre& to) {
  left = this;
#ifdef RAPT_ASAN_FIBRES
  __sanitizer_start_switch_fiber(&shadow_, to.bottom_, to.size_);
#endif
  rapt_simt_switch(&stack_pointer_, to.stack_pointer_);
#ifdef RAPT_ASAN_FIBRES
  __sanitizer_finish_switch_fiber(shadow_, &left->bottom_, &left->size_);
#endif
}

void fibre::entered() {
#ifdef RAPT_ASAN_FIBRES
  __sanitizer_finish_switch_fiber(nullptr, &left->bottom_, &left->size_);
#endif
}

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt

#include <kernels/simt/fibre.hpp>

#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define RAPT_ASAN_FIBRES 1
#elif defined(__SANITIZE_THREAD__)
#define RAPT_TSAN_FIBRES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RAPT_ASAN_FIBRES 1
#elif __has_feature(thread_sanitizer)
#define RAPT_TSAN_FIBRES 1
#endif
#endif
#ifdef RAPT_ASAN_FIBRES
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef RAPT_TSAN_FIBRES
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
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

fibre::~fibre() { forget(); }

void fibre::forget() {
#ifdef RAPT_TSAN_FIBRES
  if (stack_) __tsan_destroy_fiber(tsan_fibre_);
#endif
}

void fibre::start(void (*entry)()) {
  forget();
#ifdef RAPT_TSAN_FIBRES
  // A new one each time: the old one's calls have never returned.
  tsan_fibre_ = __tsan_create_fiber(0);
#endif
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

// It is in the middle of this that another fibre runs, to ThreadSanitizer.
__attribute__((no_sanitize("thread"))) void fibre::switch_to(fibre& to) {
  left = this;
#ifdef RAPT_ASAN_FIBRES
  __sanitizer_start_switch_fiber(&shadow_, to.bottom_, to.size_);
#endif
#ifdef RAPT_TSAN_FIBRES
  if (!stack_) tsan_fibre_ = __tsan_get_current_fiber();
#endif
  void* const there = to.stack_pointer_;
#ifdef RAPT_TSAN_FIBRES
  __tsan_switch_to_fiber(to.tsan_fibre_, __tsan_switch_to_fiber_no_sync);
#endif
  rapt_simt_switch(&stack_pointer_, there);
#ifdef RAPT_ASAN_FIBRES
  __sanitizer_finish_switch_fiber(shadow_, &left->bottom_, &left->size_);
#endif
}

void fibre::entered() {
#ifdef RAPT_ASAN_FIBRES
  __sanitizer_finish_switch_fiber(nullptr, &left->bottom_, &left->size_);
#endif
}

#ifdef RAPT_TSAN_FIBRES
void release(const void* address) { __tsan_release(const_cast<void*>(address)); }
void acquire(const void* address) { __tsan_acquire(const_cast<void*>(address)); }
unseen::unseen() {
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
unseen::~unseen() {
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
looked_at::looked_at() {
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
looked_at::~looked_at() {
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
#else
void release(const void*) {}
void acquire(const void*) {}
unseen::unseen() = default;
unseen::~unseen() = default;
looked_at::looked_at() = default;
looked_at::~looked_at() = default;
#endif

}  // namespace emulator
}  // namespace simt
}  // namespace v0
}  // namespace rapt

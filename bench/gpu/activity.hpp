// What a device did while somebody looked, as CUPTI saw it: kernels, copies and fills, and how often the host waited for it.
//
// CUPTI is loaded where it is there (a CUDA toolkit, or beside PyTorch: LD_LIBRARY_PATH), so that a program runs without it.
#pragma once
#if __has_include(<cupti.h>)
#include <cupti.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#endif

namespace rapt_bench {

struct activity {
  long long kernels = 0, copies = 0, waits = 0;
};

#if __has_include(<cupti.h>)
/// One at a time: CUPTI hands its records to functions without an argument.
class activity_watch {
 public:
  /// Null where CUPTI is not there, or does not work here.
  static std::unique_ptr<activity_watch> begin() {
    std::unique_ptr<activity_watch> watch(new activity_watch);
    return watch->starts() ? std::move(watch) : nullptr;
  }
  /// No longer looks. The device is still to do what it was given; count() is complete after that and finish().
  void end() {
    for (const CUpti_ActivityKind kind : kinds) disable_(kind);
  }
  activity finish() {
    flush_(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    return seen;
  }
  ~activity_watch() {
    if (library_ != nullptr) dlclose(library_);
  }

 private:
  static constexpr CUpti_ActivityKind kinds[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMCPY2,
                                                 CUPTI_ACTIVITY_KIND_MEMSET, CUPTI_ACTIVITY_KIND_SYNCHRONIZATION};

  activity_watch() = default;
  bool starts() {
    for (const char* const name : {"libcupti.so.13", "libcupti.so"})
      if (library_ == nullptr) library_ = dlopen(name, RTLD_NOW);
    if (library_ == nullptr) return false;
    find(register_, "cuptiActivityRegisterCallbacks"), find(enable_, "cuptiActivityEnable"), find(disable_, "cuptiActivityDisable");
    find(flush_, "cuptiActivityFlushAll"), find(next_, "cuptiActivityGetNextRecord");
    if (register_ == nullptr || enable_ == nullptr || disable_ == nullptr || flush_ == nullptr || next_ == nullptr) return false;
    seen = {};
    bool works = register_(give_buffer, take_buffer) == CUPTI_SUCCESS;
    for (const CUpti_ActivityKind kind : kinds) works = works && enable_(kind) == CUPTI_SUCCESS;
    return works;
  }
  template <class F>
  void find(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(library_, name));
  }

  static void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* size, std::size_t* max_records) {
    *size = std::size_t{1} << 20, *max_records = 0;
    *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, *size));
  }
  static void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t bytes) {
    for (CUpti_Activity* record = nullptr; next_(buffer, bytes, &record) == CUPTI_SUCCESS;) {
      if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL)
        ++seen.kernels;
      else if (record->kind == CUPTI_ACTIVITY_KIND_SYNCHRONIZATION)
        ++seen.waits;
      else
        ++seen.copies;
    }
    std::free(buffer);
  }

  void* library_ = nullptr;
  decltype(&cuptiActivityRegisterCallbacks) register_ = nullptr;
  decltype(&cuptiActivityEnable) enable_ = nullptr;
  decltype(&cuptiActivityDisable) disable_ = nullptr;
  decltype(&cuptiActivityFlushAll) flush_ = nullptr;
  static inline decltype(&cuptiActivityGetNextRecord) next_ = nullptr;
  static inline activity seen;
};
#endif

}  // namespace rapt_bench

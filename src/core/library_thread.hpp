// How the library starts threads of its own.
#pragma once
#include <rapt/version.hpp>

#include <pthread.h>
#include <signal.h>

#include <initializer_list>

namespace rapt {
inline namespace v0 {
namespace detail {

/// pthread_create, with its result: a thread that the system does not give is an ordinary result to callers, who do the work themselves. Signals
/// meant for the program are handled by its own threads; faults and the profiler's clock belong to the thread that they happen on.
inline int start_library_thread(pthread_t* thread, void* (*main)(void*), void* arg) {
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) sigdelset(&blocked, own);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const int refusal = pthread_create(thread, nullptr, main, arg);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return refusal;
}

}  // namespace detail
}  // namespace v0
}  // namespace rapt

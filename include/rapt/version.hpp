// Version and symbol visibility. Every public header includes this first.
#pragma once

#define RAPT_VERSION_MAJOR 0
#define RAPT_VERSION_MINOR 1
#define RAPT_VERSION_PATCH 0
#define RAPT_VERSION_STRING "0.1.0"

#if defined(RAPT_SHARED)
#define RAPT_API __attribute__((visibility("default")))
#else
#define RAPT_API
#endif

#if !defined(__linux__) || !defined(__x86_64__)
#error "rapt supports Linux on x86-64; other platforms are not built or tested yet"
#endif

// Errors of the functions that programs in Python call: nonzero, and a text that last_error() has.
#pragma once
#include <exception>
#include <string>

namespace rapt_bench {

inline std::string error;

template <class F>
int guarded(F f) {
  try {
    f();
    return 0;
  } catch (const std::exception& e) {
    error = e.what();
    return 1;
  }
}

}  // namespace rapt_bench

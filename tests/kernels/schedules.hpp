// Runs a test under every schedule of the emulator, and the random one from several seeds.
#pragma once
#include <kernels/simt/emulator.hpp>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rapt_test {

inline std::vector<rapt::simt::emulator::schedule> all_schedules() {
  std::vector<rapt::simt::emulator::schedule> all(std::begin(rapt::simt::emulator::schedules), std::end(rapt::simt::emulator::schedules));
  for (const std::uint32_t seed : {2u, 3u, 4u}) {
    all.push_back(all[3]);
    all.back().seed = seed;
  }
  return all;
}

template <class F>
void under_every_schedule(F test) {
  for (const auto& s : all_schedules()) {
    const rapt::simt::emulator::scoped_device device(s);
    SCOPED_TRACE(std::string(s.name) + ", seed " + std::to_string(s.seed));
    test();
  }
}

/// What the emulator finds wrong with what f does, or "none".
template <class F>
std::string complaint_of(F f) {
  try {
    f();
  } catch (const rapt::simt::emulator::emulator_error& e) { return e.what(); }
  return "none";
}

/// Whether launches that differ from run to run, or are wrong, or throw, are noticed: `right` runs the kernel and says whether its result is right.
template <class F>
bool caught_by_some_schedule(F right) {
  for (const auto& s : all_schedules()) {
    const rapt::simt::emulator::scoped_device device(s);
    try {
      if (!right()) return true;
    } catch (const rapt::simt::emulator::emulator_error&) { return true; }
  }
  return false;
}

}  // namespace rapt_test

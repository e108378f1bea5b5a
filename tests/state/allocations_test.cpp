// The counting operator new of this room's tests, and proof that it counts.
#include <support/allocations_main.hpp>

#include <gtest/gtest.h>

#include <memory>

TEST(allocations, peak_sees_memory_that_is_gone_again) {
  if (!rapt_test::counts_new) GTEST_SKIP() << "the sanitizer owns operator new";
  const std::size_t peak = rapt_test::peak_bytes_of([] {
    const auto kept = std::make_unique<char[]>(1000);
    const auto gone = std::make_unique<char[]>(2000);
    // A compiler may leave out an allocation that nobody looks at.
    asm volatile("" ::"r"(kept.get()), "r"(gone.get()) : "memory");
  });
  EXPECT_GE(peak, 3000u);
  EXPECT_LT(peak, 4000u);
}

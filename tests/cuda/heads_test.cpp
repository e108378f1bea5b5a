#include <rapt/cuda.hpp>

#include <support/cuda_placement.hpp>
#include <support/repeated_heads.hpp>

namespace rapt_test {
namespace {

TEST(repeat_heads, on_the_device_copies_every_head) {
  rapt::cuda::context ctx;
  expect_repeated_everywhere<rapt::cuda::backend>(ctx);
}

}  // namespace
}  // namespace rapt_test

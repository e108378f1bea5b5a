#include <rapt/core/error.hpp>

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace {

template <class Error>
void expect_raised(rapt::errc code) {
  try {
    rapt::raise(code, "attend: k has 3 heads; 4 are needed");
    FAIL() << "returned";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code);
    EXPECT_STREQ(e.what(), "attend: k has 3 heads; 4 are needed");
    EXPECT_EQ(typeid(e), typeid(Error));
  }
}

TEST(error, each_code_raises_its_type) {
  using rapt::errc;
  expect_raised<rapt::config_error>(errc::config);
  expect_raised<rapt::shape_error>(errc::shape);
  expect_raised<rapt::capacity_error>(errc::capacity);
  expect_raised<rapt::range_error>(errc::range);
  expect_raised<rapt::state_error>(errc::state);
  expect_raised<rapt::format_error>(errc::format);
  expect_raised<rapt::checksum_error>(errc::checksum);
  expect_raised<rapt::version_error>(errc::version);
  expect_raised<rapt::cuda_error>(errc::cuda);
  expect_raised<rapt::comm_error>(errc::comm);
  expect_raised<rapt::cancelled_error>(errc::cancelled);
  expect_raised<rapt::io_error>(errc::io);
  expect_raised<rapt::error>(errc::none);
}

TEST(error, one_base_catches_all_and_is_a_runtime_error) {
  EXPECT_THROW(rapt::raise(rapt::errc::shape, "x"), rapt::error);
  EXPECT_THROW(rapt::raise(rapt::errc::io, "x"), std::runtime_error);
}

TEST(error, an_io_error_says_which_file_and_what_the_system_said) {
  const rapt::io_error e("save_state: could not write", "/tmp/x.safetensors", 28);
  EXPECT_EQ(e.path(), "/tmp/x.safetensors");
  EXPECT_EQ(e.error_number(), 28);
  EXPECT_EQ(e.code(), rapt::errc::io);
}

TEST(error, a_failure_is_raised_and_its_absence_is_not) {
  EXPECT_FALSE(rapt::failure{});
  EXPECT_NO_THROW(rapt::raise_if({}));
  const rapt::failure found{rapt::errc::range, "truncate: 9 tokens; the sequence has 7"};
  EXPECT_TRUE(found);
  EXPECT_THROW(rapt::raise_if(found), rapt::range_error);
}

}  // namespace

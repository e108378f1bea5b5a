// The bits themselves: a hash of each scalar function over fixed inputs. Compilers, optimisation levels and instruction sets must all reproduce
// it. A changed hash is a changed numerics id, never an adjustment of this file alone.
#include <gtest/gtest.h>
#include <math/elementary.hpp>
#include <math/ulp.hpp>
#include <rapt/core/scale.hpp>

#include <cstdint>

namespace {
using namespace rapt_test;
namespace math = rapt::math;

template <class Add>
std::uint64_t hash_of(std::uint64_t seed, Add add) {
  random_source random(seed);
  bit_hash hash;
  for (int i = 0; i < 100'000; ++i) add(random, hash);
  return hash.value();
}

TEST(bits, exp2_is_locked) {
  EXPECT_EQ(hash_of(31,
                    [](random_source& random, bit_hash& hash) {
                      hash.add(math::exp2(static_cast<float>(random.uniform(-128, 128))));
                      hash.add(math::exp2(random.uniform(-1024, 1024)));
                      hash.add(math::exp2(static_cast<float>(random.uniform(-2, 0))));
                    }),
            0x35abfa999f05c1a4u);
}

TEST(bits, tanh_is_locked) {
  EXPECT_EQ(hash_of(32,
                    [](random_source& random, bit_hash& hash) {
                      hash.add(math::tanh(static_cast<float>(random.uniform(-12, 12))));
                      hash.add(math::tanh(random.uniform(-2, 22)));
                      hash.add(math::tanh(random.log_uniform(-60, 1)));
                    }),
            0x1e192e2d7aa9a4e7u);
}

TEST(bits, log_is_locked) {
  EXPECT_EQ(hash_of(33,
                    [](random_source& random, bit_hash& hash) {
                      hash.add(math::log(random.log_uniform(-1074, 1024)));
                      hash.add(math::log(random.uniform(0.5, 1.5)));
                    }),
            0x06e6ffa6d848caaeu);
}

TEST(bits, sincos_is_locked) {
  EXPECT_EQ(hash_of(34,
                    [](random_source& random, bit_hash& hash) {
                      for (const double x : {random.uniform(-8, 8), random.uniform(0, 0x1p31), random.log_uniform(-10, 1024)}) {
                        double s, c;
                        math::sincos(x, s, c);
                        hash.add(s);
                        hash.add(c);
                      }
                    }),
            0x3da54250afaa385eu);
}

TEST(bits, pow_is_locked) {
  EXPECT_EQ(hash_of(35,
                    [](random_source& random, bit_hash& hash) {
                      const double theta = random.log_uniform(3, 25), fraction = random.uniform(-1, 0);
                      hash.add(math::pow(theta, fraction));
                      const double base = random.log_uniform(-1074, 1024), exponent = random.uniform(-3, 3);
                      hash.add(math::pow(base, exponent));
                    }),
            0x45878fd6db416783u);
}

TEST(bits, split_scale_is_locked) {
  EXPECT_EQ(hash_of(36,
                    [](random_source& random, bit_hash& hash) {
                      const double scale = random.log_uniform(-10, 2), q = random.uniform(-4, 4);
                      hash.add(math::multiply_split(static_cast<float>(q), math::split_scale<float>(scale)));
                      hash.add(math::multiply_split(q, math::split_scale<double>(scale)));
                    }),
            0xcc6e3381b4967768u);
}
}  // namespace

// Kernels' exp2, tanh and log against those of the CPU, bit by bit.
#include <contract/random_operands.hpp>
#include <kernels/elementary.hpp>
#include <math/elementary.hpp>

#include <bit>

namespace rapt_test {
namespace {

namespace kernels = rapt::kernels;

/// Every NaN counts as one: a device has another one than a CPU.
template <class A>
auto bits_of(A x) {
  using bits_type = typename rapt::math::constants_of<A>::bits_type;
  return std::bit_cast<bits_type>(x == x ? x : std::numeric_limits<A>::quiet_NaN());
}

/// Arguments of every exponent and sign, their neighbours' bits random, and those that are special.
template <class A>
std::vector<A> arguments() {
  using bits_type = typename rapt::math::constants_of<A>::bits_type;
  contract::random_source random(17);
  std::vector<A> all;
  for (const A x : {A{0},
                    A{1},
                    A{0.5},
                    A{2},
                    A{126},
                    A{126.5},
                    A{127},
                    A{149},
                    A{1022},
                    A{1022.5},
                    A{1023},
                    A{1074},
                    A{9},
                    A{10},
                    A{19},
                    A{20},
                    A{22},
                    std::numeric_limits<A>::min(),
                    std::numeric_limits<A>::denorm_min(),
                    std::numeric_limits<A>::max(),
                    std::numeric_limits<A>::infinity(),
                    std::numeric_limits<A>::quiet_NaN(),
                    static_cast<A>(std::sqrt(0.5)),
                    static_cast<A>(std::sqrt(2.0))})
    for (const A y : {std::nextafter(x, A{0}), x, std::nextafter(x, std::numeric_limits<A>::infinity())}) all.push_back(y), all.push_back(-y);
  for (int i = 0; i < 200'000; ++i) {
    all.push_back(std::bit_cast<A>(static_cast<bits_type>(random.bits())));
    all.push_back(static_cast<A>(random.symmetric() * random.pick<double>({1, 10, 30, 150, 1100})));
  }
  return all;
}

template <class A>
class elementary : public testing::Test {};
using accumulators = testing::Types<float, double>;
TYPED_TEST_SUITE(elementary, accumulators);

TYPED_TEST(elementary, exp2_and_tanh_have_the_bits_of_the_cpu) {
  for (const TypeParam x : arguments<TypeParam>()) {
    ASSERT_EQ(bits_of(kernels::tanh(x)), bits_of(rapt::math::tanh(x))) << x;
    if (!(x > 0)) { ASSERT_EQ(bits_of(kernels::exp2_nonpositive(x)), bits_of(rapt::math::exp2_nonpositive(x))) << x; }
  }
}
TEST(elementary_log, has_the_bits_of_the_cpu) {
  for (const double x : arguments<double>()) ASSERT_EQ(bits_of(kernels::log(x)), bits_of(rapt::math::log(x))) << x;
}

}  // namespace
}  // namespace rapt_test

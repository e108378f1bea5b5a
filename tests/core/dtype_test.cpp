// bf16 and f16 against an oracle that knows no bit tricks: the values of all codes, computed by ldexp in double, and the midpoints between them.
#include <rapt/core/dtype.hpp>

#include <cpuid.h>
#include <gtest/gtest.h>
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

namespace {

using rapt::bf16;
using rapt::f16;

template <class T>
struct format;
template <>
struct format<bf16> {
  static constexpr int mantissa = 7, bias = 127;
};
template <>
struct format<f16> {
  static constexpr int mantissa = 10, bias = 15;
};

// The code of infinity; every positive code below it is a finite number.
template <class T>
constexpr int infinity = (2 * format<T>::bias + 1) << format<T>::mantissa;
template <class T>
constexpr std::uint16_t quiet_nan = infinity<T> | 1 << (format<T>::mantissa - 1);

// What the positive code means; infinity as the number that would come next, which is where rounding to it begins to count from.
template <class T>
double value_of(int code) {
  const int exponent = code >> format<T>::mantissa, fraction = code & ((1 << format<T>::mantissa) - 1);
  if (exponent == 0) return std::ldexp(fraction, 1 - format<T>::bias - format<T>::mantissa);
  return std::ldexp((1 << format<T>::mantissa) + fraction, exponent - format<T>::bias - format<T>::mantissa);
}
// Between a code and the next one; exact in double.
template <class T>
double midpoint_after(int code) {
  return (value_of<T>(code) + value_of<T>(code + 1)) / 2;
}

// Nearest code of magnitudes that come in ascending order, ties to the even code.
template <class T>
class ascending_oracle {
 public:
  explicit ascending_oracle(double first) {
    int low = 0, high = infinity<T>;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (midpoint_after<T>(middle) < first)
        low = middle + 1;
      else
        high = middle;
    }
    move_to(low);
  }
  std::uint16_t nearest(double magnitude) {
    while (code_ < infinity<T> && magnitude > midpoint_) move_to(code_ + 1);
    const bool tie = code_ < infinity<T> && magnitude == midpoint_;
    return static_cast<std::uint16_t>(tie && code_ % 2 == 1 ? code_ + 1 : code_);
  }

 private:
  void move_to(int code) {
    code_ = code;
    midpoint_ = midpoint_after<T>(code);
  }
  int code_ = 0;
  double midpoint_ = 0;
};

// Whether 0 <= x < inf rounds as the oracle says, with both signs.
template <class T, class From>
bool rounds_to(From x, std::uint16_t expected) {
  return T(x).bits == expected && T(-x).bits == (expected | 0x8000u);
}

template <class T>
class storage_type : public testing::Test {};
using storage_types = testing::Types<bf16, f16>;
TYPED_TEST_SUITE(storage_type, storage_types);

TYPED_TEST(storage_type, every_code_widens_to_its_value) {
  for (int code = 0; code < 1 << 16; ++code) {
    TypeParam x;
    x.bits = static_cast<std::uint16_t>(code);
    const auto wide = static_cast<float>(x);
    const int magnitude = code & 0x7fff;
    ASSERT_EQ(std::signbit(wide), code >> 15 == 1) << code;
    if (magnitude > infinity<TypeParam>)
      ASSERT_TRUE(std::isnan(wide)) << code;
    else if (magnitude == infinity<TypeParam>)
      ASSERT_TRUE(std::isinf(wide)) << code;
    else
      ASSERT_EQ(std::fabs(wide), value_of<TypeParam>(magnitude)) << code;
  }
}

TYPED_TEST(storage_type, every_code_survives_the_way_through_float_and_double) {
  for (int code = 0; code < 1 << 16; ++code) {
    TypeParam x;
    x.bits = static_cast<std::uint16_t>(code);
    const bool nan = (code & 0x7fff) > infinity<TypeParam>;
    const int expected = nan ? quiet_nan<TypeParam> : code;
    ASSERT_EQ(TypeParam(static_cast<float>(x)).bits, expected) << code;
    ASSERT_EQ(TypeParam(static_cast<double>(static_cast<float>(x))).bits, expected) << code;
  }
}

// All finite floats take about 20 s a type (RAPT_EXHAUSTIVE=1); else every 61st, and in the next test all that lie beside a midpoint.
TYPED_TEST(storage_type, floats_round_to_the_nearest_code) {
  const bool exhaustive = std::getenv("RAPT_EXHAUSTIVE") != nullptr;
  const std::uint32_t stride = exhaustive ? 1 : 61;
  ascending_oracle<TypeParam> oracle(0);
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += stride) {
    const auto x = std::bit_cast<float>(bits);
    if (!rounds_to<TypeParam>(x, oracle.nearest(x))) FAIL() << std::hexfloat << x << " became " << TypeParam(x).bits;
  }
}

TYPED_TEST(storage_type, floats_and_doubles_at_each_midpoint_round_to_even_and_their_neighbours_to_the_near_side) {
  for (int code = 0; code < infinity<TypeParam>; ++code) {
    const double midpoint = midpoint_after<TypeParam>(code);
    const auto below = static_cast<std::uint16_t>(code), above = static_cast<std::uint16_t>(code + 1);
    const std::uint16_t even = code % 2 ? above : below;
    // A double this close is lost on the way through float: rounding twice would make it a tie.
    ASSERT_TRUE(rounds_to<TypeParam>(midpoint, even)) << code;
    ASSERT_TRUE(rounds_to<TypeParam>(std::nextafter(midpoint, 0.0), below)) << code;
    ASSERT_TRUE(rounds_to<TypeParam>(std::nextafter(midpoint, HUGE_VAL), above)) << code;
    const auto narrow = static_cast<float>(midpoint);
    if (narrow != midpoint) continue;  // the midpoint before bf16's smallest subnormals needs one bit more than float has
    ASSERT_TRUE(rounds_to<TypeParam>(narrow, even)) << code;
    ASSERT_TRUE(rounds_to<TypeParam>(std::nextafter(narrow, 0.0f), below)) << code;
    ASSERT_TRUE(rounds_to<TypeParam>(std::nextafter(narrow, HUGE_VALF), above)) << code;
  }
}

TYPED_TEST(storage_type, random_doubles_round_to_the_nearest_code) {
  std::mt19937_64 random(7);
  std::vector<double> magnitudes;
  while (magnitudes.size() < 2'000'000) {
    // Half of them anywhere, half of them in the type's own range.
    auto x = std::fabs(std::bit_cast<double>(random()));
    if (magnitudes.size() % 2) x = std::ldexp(1 + std::ldexp(static_cast<double>(random() >> 12), -52), static_cast<int>(random() % 44) - 27);
    if (std::isfinite(x)) magnitudes.push_back(x);
  }
  std::sort(magnitudes.begin(), magnitudes.end());
  ascending_oracle<TypeParam> oracle(magnitudes.front());
  for (const double x : magnitudes) ASSERT_TRUE(rounds_to<TypeParam>(x, oracle.nearest(x))) << std::hexfloat << x;
}

TYPED_TEST(storage_type, infinities_stay_and_every_nan_becomes_the_canonical_one) {
  EXPECT_TRUE(rounds_to<TypeParam>(HUGE_VALF, infinity<TypeParam>));
  EXPECT_TRUE(rounds_to<TypeParam>(HUGE_VAL, infinity<TypeParam>));
  for (const std::uint32_t nan : {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffc12345u})
    EXPECT_EQ(TypeParam(std::bit_cast<float>(nan)).bits, quiet_nan<TypeParam>) << nan;
  for (const std::uint64_t nan : {0x7ff0000000000001u, 0x7ff8000000000000u, 0xfff8000000000001u, 0xffffffffffffffffu})
    EXPECT_EQ(TypeParam(std::bit_cast<double>(nan)).bits, quiet_nan<TypeParam>) << nan;
}

__attribute__((target("f16c"))) std::uint16_t hardware_f16(float x) { return static_cast<std::uint16_t>(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)); }

TEST(f16, rounds_as_the_processor_does) {
  unsigned a = 0, b = 0, c = 0, d = 0;  // clang 14 does not know "f16c" in __builtin_cpu_supports
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_F16C)) GTEST_SKIP() << "no F16C on this processor";
  for (std::uint64_t bits = 0; bits <= 0xffffffffu; bits += 97) {
    const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (std::isnan(x)) continue;
    ASSERT_EQ(f16(x).bits, hardware_f16(x)) << std::hexfloat << x;
  }
}

static_assert(bf16(1.0f).bits == 0x3f80 && f16(1.0).bits == 0x3c00 && static_cast<float>(f16(-2.0f)) == -2.0f,
              "conversions are constant expressions");
static_assert(sizeof(bf16) == 2 && sizeof(f16) == 2 && std::is_trivially_copyable_v<bf16> && std::is_trivially_copyable_v<f16>);
static_assert(std::is_same_v<rapt::accumulator_t<double>, double> && std::is_same_v<rapt::accumulator_t<bf16>, float>);

TEST(dtype, knows_sizes_names_and_element_types) {
  using rapt::dtype;
  const struct {
    dtype type, of;
    rapt::index_t bytes;
    const char* name;
    bool floating;
  } all[] = {{dtype::f64, rapt::dtype_of<double>, 8, "f64", true},        {dtype::f32, rapt::dtype_of<const float>, 4, "f32", true},
             {dtype::bf16, rapt::dtype_of<bf16>, 2, "bf16", true},        {dtype::f16, rapt::dtype_of<f16>, 2, "f16", true},
             {dtype::i64, rapt::dtype_of<std::int64_t>, 8, "i64", false}, {dtype::boolean, rapt::dtype_of<bool>, 1, "bool", false},
             {dtype::u8, rapt::dtype_of<std::uint8_t>, 1, "u8", false}};
  for (const auto& each : all) {
    EXPECT_EQ(each.type, each.of);
    EXPECT_EQ(size_of(each.type), each.bytes);
    EXPECT_EQ(name_of(each.type), each.name);
    EXPECT_EQ(is_floating(each.type), each.floating);
  }
}

}  // namespace

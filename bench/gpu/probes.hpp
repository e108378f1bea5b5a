// One tiny kernel for each wrapper of kernels/simt/, and operands that show what it does: random ones, and those at the edges of the formats.
// The same text runs on a device and in the emulator; the answers are compared word for word.
#pragma once
#include <bench/gpu/device_array.hpp>
#include <bench/gpu/record_file.hpp>
#include <kernels/simt/cp_async.hpp>
#include <kernels/simt/ldmatrix.hpp>
#include <kernels/simt/math.hpp>
#include <kernels/simt/mma.hpp>
#include <kernels/simt/warp.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace rapt_bench {

namespace simt = rapt::simt;
using rapt::bf16;
using rapt::f16;

/// Random numbers that are the same on every machine: splitmix64, and nothing of libm.
class generator {
 public:
  explicit generator(std::uint64_t seed) : state_(seed) {}
  std::uint32_t bits() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<std::uint32_t>(z >> 32);
  }
  int between(int low, int high) { return low + static_cast<int>(bits() % static_cast<std::uint32_t>(high - low + 1)); }
  /// Near normal: a sum of four uniform numbers with variance 1.
  float normal() {
    std::int64_t sum = -2 * (std::int64_t{1} << 24);
    for (int i = 0; i < 4; ++i) sum += bits() >> 8;
    return static_cast<float>(sum) * 0x1.bb67aep-24f;
  }

 private:
  std::uint64_t state_;
};

inline std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }
inline float float_from(std::uint32_t bits) { return std::bit_cast<float>(bits); }

constexpr unsigned block_len = 128;

/// out[i] = Operation(a[i], b[i]) on words.
template <class Operation>
RAPT_KERNEL(block_len, 1)
each_word(const std::uint32_t* a, const std::uint32_t* b, std::uint32_t* out) {
  const unsigned i = simt::block_idx().x * block_len + simt::thread_idx();
  out[i] = Operation::of(a[i], b[i]);
}
template <class Operation>
std::vector<std::uint32_t> apply(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
  device_array<std::uint32_t> in_a(a), in_b(b), out(a.size());
  simt::launch<simt::no_storage>(each_word<Operation>, {static_cast<unsigned>(a.size() / block_len)}, block_len, nullptr, in_a.data(), in_b.data(),
                                 out.data());
  return out.download();
}

struct larger {
  static RAPT_DEVICE std::uint32_t of(std::uint32_t a, std::uint32_t b) {
    return simt::bits_of(simt::max_or_nan(simt::float_of(a), simt::float_of(b)));
  }
};
struct inverse {
  static RAPT_DEVICE std::uint32_t of(std::uint32_t a, std::uint32_t) { return simt::bits_of(simt::reciprocal(simt::float_of(a))); }
};
struct fused {
  static RAPT_DEVICE std::uint32_t of(std::uint32_t a, std::uint32_t b) {
    return simt::bits_of(simt::fma(simt::float_of(a), simt::float_of(b), simt::float_of(a ^ (b << 7))));
  }
};
struct exp2_of {
  static RAPT_DEVICE std::uint32_t of(std::uint32_t a, std::uint32_t) { return simt::bits_of(simt::exp2_approx(simt::float_of(a))); }
};
template <class T>
struct rounded {
  static RAPT_DEVICE std::uint32_t of(std::uint32_t a, std::uint32_t b) { return simt::round_pair<T>(simt::float_of(a), simt::float_of(b)); }
};
template <class T>
struct widened {
  static RAPT_DEVICE std::uint32_t of(std::uint32_t a, std::uint32_t) { return simt::bits_of(simt::widen<T>(static_cast<std::uint16_t>(a))); }
};
struct exchanged {
  static RAPT_DEVICE std::uint32_t of(std::uint32_t a, std::uint32_t b) {
    std::uint32_t sum = simt::shuffle(a, b % 32) * 3;
    for (unsigned mask = 1; mask < 32; mask *= 2) sum = sum * 5 + simt::shuffle_xor(a, mask);
    return sum;
  }
};
struct voted {
  static RAPT_DEVICE std::uint32_t of(std::uint32_t a, std::uint32_t) {
    return simt::ballot((a & 1) != 0) ^ simt::ballot((a & 2) != 0, simt::lane_idx() < 16 ? 0x0000ffffu : 0xffff0000u) * 3;
  }
};

constexpr unsigned tile_rows = 32, tile_columns = 40;
struct probe_tile {
  alignas(16) std::uint16_t rows[tile_rows][tile_columns];
};
/// A tile by cp.async, every third chunk of it by zero fill, read back by both kinds of ldmatrix from rows in another order.
RAPT_KERNEL(32, 1) copy_and_load(const std::uint16_t* in, std::uint32_t* out) {
  auto& s = simt::shared<probe_tile>();
  constexpr unsigned chunks = tile_columns / 8;
  for (unsigned i = simt::lane_idx(); i < tile_rows * chunks; i += 32)
    simt::copy_async_16(simt::shared_address(&s.rows[i / chunks][i % chunks * 8]), in + i * 8, i % 3 != 0);
  simt::commit_copies();
  simt::wait_for_copies<0>();
  simt::sync_threads();
  for (unsigned chunk = 0; chunk < chunks; ++chunk) {
    const std::uint32_t address = simt::shared_address(&s.rows[(simt::lane_idx() * 11 + chunk) % tile_rows][chunk * 8]);
    std::uint32_t plain[4], transposed[4];
    simt::load_matrices(plain, address);
    simt::load_matrices_transposed(transposed, address);
    for (unsigned i = 0; i < 4; ++i) {
      out[(chunk * 32 + simt::lane_idx()) * 8 + i] = plain[i];
      out[(chunk * 32 + simt::lane_idx()) * 8 + 4 + i] = transposed[i];
    }
  }
}

/// Registers of one warp's mma, lane by lane.
struct mma_case {
  simt::mma_a a[32];
  simt::mma_b b[32];
  simt::mma_c c[32];
};
template <class T>
RAPT_KERNEL(32, 1)
multiply(const mma_case* cases, simt::mma_c* out) {
  const mma_case& in = cases[simt::block_idx().x];
  const unsigned lane = simt::lane_idx();
  simt::mma_c c = in.c[lane];
  simt::multiply_add<T>(c, in.a[lane], in.b[lane]);
  out[simt::block_idx().x * 32 + lane] = c;
}

/// What operands of an mma are made of.
enum class kind { integers, normal, spread, wide_spread, cancelling, small_products, large_addend, subnormal, zeros, special, overflowing, any_bits };
constexpr const char* kind_names[] = {"integers",     "normal",    "spread", "wide_spread", "cancelling",  "small_products",
                                      "large_addend", "subnormal", "zeros",  "special",     "overflowing", "any_bits"};
constexpr int num_kinds = 12;

inline float scaled(generator& random, int low, int high) {
  const int exponent = random.between(low, high);
  return std::ldexp(random.normal(), exponent);
}
/// An element of an operand.
template <class T>
T random_element(kind k, generator& random) {
  constexpr bool half = std::is_same_v<T, f16>;
  const auto any_finite = [&] {
    T x;
    do x.bits = static_cast<std::uint16_t>(random.bits());
    while (!(std::fabs(static_cast<float>(x)) < simt::infinity));
    return x;
  };
  switch (k) {
    case kind::integers:
      return T(static_cast<float>(random.between(-32, 32)));
    case kind::normal:
    case kind::cancelling:
      return T(random.normal());
    case kind::spread:
      return T(scaled(random, -4, 4));
    case kind::wide_spread:
      return T(scaled(random, -14, 12));
    case kind::small_products:
      return T(scaled(random, -8, -4));
    case kind::large_addend:
      return T(scaled(random, -2, 2));
    case kind::subnormal:
      return T(half ? scaled(random, -26, -13) : scaled(random, -70, -60));
    case kind::zeros:
      return random.between(0, 2) == 0 ? T(scaled(random, -6, 6)) : T(random.between(0, 1) == 0 ? 0.0f : -0.0f);
    case kind::special: {
      const int which = random.between(0, 40);
      return which == 0   ? T(simt::infinity)
             : which == 1 ? T(-simt::infinity)
             : which == 2 ? T(std::nanf(""))
             : which < 8  ? T(0.0f)
                          : T(random.normal());
    }
    case kind::overflowing:
      return T(half ? scaled(random, 10, 14) : scaled(random, 58, 63));
    case kind::any_bits:
      return any_finite();
  }
  return T();
}
/// What products are added to.
template <class T>
float random_addend(kind k, generator& random) {
  constexpr bool half = std::is_same_v<T, f16>;
  switch (k) {
    case kind::integers:
      return static_cast<float>(random.between(-1000, 1000));
    case kind::small_products:
      return scaled(random, 0, 3);
    case kind::large_addend:
      return scaled(random, 10, 28);
    case kind::subnormal:
      return half ? scaled(random, -50, -24) : scaled(random, -149, -120);
    case kind::zeros:
      return random.between(0, 1) == 0 ? scaled(random, -40, 4) : random.between(0, 1) == 0 ? 0.0f : -0.0f;
    case kind::special: {
      const int which = random.between(0, 20);
      return which == 0 ? simt::infinity : which == 1 ? -simt::infinity : which == 2 ? std::nanf("") : random.normal();
    }
    case kind::overflowing:
      return half ? random.normal() : scaled(random, 125, 127);
    case kind::any_bits: {
      const float x = float_from(random.bits());
      return std::fabs(x) < simt::infinity ? x : 1.0f;
    }
    default:
      return scaled(random, -3, 3);
  }
}

template <class T>
mma_case random_case(kind k, generator& random) {
  mma_case c{};
  T a[16][16], b[16][8];
  for (auto& row : a)
    for (T& x : row) x = random_element<T>(k, random);
  for (auto& row : b)
    for (T& x : row) x = random_element<T>(k, random);
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned major = lane / 4, minor = lane % 4 * 2;
    for (unsigned i = 0; i < 4; ++i) {
      const T* pair = &a[major + i % 2 * 8][minor + i / 2 * 8];
      c.a[lane].registers[i] = pair[0].bits | std::uint32_t{pair[1].bits} << 16;
      const unsigned row = major + i / 2 * 8, column = minor + i % 2;
      float sum = 0;
      if (k == kind::cancelling)
        for (unsigned x = 0; x < 16; ++x) sum -= static_cast<float>(a[row][x]) * static_cast<float>(b[x][column]);
      c.c[lane].elements[i] = k == kind::cancelling ? sum : random_addend<T>(k, random);
    }
    for (unsigned i = 0; i < 2; ++i) c.b[lane].registers[i] = b[minor + i * 8][major].bits | std::uint32_t{b[minor + i * 8 + 1][major].bits} << 16;
  }
  return c;
}
template <class T>
std::vector<mma_case> random_cases(kind k, int count) {
  generator random(1000 + static_cast<std::uint64_t>(k));
  std::vector<mma_case> cases(static_cast<std::size_t>(count));
  for (mma_case& c : cases) c = random_case<T>(k, random);
  return cases;
}

template <class T>
std::vector<std::uint32_t> multiply_all(const std::vector<mma_case>& cases) {
  device_array<mma_case> in(cases);
  device_array<simt::mma_c> out(cases.size() * 32);
  simt::launch<simt::no_storage>(multiply<T>, {static_cast<unsigned>(cases.size())}, 32, nullptr, in.data(), out.data());
  std::vector<std::uint32_t> words;
  for (const simt::mma_c& c : out.download())
    for (const float x : c.elements) words.push_back(rapt_bench::bits(x));
  return words;
}

constexpr int num_mma_cases = 200;  // of a kind

inline records run_probes() {
  generator random(1);
  records all;
  std::vector<std::uint32_t> edges = {0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x00800000, 0x3f800000, 0xbf800000,
                                      0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001,
                                      0x7fffffff, 0x33000000, 0x33000001, 0x477fefff, 0x477ff000, 0x477fffff, 0x387fc000, 0x38800000,
                                      0x387fffff, 0x7f7f7fff, 0x7f7f8000, 0x00004000, 0x00008000, 0x0000c000, 0xc2fc0000, 0xc2fe0000};
  std::vector<std::uint32_t> a, b;
  for (const std::uint32_t x : edges)
    for (const std::uint32_t y : edges) a.push_back(x), b.push_back(y);
  while (a.size() < 1u << 17) a.push_back(random.bits()), b.push_back(random.bits());
  all["larger"] = apply<larger>(a, b);
  all["fused"] = apply<fused>(a, b);
  all["inverse"] = apply<inverse>(a, b);
  all["rounded f16"] = apply<rounded<f16>>(a, b);
  all["rounded bf16"] = apply<rounded<bf16>>(a, b);
  all["exchanged"] = apply<exchanged>(a, b);
  all["voted"] = apply<voted>(a, b);
  std::vector<std::uint32_t> halves(1u << 16);
  for (std::uint32_t i = 0; i < halves.size(); ++i) halves[i] = i;
  all["widened f16"] = apply<widened<f16>>(halves, halves);
  all["widened bf16"] = apply<widened<bf16>>(halves, halves);
  std::vector<std::uint16_t> tile(tile_rows * tile_columns);
  for (auto& x : tile) x = static_cast<std::uint16_t>(random.bits());
  device_array<std::uint16_t> in(tile);
  device_array<std::uint32_t> out(tile_columns / 8 * 32 * 8);
  simt::launch<probe_tile>(copy_and_load, {1}, 32, nullptr, in.data(), out.data());
  all["copied and loaded"] = out.download();
  all["exp2 of any bits"] = apply<exp2_of>(a, b);
  for (int k = 0; k < num_kinds; ++k) {
    all[std::string("mma f16 ") + kind_names[k]] = multiply_all<f16>(random_cases<f16>(static_cast<kind>(k), num_mma_cases));
    all[std::string("mma bf16 ") + kind_names[k]] = multiply_all<bf16>(random_cases<bf16>(static_cast<kind>(k), num_mma_cases));
  }
  return all;
}

/// exp2_approx of every float in [-2, -1), 2^23 of them: every fraction that an argument can have there.
inline std::vector<std::uint32_t> exp2_sweep() {
  std::vector<std::uint32_t> x(1u << 23);
  for (std::uint32_t i = 0; i < x.size(); ++i) x[i] = 0xbf800000u + i;
  return apply<exp2_of>(x, x);
}

}  // namespace rapt_bench

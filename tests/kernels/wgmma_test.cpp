// wgmma, tile copies and mma of tf32 against sums in their own words, by the kernels that probe devices.
#include <bench/gpu/hopper_probes.hpp>
#include <tests/kernels/schedules.hpp>

namespace {

using namespace rapt_bench;

template <class T, int N>
void expect_exact_products() {
  const auto cases = random_products<T, N>(kind::integers, 1);
  const auto& c = cases[0];
  rapt_test::under_every_schedule([&] {
    const std::vector<float> got = products_of(cases);
    for (std::size_t i = 0; i < 64; ++i)
      for (std::size_t j = 0; j < N; ++j) {
        float sum = 0;
        for (std::size_t k = 0; k < 64; ++k) sum += static_cast<float>(c.a[i][k]) * static_cast<float>(c.b[j][k]);
        ASSERT_EQ(got[i * N + j], c.c[i][j] + sum) << i << ' ' << j;
        ASSERT_EQ(got[(64 + i) * N + j], sum) << i << ' ' << j;
      }
  });
}
TEST(wgmma, integers_are_multiplied_exactly) {
  expect_exact_products<f16, 64>();
  expect_exact_products<bf16, 64>();
  expect_exact_products<f16, 80>();
  expect_exact_products<bf16, 176>();
  expect_exact_products<f16, 256>();
}

TEST(wgmma, sums_are_those_of_mma_sixteen_at_a_time) {
  const auto cases = random_products<bf16, 96>(kind::spread, 1);
  const auto& c = cases[0];
  const std::vector<float> got = products_of(cases);
  for (std::size_t i = 0; i < 64; ++i)
    for (std::size_t j = 0; j < 96; ++j) {
      float sum = c.c[i][j];
      for (std::size_t k = 0; k < 64; k += 16) sum = simt::emulator::multiply_add_16(simt::emulator::hopper, &c.a[i][k], &c.b[j][k], sum);
      ASSERT_EQ(got[i * 96 + j], sum) << i << ' ' << j;
    }
}

TEST(mma, integers_of_tf32_are_multiplied_exactly) {
  const auto cases = random_tf32(0, 3);
  rapt_test::under_every_schedule([&] {
    const auto got = tf32_bits(cases);
    for (std::size_t n = 0; n < cases.size(); ++n)
      for (unsigned row = 0; row < 16; ++row)
        for (unsigned column = 0; column < 8; ++column) {
          const unsigned lane = row % 8 * 4 + column / 2, i = row / 8 * 2 + column % 2;
          float sum = cases[n].c[lane].elements[i];
          for (unsigned k = 0; k < 8; ++k)
            sum += float_from(cases[n].a[row % 8 * 4 + k % 4].registers[row / 8 + k / 4 * 2]) *
                   float_from(cases[n].b[column * 4 + k % 4].registers[k / 4]);
          ASSERT_EQ(float_from(got[(n * 32 + lane) * 4 + i]), sum) << row << ' ' << column;
        }
  });
}
TEST(mma, tf32_does_not_look_at_the_last_bits_of_a_float) {
  auto cases = random_tf32(2, 3);
  const auto all = tf32_bits(cases);
  for (auto& c : cases)
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (auto& x : c.a[lane].registers) x &= 0xffffe000u;
      for (auto& x : c.b[lane].registers) x |= 0x1fffu;
    }
  EXPECT_EQ(tf32_bits(cases), all);
}

template <int Rank>
void expect_tiles() {
  const tile_case<Rank> c;
  const auto& t = c.layout;
  rapt_test::under_every_schedule([&] {
    const auto got = copied_tiles(c);
    for (std::size_t n = 0; n < c.first.size(); ++n)
      for (int line = 0; line < tile_lines; ++line) {
        // The line's place in the tensor, by division: the second dimension runs fastest.
        std::int64_t offset = 0;
        bool inside = true;
        for (int d = 1, rest = line; d < Rank; rest /= t.box[d], ++d) {
          const int x = c.first[n][static_cast<std::size_t>(d)] + rest % t.box[d];
          inside = inside && x >= 0 && x < t.extents[d];
          offset += x * t.strides[d - 1];
        }
        for (int e = 0; e < 64; ++e) {
          const int x = c.first[n][0] + e, chunk = e / 8 ^ line % 8;
          const std::uint16_t expected = inside && x >= 0 && x < t.extents[0] ? c.elements[static_cast<std::size_t>(offset + x)] : std::uint16_t{0};
          const std::uint32_t word = got[n * tile_lines * 32 + static_cast<std::size_t>(line * 32 + chunk * 4 + e % 8 / 2)];
          ASSERT_EQ(word >> e % 2 * 16 & 0xffffu, expected) << n << ' ' << line << ' ' << e;
        }
      }
  });
}
TEST(tensor_copy, tiles_of_any_rank_lie_swizzled_with_zeros_beyond_the_tensor) {
  expect_tiles<2>();
  expect_tiles<3>();
  expect_tiles<4>();
  expect_tiles<5>();
}

TEST(tensor_copy, an_innermost_coordinate_of_no_whole_16_bytes_is_an_error) {
  tile_case<2> c;
  c.first.assign(1, {4, 0, 0, 0, 0});
  EXPECT_THROW(copied_tiles(c), simt::emulator::emulator_error);
}
TEST(tensor_copy, layouts_that_are_not_possible_are_refused) {
  alignas(16) static const std::uint16_t data[64] = {};
  const rapt::runtime::tensor_layout right{data, 2, {64, 1}, {64}, {64, 1}};
  simt::tensor_map map;
  EXPECT_FALSE(rapt::runtime::describe_tensor(right, map));
  const auto refused = [&](auto change) {
    auto t = right;
    change(t);
    const rapt::failure f = rapt::runtime::describe_tensor(t, map);
    return f && f.code == rapt::errc::shape;
  };
  EXPECT_TRUE(refused([](auto& t) { t.rank = 1; }));
  EXPECT_TRUE(refused([](auto& t) { t.rank = 6; }));
  EXPECT_TRUE(refused([](auto& t) { t.data = data + 1; }));
  EXPECT_TRUE(refused([](auto& t) { t.extents[1] = 0; }));
  EXPECT_TRUE(refused([](auto& t) { t.strides[0] = 4; }));
  EXPECT_TRUE(refused([](auto& t) { t.box[0] = 32; }));
  EXPECT_TRUE(refused([](auto& t) { t.box[1] = 257; }));
}

}  // namespace

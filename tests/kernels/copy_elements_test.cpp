#include <kernels/copy_elements.hpp>
#include <tests/kernels/schedules.hpp>

#include <numeric>

namespace {

using rapt::index_t;
using rapt::kernels::element_extents;
using rapt::kernels::strided_elements;

template <class T>
void copies_every_element_and_no_other() {
  const element_extents extents{2, 5, 3, 70};
  std::vector<T> from(20'000), to(20'000, T{1}), expected = to;
  std::iota(from.begin(), from.end(), T{2});
  // Rows last, and a gap between elements; against an order of its own.
  const strided_elements source{from.data(), 5, 1, 1'500, 20}, target{to.data(), 3'000, 500, 150, 2};
  for (index_t b = 0; b < extents.batch; ++b)
    for (index_t l = 0; l < extents.len; ++l)
      for (index_t h = 0; h < extents.heads; ++h)
        for (index_t d = 0; d < extents.dim; ++d)
          expected[static_cast<std::size_t>(b * 3'000 + l * 500 + h * 150 + d * 2)] = from[static_cast<std::size_t>(b * 5 + l + h * 1'500 + d * 20)];
  rapt::kernels::copy_elements(source, target, extents, sizeof(T), nullptr);
  ASSERT_EQ(to, expected);
}

TEST(copy_elements, between_any_strides_and_of_every_size) {
  rapt_test::under_every_schedule([] {
    copies_every_element_and_no_other<std::uint16_t>();
    copies_every_element_and_no_other<std::uint32_t>();
    copies_every_element_and_no_other<std::uint64_t>();
  });
  EXPECT_NO_THROW(rapt::kernels::copy_elements({}, {}, {1, 0, 1, 1}, 4, nullptr));
}

}  // namespace

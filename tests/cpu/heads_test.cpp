#include <cpu/rig.hpp>
#include <support/cpu_placement.hpp>
#include <support/repeated_heads.hpp>

namespace rapt_test {
namespace {
constexpr index_t batch = 2, len = 3, heads = 2, dim = 4;

TEST(repeat_heads, copies_every_head_in_the_order_of_repeat_interleave) {
  for (const int threads : {1, 2}) {
    cpu::context ctx({.num_threads = threads});
    expect_repeated_everywhere<cpu::backend>(ctx);
    expect_repeated<float, cpu::backend>(ctx, 2, 301, 4, 130, 3);  // several units of several rows, the last one short
    expect_repeated<float, cpu::backend>(ctx, 1, 3, 1, 100'000, 2);
  }
}

TEST(repeat_heads, without_elements_does_nothing) {
  cpu::context ctx({.num_threads = 1});
  EXPECT_NO_THROW(
      repeat_heads(ctx, view(static_cast<const float*>(nullptr), 0, len, heads, dim), view(static_cast<float*>(nullptr), 0, len, heads, dim)));
}

TEST(repeat_heads, bad_shapes_strides_and_overlaps_are_refused) {
  cpu::context ctx({.num_threads = 1});
  std::vector<float> x(batch * len * heads * dim, 1), y(2 * x.size(), 2);
  const std::vector<float> before = y;
  const auto from = view(std::as_const(x).data(), batch, len, heads, dim);
  const auto refused = [&](const tensor_view<const float, 4>& in, const tensor_view<float, 4>& out, const std::string& text) {
    try {
      repeat_heads(ctx, in, out);
      ADD_FAILURE() << "accepted";
    } catch (const shape_error& e) { EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what(); }
    EXPECT_TRUE(same_bits(y, before));
  };
  refused(from, view(y.data(), batch, len, heads + 1, dim), "repeat_heads: out has 3 heads; a multiple of x's 2");
  refused(from, view(y.data(), batch, len, heads, dim + 1), "repeat_heads: out has extent 5 (dim); 4 is needed");
  refused(from, view(static_cast<float*>(nullptr), batch, len, heads, dim), "out");
  refused(from.strided(len * heads * dim, heads * dim, 0, 1), view(y.data(), batch, len, heads, dim), "repeat_heads: x has strides [24, 8, 0, 1]");
  refused(from, view(y.data(), batch, len, heads, dim).strided(heads * dim, batch * heads * dim, dim, 1),
          "repeat_heads: out has strides [8, 16, 4, 1]");
  refused(view(std::as_const(y).data(), batch, len, heads, dim), view(y.data() + 1, batch, len, heads, dim), "x");
}

TEST(expand_heads, gives_a_stride_of_0_and_moves_no_byte) {
  const std::vector<float> x = counted<float>(batch * len * heads * dim);
  const auto from = view(x.data(), batch, len, heads, dim);
  const tensor_view<const float, 5> out = expand_heads(from, 3);
  EXPECT_EQ(out.data(), x.data());
  EXPECT_EQ(out.extents(), (std::array<index_t, 5>{batch, len, heads, 3, dim}));
  for (index_t g = 0; g < 3; ++g) EXPECT_EQ(&out(1, 2, 1, g, 3), &from(1, 2, 1, 3));
  const tensor_view<const float, 5> strided = expand_heads(from.strided(0, 2 * dim, 0, 1), 2);
  EXPECT_EQ(strided.strides(), (std::array<index_t, 5>{0, 2 * dim, 0, 0, 1}));
  EXPECT_THROW(expand_heads(from, 0), shape_error);
}

}  // namespace
}  // namespace rapt_test

// Joining attention over two halves of the keys.
#include <cpu/rig.hpp>
#include <rapt/ops/merge.hpp>

namespace rapt_test {
namespace {

template <class T>
struct partial {
  std::vector<T> out;
  std::vector<accumulator_t<T>> lse;
};
constexpr index_t batch = 2, q_len = 5, heads = 3, dim = 21, kv_len = 90, cut = 33;

template <class T>
partial<T> attended(cpu::context& ctx, index_t first, index_t last) {
  const auto q = random_values<T>(1, batch * q_len * heads * dim), k = random_values<T>(2, batch * kv_len * heads * dim),
             v = random_values<T>(3, batch * kv_len * heads * dim);
  partial<T> part{std::vector<T>(static_cast<std::size_t>(batch * q_len * heads * dim)),
                  std::vector<accumulator_t<T>>(static_cast<std::size_t>(batch * heads * q_len))};
  const auto keys = [&](const std::vector<T>& x) {
    return tensor_view<const T, 4>(x.data() + first * heads * dim, {batch, last - first, heads, dim}, {kv_len * heads * dim, heads * dim, dim, 1});
  };
  attend(ctx, view(q.data(), batch, q_len, heads, dim), keys(k), keys(v), view(part.out.data(), batch, q_len, heads, dim),
         view(part.lse.data(), batch, heads, q_len));
  return part;
}

template <class T>
partial<T> merged(cpu::context& ctx, const partial<T>& a, const partial<T>& b) {
  partial<T> both = a;
  const auto of = [](const partial<T>& p) {
    return partial_attention<T>{view(p.out.data(), batch, q_len, heads, dim), view(p.lse.data(), batch, heads, q_len)};
  };
  merge(ctx, of(a), of(b), view(both.out.data(), batch, q_len, heads, dim), view(both.lse.data(), batch, heads, q_len));
  return both;
}

template <class T>
void expect_whole(cpu::context& ctx, double unit) {
  const partial<T> whole = attended<T>(ctx, 0, kv_len), joined = merged(ctx, attended<T>(ctx, 0, cut), attended<T>(ctx, cut, kv_len));
  EXPECT_LE(max_difference(joined.out, std::vector<double>(whole.out.begin(), whole.out.end())), unit);
  EXPECT_LE(max_difference(joined.lse, std::vector<double>(whole.lse.begin(), whole.lse.end())), unit * 8);
}

TEST(merge, of_two_halves_is_the_whole_to_rounding) {
  for (const cpu::isa set : cpu::available_isas()) {
    cpu::context ctx({.num_threads = 2, .instruction_set = set});
    expect_whole<float>(ctx, 32 * 0x1p-23);
    expect_whole<double>(ctx, 32 * 0x1p-52);
  }
}

TEST(merge, with_a_side_that_saw_nothing_leaves_the_others_bits) {
  cpu::context ctx({.num_threads = 1});
  const partial<float> some = attended<float>(ctx, 0, cut);
  partial<float> none = some;
  std::fill(none.out.begin(), none.out.end(), std::numeric_limits<float>::quiet_NaN());
  std::fill(none.lse.begin(), none.lse.end(), -std::numeric_limits<float>::infinity());
  for (const partial<float>& joined : {merged(ctx, some, none), merged(ctx, none, some)}) {
    EXPECT_TRUE(same_bits(joined.out, some.out));
    EXPECT_TRUE(same_bits(joined.lse, some.lse));
  }
}

TEST(merge, does_not_depend_on_the_order_of_the_sides) {
  cpu::context ctx({.num_threads = 1});
  const partial<float> a = attended<float>(ctx, 0, cut), b = attended<float>(ctx, cut, kv_len);
  EXPECT_TRUE(same_bits(merged(ctx, a, b).out, merged(ctx, b, a).out));
  EXPECT_TRUE(same_bits(merged(ctx, a, b).lse, merged(ctx, b, a).lse));
}

}  // namespace
}  // namespace rapt_test

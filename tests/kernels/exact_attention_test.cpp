// Exact attention against the CPU's attend and the scalar model: every byte, for random shapes, options, layouts and types, whatever the schedule and
// the division of keys.
#include <contract/attend_case.hpp>
#include <tests/kernels/exact_attention_rig.hpp>
#include <tests/kernels/schedules.hpp>

namespace rapt_test {
namespace {

using contract::attend_case;
using contract::attend_limits;
using rapt::kernels::exact_parts;

constexpr exact_parts all_parts[] = {exact_parts::rows, exact_parts::super_segments, exact_parts::segments};

/// What hides keys from a case's rows goes.
void show_all(attend_case& c) {
  c.p.window_left = c.p.window_right = rapt::no_window;
  c.p.mask = {}, c.p.alibi_slopes = nullptr, c.p.softmax_scale = 0.1;
  for (rapt::sequence_rows& s : c.sequences) s.visible_len = s.kv_len;
}

/// One division of keys for each case, or all of them and all keys to be seen.
void compare(std::uint64_t seed, const attend_limits& limits, bool by_all_parts) {
  attend_case c = make_case(seed, limits);
  if (by_all_parts) show_all(c);
  SCOPED_TRACE(describe(seed, c));
  const contract::random_tensor untouched_out = c.out.copy(), untouched_lse = c.lse.copy();
  const auto with_outputs = [&](contract::random_tensor& out, contract::random_tensor& lse) {
    rapt::attend_params p = c.p;
    p.out = out.o;
    if (p.lse.data != nullptr) p.lse = lse.o;
    return p;
  };
  contract::random_tensor of_cpu = untouched_out.copy(), lse_of_cpu = untouched_lse.copy();
  rapt::cpu::context& ctx = contract::context_for(rapt::cpu::isa::automatic, 1);
  const rapt::attend_params for_cpu = with_outputs(of_cpu, lse_of_cpu);
  contract::run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::attend(ctx, for_cpu, scratch); });

  contract::with_accumulator(c.p.accumulator, [&](auto a) {
    using A = decltype(a);
    contract::model_attend<A>(c.p);
    const auto schedules = all_schedules();
    const rapt::simt::emulator::scoped_device device(schedules[seed % schedules.size()]);
    for (const exact_parts by : all_parts) {
      if (!by_all_parts && by != all_parts[seed % 3]) continue;
      contract::random_tensor out = untouched_out.copy(), lse = untouched_lse.copy();
      const rapt::attend_params p = with_outputs(out, lse);
      exact_attention_rig<A>(p).run(by);
      contract::expect_same_bytes(out.bytes(), c.out.bytes(), out.o.type, "out, model");
      contract::expect_same_bytes(lse.bytes(), c.lse.bytes(), lse.o.type, "lse, model");
      contract::expect_same_bytes(out.bytes(), of_cpu.bytes(), out.o.type, "out, CPU");
      contract::expect_same_bytes(lse.bytes(), lse_of_cpu.bytes(), lse.o.type, "lse, CPU");
    }
  });
}

void compare_many(std::uint64_t first_seed, int count, const attend_limits& limits, bool by_all_parts = false) {
  for (int i = 0; i < count && !testing::Test::HasFailure(); ++i) compare(first_seed + static_cast<std::uint64_t>(i), limits, by_all_parts);
}

TEST(exact_attention, short_sequences) { compare_many(101'000, 150, {.work = 1e5}); }
TEST(exact_attention, many_rows) { compare_many(103'000, 10, {.lens = {17, 65, 130, 300}, .max_rows = 150, .work = 2e6}); }
TEST(exact_attention, around_one_segment) { compare_many(104'000, 20, {.lens = {511, 512, 513, 1024, 1025}, .max_rows = 6, .work = 5e5}); }
TEST(exact_attention, around_one_super_segment) { compare_many(105'000, 6, {.lens = {8191, 8192, 8193, 16385}, .max_rows = 3, .work = 1e6}); }
TEST(exact_attention, super_segments_of_several_segments_by_every_division_of_keys) {
  compare_many(105'000, 5, {.lens = {9217, 17'500}, .max_rows = 2, .work = 1e6}, true);
}
TEST(exact_attention, special_values_in_queries_keys_and_values) {
  compare_many(106'000, 60, {.lens = {1, 15, 17, 65, 513}, .max_rows = 8, .work = 1e5, .special_values = true});
}

TEST(exact_attention, bits_are_the_same_under_every_schedule_and_division_of_keys) {
  for (const std::uint64_t seed : {107'000, 107'001, 107'002, 107'003}) {
    attend_case c = contract::make_case(seed, {.lens = {513, 1030}, .max_rows = 3, .work = 3e5});
    SCOPED_TRACE(describe(seed, c));
    contract::with_accumulator(c.p.accumulator, [&](auto a) {
      contract::model_attend<decltype(a)>(c.p);
      const contract::random_tensor expected = c.out.copy();
      under_every_schedule([&] {
        for (const exact_parts by : all_parts) {
          exact_attention_rig<decltype(a)>(c.p).run(by);
          contract::expect_same_bytes(c.out.bytes(), expected.bytes(), c.out.o.type, "out");
        }
      });
    });
  }
}

// More blocks than keep a device busy are one for each tile of rows; fewer divide the keys.
TEST(exact_attention, divides_keys_where_rows_are_few) {
  rapt::kernels::exact_attention_problem<float> p;
  p.num_heads = 32, p.num_kv_heads = 8, p.head_dim = p.value_dim = 128, p.num_sequences = 1;
  EXPECT_EQ(exact_parts_of(p, {.max_q_len = 1, .max_kv_len = 4096}), exact_parts::segments);
  EXPECT_EQ(exact_parts_of(p, {.max_q_len = 20, .max_kv_len = 131072}), exact_parts::super_segments);
  EXPECT_EQ(exact_parts_of(p, {.max_q_len = 1000, .max_kv_len = 131072}), exact_parts::rows);
  p.q.len = 1000;
  EXPECT_EQ(exact_attention_bytes(p, {.max_q_len = 1000, .max_kv_len = 8192}), std::size_t{1000 * 32 * 130 * 4});
  EXPECT_EQ(exact_attention_bytes(p, {.max_q_len = 1000, .max_kv_len = 8193}), std::size_t{2 * 1000 * 32 * 130 * 4});
}

TEST(exact_attention, errors_are_found_before_anything_is_written) {
  const auto code_of = [](auto change) {
    std::vector<float> x(64, 1.0f), out(64, 5.0f), workspace(64);
    const rapt::kernels::sequence s{.first_row = 0, .q_len = 2, .kv_len = 2};
    rapt::kernels::exact_attention_problem<float> p;
    p.q.data = x.data(), p.q.len = 2, p.q.heads = 1, p.q.dim = 8, p.q.len_stride = 8;
    p.k = p.v = p.out = p.q, p.out.data = out.data();
    p.sequences = &s, p.num_sequences = 1, p.num_heads = p.num_kv_heads = 1, p.head_dim = p.value_dim = 8;
    rapt::kernels::exact_limits limits{.max_q_len = 2, .max_kv_len = 2};
    void* memory = workspace.data();
    change(p, limits, memory);
    try {
      rapt::kernels::attend_exact(p, limits, memory, nullptr);
    } catch (const rapt::error& e) {
      EXPECT_EQ(out, std::vector<float>(64, 5.0f));
      return e.code();
    }
    return rapt::errc::none;
  };
  using problem = rapt::kernels::exact_attention_problem<float>;
  using limits = rapt::kernels::exact_limits;
  const auto code_of_problem = [&](auto change) { return code_of([&](problem& p, limits&, void*&) { change(p); }); };
  using rapt::errc;
  EXPECT_EQ(code_of_problem([](problem&) {}), errc::none);
  EXPECT_EQ(code_of_problem([](problem& p) { p.num_sequences = 0; }), errc::none);
  EXPECT_EQ(code_of_problem([](problem& p) { p.num_sequences = -1; }), errc::shape);
  EXPECT_EQ(code_of_problem([](problem& p) { p.num_kv_heads = 2; }), errc::config);
  EXPECT_EQ(code_of_problem([](problem& p) { p.head_dim = 0; }), errc::config);
  EXPECT_EQ(code_of_problem([](problem& p) { p.softmax_scale = HUGE_VAL; }), errc::config);
  EXPECT_EQ(code_of_problem([](problem& p) { p.softcap = -1; }), errc::config);
  EXPECT_EQ(code_of_problem([](problem& p) { p.window_left = -2; }), errc::config);
  EXPECT_EQ(code_of_problem([](problem& p) { p.dropout_p = 1; }), errc::config);
  EXPECT_EQ(code_of_problem([](problem& p) { p.dropout_p = 0.5; }), errc::shape);
  EXPECT_EQ(code_of_problem([](problem& p) { p.q.data = nullptr; }), errc::shape);
  EXPECT_EQ(code_of_problem([](problem& p) { p.v.type = rapt::dtype::i64; }), errc::shape);
  EXPECT_EQ(code_of_problem([](problem& p) { p.lse = p.out, p.lse.type = rapt::dtype::f64; }), errc::shape);
  EXPECT_EQ(code_of_problem([](problem& p) { p.sequences = nullptr; }), errc::shape);
  EXPECT_EQ(code_of([](problem&, limits& l, void*&) { l.max_q_len = -1; }), errc::shape);
  EXPECT_EQ(code_of([](problem&, limits&, void*& memory) { memory = nullptr; }), errc::shape);
  const bool visible = true;
  const float added = 0;
  EXPECT_EQ(code_of_problem([&](problem& p) { p.mask.visible = &visible, p.mask.added = &added; }), errc::config);
}

}  // namespace
}  // namespace rapt_test

// Exact append and rotation against the CPU's and the scalar model: every byte, for random norms, rotations, positions, types and layouts, under
// every schedule.
#include <contract/append_case.hpp>
#include <kernels/exact_append.hpp>
#include <math/elementary.hpp>
#include <tests/kernels/row_cache.hpp>
#include <tests/kernels/schedules.hpp>

namespace rapt_test {
namespace {

using contract::append_case;
using contract::random_tensor;
using contract::rotate_case;
using rapt::index_t;
using namespace rapt::kernels;

/// What a device reads in arrays. Angles lie by rows of the step, or by positions where these are small.
template <class A>
struct append_arrays {
  std::vector<sequence> sequences;
  std::vector<angle_of<A>> angles;
  std::vector<index_t> angle_rows;
  exact_append_problem<A> problem;

  append_arrays(const rapt::sequence_rows* of, index_t count, index_t total_rows, const rapt::norm_params& norm, const rapt::rope_params& rope) {
    index_t last_position = 0;
    bool by_position = true;
    std::vector<index_t> positions(static_cast<std::size_t>(total_rows));
    for (index_t n = 0; n < count; ++n) {
      sequence s;
      s.first_row = static_cast<int>(of[n].first_row), s.q_len = static_cast<int>(of[n].num_rows);
      s.kv_len = static_cast<int>(of[n].kv_len + of[n].num_rows), s.first_position = static_cast<int>(of[n].first_position);
      sequences.push_back(s);
      by_position = by_position && of[n].positions == nullptr && of[n].first_position < 200;
      for (index_t i = 0; i < of[n].num_rows; ++i) {
        const index_t position = contract::position_of_row(of[n], i);
        positions[static_cast<std::size_t>(of[n].first_row + i)] = position, last_position = std::max(last_position, position);
      }
    }
    if (by_position) {
      positions.clear();
      for (index_t i = 0; i <= last_position; ++i) positions.push_back(i);
    }
    for (std::size_t row = 0; row < positions.size(); ++row) {
      angle_rows.push_back(static_cast<index_t>(row));
      for (index_t i = 0; i < rope.dim / 2; ++i) {
        double s = 0, c = 0;
        rapt::math::sincos(static_cast<double>(positions[row]) * rope.inverse_frequencies[i], s, c);
        angles.push_back({static_cast<A>(c * rope.attention_factor), static_cast<A>(s * rope.attention_factor)});
      }
    }
    problem.sequences = sequences.data(), problem.num_sequences = static_cast<int>(count);
    problem.q_norm = problem.k_norm = static_cast<const A*>(norm.weight), problem.eps = norm.eps;
    problem.rope_dim = static_cast<int>(rope.dim), problem.interleaved = rope.interleaved, problem.angles = angles.data();
    if (!by_position) problem.angle_rows = {angle_rows.data(), 0, 1, 0};
  }
  append_arrays(const append_arrays&) = delete;
  append_arrays& operator=(const append_arrays&) = delete;
};

void compare_rotate(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  rotate_case c(seed);
  const auto rotated = [&](auto rotate) {
    random_tensor x = c.x.copy();
    rapt::rotate_params p = c.p;
    p.x = x.o;
    rotate(p);
    return x;
  };
  contract::with_accumulator(c.p.accumulator, [&](auto a) {
    using A = decltype(a);
    const random_tensor of_model = rotated([](const auto& p) { contract::model_rotate<A>(p); });
    const random_tensor of_cpu = rotated([](const auto& p) {
      rapt::cpu::context& ctx = contract::context_for(rapt::cpu::isa::automatic, 1);
      contract::run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::rotate(ctx, p, scratch); });
    });
    const auto schedules = all_schedules();
    const rapt::simt::emulator::scoped_device device(schedules[seed % schedules.size()]);
    append_arrays<A> arrays(c.p.sequences, c.p.num_sequences, c.rows.total, c.p.norm, c.p.rope);
    const random_tensor in_place = rotated([&](const auto& p) {
      arrays.problem.q = arrays.problem.q_out = p.x;
      append_exact(arrays.problem, nullptr);
    });
    contract::expect_same_bytes(in_place.bytes(), of_model.bytes(), c.p.accumulator, "x, model");
    contract::expect_same_bytes(in_place.bytes(), of_cpu.bytes(), c.p.accumulator, "x, CPU");
  });
}

void compare_append(std::uint64_t seed) {
  SCOPED_TRACE("case " + std::to_string(seed));
  append_case c(seed);
  contract::with_accumulator(c.p.accumulator, [&](auto a) {
    using A = decltype(a);
    const std::vector<std::byte> before = c.kv.bytes();
    row_cache cache(c.p.kv, c.p.sequences, c.lens);
    append_arrays<A> arrays(c.p.sequences, c.p.num_sequences, c.rows.total, c.p.norm, c.p.rope);
    for (std::size_t n = 0; n < cache.first_pages.size(); ++n) arrays.sequences[n].first_key = cache.first_pages[n];
    auto& problem = arrays.problem;
    problem.k = c.p.k, problem.v = c.p.v, problem.k_out = cache.k, problem.v_out = cache.v;
    problem.page_table = cache.page_table.data(), problem.page_len = static_cast<int>(c.p.kv.page_len);
    const auto schedules = all_schedules();
    const rapt::simt::emulator::scoped_device device(schedules[seed % schedules.size()]);
    append_exact(problem, nullptr);

    const auto compare_with = [&](const char* whose) {
      std::vector<std::byte> got, expected;
      row_cache rest(c.p.kv, c.p.sequences, c.lens);  // and beside the new rows nothing is written
      for (std::size_t n = 0; n < c.sequences.size(); ++n) {
        const rapt::sequence_rows& s = c.sequences[n];
        row_cache::for_each_element(cache, c.p.kv, s, s.kv_len, c.lens[n], [&](const std::byte* theirs, std::byte* ours) {
          expected.insert(expected.end(), theirs, theirs + size_of(c.kv_type));
          got.insert(got.end(), ours, ours + size_of(c.kv_type));
        });
        row_cache::for_each_element(rest, c.p.kv, s, s.kv_len, c.lens[n], [&](const std::byte*, std::byte* to) {
          std::copy_n(cache.bytes.data() + (to - rest.bytes.data()), size_of(c.kv_type), to);
        });
      }
      contract::expect_same_bytes(got, expected, c.kv_type, whose);
      EXPECT_EQ(cache.bytes, rest.bytes);
    };
    contract::model_append<A>(c.p);
    compare_with("model");
    c.kv.restore(before);
    rapt::cpu::context& ctx = contract::context_for(rapt::cpu::isa::automatic, 1);
    contract::run_measured(ctx, [&](rapt::workspace& scratch) { rapt::cpu::backend::append(ctx, c.p, scratch); });
    compare_with("CPU");
  });
}

TEST(exact_append, norm_and_rotation_in_place) {
  for (std::uint64_t seed = 0; seed < 120 && !HasFailure(); ++seed) compare_rotate(140'000 + seed);
}
TEST(exact_append, rows_rounded_to_the_cache_dtype) {
  for (std::uint64_t seed = 0; seed < 60 && !HasFailure(); ++seed) compare_append(150'000 + seed);
}

TEST(exact_append, errors_are_found_before_anything_is_written) {
  const auto code_of = [](auto change) {
    std::vector<float> x(64), to(64, 5.0f);
    const sequence s{.first_row = 0, .q_len = 2, .kv_len = 2};
    const angle_of<float> angles[32] = {};
    exact_append_problem<float> p;
    p.k.data = x.data(), p.k.len = 2, p.k.heads = 1, p.k.dim = 32, p.k.len_stride = 32;
    p.k_out = p.k, p.k_out.data = to.data();
    p.sequences = &s, p.num_sequences = 1, p.rope_dim = 32, p.angles = angles;
    change(p);
    try {
      append_exact(p, nullptr);
    } catch (const rapt::error& e) {
      EXPECT_EQ(to, std::vector<float>(64, 5.0f));
      return e.code();
    }
    return rapt::errc::none;
  };
  using problem = exact_append_problem<float>;
  EXPECT_EQ(code_of([](problem&) {}), rapt::errc::none);
  EXPECT_EQ(code_of([](problem& p) { p.num_sequences = 0; }), rapt::errc::none);
  EXPECT_EQ(code_of([](problem& p) { p.num_sequences = -1; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.rope_dim = 34; }), rapt::errc::config);
  EXPECT_EQ(code_of([](problem& p) { p.rope_dim = 3; }), rapt::errc::config);
  EXPECT_EQ(code_of([](problem& p) { p.eps = -1; }), rapt::errc::config);
  EXPECT_EQ(code_of([](problem& p) { p.angles = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.sequences = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.k_out.data = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.k.type = rapt::dtype::i64; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.q = p.k, p.q_out = p.k_out, p.q.len = 1; }), rapt::errc::shape);
}

}  // namespace
}  // namespace rapt_test

#include <contract/scalar_model.hpp>
#include <kernels/append.hpp>
#include <math/elementary.hpp>
#include <rapt/ops/rope.hpp>
#include <tests/kernels/schedules.hpp>

#include <cmath>
#include <random>

namespace {

namespace simt = rapt::simt;
using rapt::bf16;
using rapt::f16;
using rapt::index_t;
using namespace rapt::kernels;

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

struct append_shape {
  std::vector<std::pair<int, int>> lens;  // q_len, kv_len of each sequence
  int num_heads = 2, num_kv_heads = 1, head_dim = 64, value_dim = 64, page_len = 16, rope_dim = 64;
  bool interleaved = false, norm = false, explicit_rows = false;
  int gap = 0;  // elements between heads' rows
};

/// Rows of a step, and a cache in pages (page_len > 0) or one row of tokens after another.
template <class From, class T>
struct append_rig {
  append_shape shape;
  std::vector<From> q, k, v;
  std::vector<T> q_out, cache_k, cache_v;
  std::vector<sequence> sequences;
  std::vector<std::int32_t> pages;
  std::vector<float> q_norm, k_norm;
  std::vector<angle> angles;
  std::vector<index_t> angle_rows;
  std::vector<double> frequencies;
  append_problem<From, T> problem;

  explicit append_rig(const append_shape& s) : shape(s) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    int rows = 0, tokens = 0, num_positions = 0;
    for (const auto& [q_len, kv_len] : s.lens) {
      // A row that no sequence has lies before each.
      sequences.push_back({.first_row = ++rows, .q_len = q_len, .kv_len = kv_len, .first_position = kv_len - q_len + 3, .first_key = tokens});
      rows += q_len;
      tokens += s.page_len > 0 ? (kv_len + s.page_len - 1) / s.page_len : kv_len;
      num_positions = std::max(num_positions, kv_len + 3);
    }
    const auto fill = [&](auto& x, index_t size) {
      x.resize(at(size));
      for (auto& e : x) e = std::remove_reference_t<decltype(e)>(normal(random));
    };
    const int d = s.head_dim + s.gap, dv = s.value_dim + s.gap;
    fill(q, index_t{rows} * s.num_heads * d);
    fill(k, index_t{rows} * s.num_kv_heads * d);
    fill(v, index_t{rows} * s.num_kv_heads * dv);
    q_out.assign(at(index_t{rows} * s.num_heads * d), untouched());
    const index_t places = index_t{tokens} * std::max(s.page_len, 1) * s.num_kv_heads;
    cache_k.assign(at(places * d), untouched());
    cache_v.assign(at(places * dv), untouched());
    problem.q = {q.data(), 0, s.num_heads * d, d}, problem.k = {k.data(), 0, s.num_kv_heads * d, d},
    problem.v = {v.data(), 0, s.num_kv_heads * dv, dv};
    problem.q_out = {q_out.data(), 0, s.num_heads * d, d};
    if (s.page_len > 0) {
      for (int i = 0; i < tokens; ++i) pages.push_back(i);
      std::shuffle(pages.begin(), pages.end(), random);
      problem.page_table = pages.data(), problem.page_len = s.page_len;
      problem.k_out = {cache_k.data(), index_t{s.num_kv_heads} * s.page_len * d, d, index_t{s.page_len} * d};
      problem.v_out = {cache_v.data(), index_t{s.num_kv_heads} * s.page_len * dv, dv, index_t{s.page_len} * dv};
    } else {
      problem.k_out = {cache_k.data(), 0, index_t{s.num_kv_heads} * d, d};
      problem.v_out = {cache_v.data(), 0, index_t{s.num_kv_heads} * dv, dv};
    }
    problem.sequences = sequences.data(), problem.num_sequences = static_cast<int>(sequences.size()), problem.num_rows = rows;
    problem.num_heads = s.num_heads, problem.num_kv_heads = s.num_kv_heads, problem.head_dim = s.head_dim, problem.value_dim = s.value_dim;
    if (s.norm) {
      fill(q_norm, s.head_dim);
      fill(k_norm, s.head_dim);
      problem.q_norm = q_norm.data(), problem.k_norm = k_norm.data(), problem.eps = 1e-6f;
    }
    problem.rope_dim = s.rope_dim, problem.interleaved = s.interleaved;
    for (int i = 0; i < s.rope_dim / 2; ++i) frequencies.push_back(std::pow(10000.0, -2.0 * i / s.rope_dim));
    for (int position = 0; position < num_positions; ++position)
      for (const double f : frequencies) {
        double sine, cosine;
        rapt::math::sincos(position * f, sine, cosine);
        angles.push_back({static_cast<float>(cosine * 1.25), static_cast<float>(sine * 1.25)});
      }
    problem.angles = angles.data();
    if (s.explicit_rows) {
      for (int i = 0; i < rows; ++i) angle_rows.push_back(static_cast<index_t>(random() % static_cast<unsigned>(num_positions)));
      problem.angle_rows = {angle_rows.data(), 0, 1, 0};
    }
  }
  append_rig(const append_rig&) = delete;
  append_rig& operator=(const append_rig&) = delete;

  static T untouched() {
    T x;
    x.bits = 0x5a5a;
    return x;
  }
  /// The contract's bits of a head: norm where there are weights, rotation, one rounding.
  std::vector<std::uint16_t> expected(const From* from, int dim, const std::vector<float>* weights, bool rotated, index_t position) const {
    std::vector<float> x;
    for (int d = 0; d < dim; ++d) x.push_back(static_cast<float>(from[d]));
    if (weights != nullptr && !weights->empty()) rapt_test::contract::normalise<float>(x, weights->data(), 1e-6);
    if (rotated) rapt_test::contract::rotate<float>(x, {shape.rope_dim, shape.interleaved, frequencies.data(), 1.25}, position);
    std::vector<std::uint16_t> bits;
    for (const float y : x) bits.push_back(T(y).bits);
    return bits;
  }
  static std::vector<std::uint16_t> bits_of(const T* x, int dim) {
    std::vector<std::uint16_t> bits;
    for (int d = 0; d < dim; ++d) bits.push_back(x[d].bits);
    return bits;
  }

  void check() const {
    index_t written[3] = {};  // elements of q_out, cache_k, cache_v that should have been
    for (int i = 0; i < problem.num_sequences; ++i) {
      const sequence& s = sequences[at(i)];
      for (int row = 0; row < s.q_len; ++row) {
        const int r = s.first_row + row, key = s.kv_len - s.q_len + row;
        const index_t position = shape.explicit_rows ? angle_rows[at(r)] : s.first_position + row;
        const int outer = shape.page_len > 0 ? pages[at(s.first_key + key / shape.page_len)] : 0;
        const int token = shape.page_len > 0 ? key % shape.page_len : s.first_key + key;
        for (int h = 0; h < shape.num_heads && problem.q.data != nullptr; ++h, written[0] += shape.head_dim)
          ASSERT_EQ(bits_of(problem.q_out.at(0, r, h), shape.head_dim), expected(problem.q.at(0, r, h), shape.head_dim, &q_norm, true, position))
              << "query " << r << ", head " << h;
        for (int h = 0; h < shape.num_kv_heads; ++h, written[1] += shape.head_dim, written[2] += shape.value_dim) {
          ASSERT_EQ(bits_of(problem.k_out.at(outer, token, h), shape.head_dim),
                    expected(problem.k.at(0, r, h), shape.head_dim, &k_norm, true, position))
              << "key " << r << ", head " << h;
          ASSERT_EQ(bits_of(problem.v_out.at(outer, token, h), shape.value_dim), expected(problem.v.at(0, r, h), shape.value_dim, nullptr, false, 0))
              << "value " << r << ", head " << h;
        }
      }
    }
    const std::vector<T>* const all[3] = {&q_out, &cache_k, &cache_v};
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(std::count_if(all[i]->begin(), all[i]->end(), [](T x) { return x.bits != untouched().bits; }), written[i]) << "tensor " << i;
  }
};

template <class From, class T>
void check_shape(const append_shape& s) {
  append_rig<From, T> rig(s);
  append_rows(rig.problem, nullptr);
  rig.check();
}
template <class T>
void check_types(const append_shape& s) {
  check_shape<float, T>(s);
  check_shape<T, T>(s);
}

template <class T>
class append : public testing::Test {};
using element_types = testing::Types<f16, bf16>;
TYPED_TEST_SUITE(append, element_types);

TYPED_TEST(append, gives_the_bits_of_the_contract_in_every_layout) {
  for (const bool interleaved : {false, true})
    for (const bool norm : {false, true})
      for (const append_shape& s :
           {append_shape{.lens = {{1, 1}}}, append_shape{.lens = {{3, 50}, {1, 16}, {17, 17}}, .num_heads = 4, .num_kv_heads = 2, .page_len = 48},
            append_shape{.lens = {{2, 40}, {1, 65}}, .num_heads = 33, .num_kv_heads = 3, .head_dim = 128, .value_dim = 128, .rope_dim = 96},
            append_shape{.lens = {{5, 33}}, .head_dim = 192, .value_dim = 96, .rope_dim = 192},
            append_shape{.lens = {{5, 33}}, .head_dim = 256, .value_dim = 256, .page_len = 0, .rope_dim = 64},
            append_shape{.lens = {{2, 18}, {0, 4}, {1, 9}}, .head_dim = 80, .value_dim = 17, .page_len = 0, .rope_dim = 80},
            append_shape{.lens = {{2, 18}}, .num_heads = 3, .head_dim = 40, .value_dim = 72, .rope_dim = 16},
            append_shape{.lens = {{2, 18}}, .head_dim = 40, .value_dim = 8, .rope_dim = 24},
            append_shape{.lens = {{2, 18}}, .num_heads = 9, .head_dim = 64, .value_dim = 128, .rope_dim = 0},
            append_shape{.lens = {{2, 18}}, .head_dim = 33, .value_dim = 50, .rope_dim = 10, .gap = 3}}) {
        append_shape shape = s;
        shape.interleaved = interleaved, shape.norm = norm, shape.explicit_rows = s.lens.size() == 3;
        check_types<TypeParam>(shape);
        if (this->HasFatalFailure()) FAIL() << s.head_dim << ' ' << interleaved << ' ' << norm;
      }
}

// So many elements that a rounding too many shows, which the one to 16 bits mostly hides.
TYPED_TEST(append, gives_the_bits_of_the_contract_over_many_rows) {
  check_types<TypeParam>({.lens = {{300, 400}}, .num_heads = 12, .head_dim = 128, .value_dim = 8, .rope_dim = 128, .norm = true});
}

// So many rows that a block takes all heads of one.
TYPED_TEST(append, a_block_takes_one_head_after_another) {
  for (const bool norm : {false, true})
    check_types<TypeParam>({.lens = {{append_whole_rows, append_whole_rows}}, .num_heads = 31, .num_kv_heads = 2, .value_dim = 32, .norm = norm});
}

TYPED_TEST(append, bits_are_the_same_under_every_schedule) {
  rapt_test::under_every_schedule([] {
    check_types<TypeParam>({.lens = {{3, 50}, {2, 16}}, .num_heads = 17, .head_dim = 128, .value_dim = 128, .rope_dim = 128, .norm = true});
  });
}

TYPED_TEST(append, finds_a_row_among_many_sequences) {
  append_shape s{.lens = {}, .num_heads = 1};
  for (int i = 0; i < 70; ++i) s.lens.emplace_back(i % 3, 20 + i);
  check_types<TypeParam>(s);
}

TYPED_TEST(append, keys_and_values_alone) {
  append_rig<float, TypeParam> rig({.lens = {{2, 20}}, .norm = true});
  rig.problem.q.data = nullptr;
  append_rows(rig.problem, nullptr);
  rig.check();
}

TYPED_TEST(append, queries_in_place) {
  append_rig<TypeParam, TypeParam> rig({.lens = {{9, 20}}, .num_heads = 20}), apart({.lens = {{9, 20}}, .num_heads = 20});
  rig.problem.q_out = {rig.q.data(), rig.problem.q.outer_stride, rig.problem.q.row_stride, rig.problem.q.head_stride};
  append_rows(rig.problem, nullptr);
  append_rows(apart.problem, nullptr);
  const std::size_t first = at(apart.problem.q.row_stride);  // the first row is no sequence's
  for (std::size_t i = first; i < rig.q.size(); ++i) ASSERT_EQ(rig.q[i].bits, apart.q_out[i].bits) << i;
}

TYPED_TEST(append, stores_the_canonical_nan) {
  append_rig<TypeParam, TypeParam> rig({.lens = {{1, 1}}});
  rig.v[65].bits = 0xffff;
  append_rows(rig.problem, nullptr);
  EXPECT_EQ(rig.problem.v_out.at(rig.pages[0], 0, 0)[1].bits, TypeParam(std::numeric_limits<float>::quiet_NaN()).bits);
}

TEST(append_errors, are_found_before_anything_is_written) {
  const auto code_of = [](auto change) {
    append_rig<float, bf16> rig({.lens = {{1, 1}}});
    change(rig.problem);
    try {
      append_rows(rig.problem, nullptr);
    } catch (const rapt::error& e) {
      for (const bf16 x : rig.cache_k) EXPECT_EQ(x.bits, 0x5a5a);
      return e.code();
    }
    return rapt::errc::none;
  };
  using problem = append_problem<float, bf16>;
  EXPECT_EQ(code_of([](problem&) {}), rapt::errc::none);
  EXPECT_EQ(code_of([](problem& p) { p.num_rows = 0; }), rapt::errc::none);
  EXPECT_EQ(code_of([](problem& p) { p.num_kv_heads = -1; }), rapt::errc::config);
  EXPECT_EQ(code_of([](problem& p) { p.head_dim = 257; }), rapt::errc::config);
  EXPECT_EQ(code_of([](problem& p) { p.rope_dim = 66; }), rapt::errc::config);
  EXPECT_EQ(code_of([](problem& p) { p.rope_dim = 3; }), rapt::errc::config);
  EXPECT_EQ(code_of([](problem& p) { p.eps = -1; }), rapt::errc::config);
  EXPECT_EQ(code_of([](problem& p) { p.angles = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.v.data = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.q_out.data = nullptr; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.k_out.row_stride = -1; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.page_len = 24; }), rapt::errc::shape);
  EXPECT_EQ(code_of([](problem& p) { p.num_rows = -1; }), rapt::errc::shape);
}

}  // namespace

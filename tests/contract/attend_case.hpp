// Random calls of attend: shapes, options, layouts and types, a case for each seed.
#pragma once
#include <contract/params_model.hpp>
#include <contract/random_operands.hpp>

#include <sstream>

namespace rapt_test::contract {

struct attend_case {
  random_tensor q, k, v, out, lse;
  random_kv kv;
  std::vector<rapt::sequence_rows> sequences;
  std::vector<std::vector<index_t>> q_positions;
  std::vector<index_t> k_positions;
  std::vector<double> alibi, sinks;
  std::unique_ptr<bool[]> bool_mask;
  std::vector<float> float_mask;
  std::vector<double> double_mask;
  rapt::attend_params p;
};

struct attend_limits {
  std::vector<index_t> lens = {1, 15, 16, 17, 63, 65};
  index_t max_rows = 12;
  double work = 3e5;  ///< rows * heads * keys * (head_dim + value_dim) of the whole case, at most, where shapes allow
  bool special_values = false;
  bool bf16_pairs = false;
};

inline index_t some_dim(random_source& random) { return random.pick<index_t>({1, 3, 16, 17, 32, 63, 64, 65, 128, 130, 256}); }

/// Some elements become NaN, infinite, zero or tiny.
inline void strew(random_source& random, const rapt::operand& o) {
  for (index_t n = random.between(1, 3); n > 0; --n) {
    const index_t at = o.offset(random.below(o.rows()), random.below(o.heads)) + random.below(o.dim) * o.dim_stride;
    const double infinity = std::numeric_limits<double>::infinity();
    store<double>(o.type, o.data, at, random.pick<double>({std::nan(""), infinity, -infinity, -0.0, 1e-42, 3e38, -3e38}));
  }
}

inline void add_mask(random_source& random, attend_case& c, index_t num_keys, index_t num_rows, bool additive) {
  const auto n = static_cast<index_t>(c.sequences.size()), heads = c.p.q.heads;
  rapt::mask_operand& m = c.p.mask;
  m.kind = additive ? rapt::mask_kind::additive : rapt::mask_kind::boolean;
  const index_t extents[] = {random.chance(0.5) ? n : 1, random.chance(0.5) ? heads : 1, random.chance(0.7) ? num_rows : 1};
  m.key_stride = random.pick<index_t>({1, 1, 2});
  const index_t row = num_keys * m.key_stride + random.below(3);
  m.row_stride = extents[2] == 1 ? 0 : row;
  m.head_stride = extents[1] == 1 ? 0 : row * extents[2];
  m.batch_stride = extents[0] == 1 ? 0 : row * extents[2] * extents[1];
  const auto count = static_cast<std::size_t>(row * extents[0] * extents[1] * extents[2]);
  const double hidden = random.pick<double>({0.05, 0.3, 0.9, 0.999});
  const double infinity = std::numeric_limits<double>::infinity();
  if (additive) {
    const auto draw = [&] { return random.chance(hidden) ? -infinity : random.chance(0.001) ? infinity : 3 * random.symmetric(); };
    for (std::size_t i = 0; i < count; ++i)
      if (c.p.accumulator == dtype::f64)
        c.double_mask.push_back(draw());
      else
        c.float_mask.push_back(static_cast<float>(draw()));
    m.data = c.p.accumulator == dtype::f64 ? static_cast<const void*>(c.double_mask.data()) : c.float_mask.data();
  } else {
    c.bool_mask = std::make_unique<bool[]>(count);
    for (std::size_t i = 0; i < count; ++i) c.bool_mask[i] = !random.chance(hidden);
    m.data = c.bool_mask.get();
  }
}

inline void add_options(random_source& random, attend_case& c, index_t longest) {
  rapt::attend_params& p = c.p;
  p.softmax_scale = random.pick<double>({1 / std::sqrt(static_cast<double>(p.q.dim)), 0.3, 1.0, 7.5, -0.5, 0.0});
  if (random.chance(0.25)) p.softcap = random.pick<double>({0.5, 5.0, 30.0});
  if (random.chance(0.25)) {
    for (index_t h = 0; h < p.q.heads; ++h) c.alibi.push_back(random.uniform());
    p.alibi_slopes = c.alibi.data();
  }
  if (random.chance(0.25)) {
    for (index_t h = 0; h < p.q.heads; ++h) c.sinks.push_back(static_cast<double>(static_cast<float>(4 * random.symmetric())));
    p.sink_logits = c.sinks.data();
  }
  if (random.chance(0.4)) p.window_right = random.pick<index_t>({0, 0, 0, 1, 7, 600});
  if (random.chance(0.25)) p.window_left = random.pick<index_t>({0, 1, 15, 16, 100, 600});
  if (random.chance(0.2)) p.dropout_p = random.pick<double>({0.1, 0.5, 0.9}), p.dropout_seed = random.bits(), p.dropout_offset = random.bits();
  if (random.chance(0.5)) {
    index_t num_rows = 0, num_keys = longest;
    for (rapt::sequence_rows& s : c.sequences) {
      num_rows = std::max(num_rows, s.num_rows);
      s.mask_row = random.chance(0.2) ? 1 : 0;
    }
    const bool additive = random.chance(0.5);
    const bool only_new_rows = !additive && random.chance(0.3);
    for (rapt::sequence_rows& s : c.sequences)
      if (only_new_rows) s.mask_first_key = std::max<index_t>(0, s.kv_len - s.num_rows), s.mask_key = random.below(4), num_keys = longest + 4;
    add_mask(random, c, num_keys, num_rows + 1, additive);
  }
}

inline attend_case make_case(std::uint64_t seed, const attend_limits& limits) {
  random_source random(seed);
  attend_case c;
  rapt::attend_params& p = c.p;
  const bool wide = !limits.bf16_pairs && random.chance(0.25), strided = random.chance(0.3);
  p.accumulator = wide ? dtype::f64 : dtype::f32;
  p.bf16_pairs = limits.bf16_pairs;
  const dtype kv_type = p.bf16_pairs ? dtype::bf16
                        : wide       ? random.pick({dtype::f64, dtype::f64, dtype::f32, dtype::bf16, dtype::f16})
                                     : random.pick({dtype::f32, dtype::bf16, dtype::f16});
  const dtype q_type = wide ? dtype::f64 : random.pick({dtype::f32, dtype::f32, dtype::bf16, dtype::f16});
  const index_t head_dim = some_dim(random), value_dim = random.chance(0.5) ? head_dim : some_dim(random);
  const index_t kv_heads = random.between(1, 3), heads = kv_heads * random.pick<index_t>({1, 1, 2, 3, 4, 7});
  const index_t stored = kv_heads > 1 && random.chance(0.2) ? 1 : kv_heads;

  // Sequences until the work is used up; the first always.
  std::vector<index_t> lens, rows;
  double work = 0;
  for (index_t n = random.between(1, 3); n > 0; --n) {
    const index_t len = random.pick(limits.lens);
    const double row = static_cast<double>(heads * len * (head_dim + value_dim));
    index_t count = random.chance(0.3) ? 1 : random.between(1, limits.max_rows);
    while (count > 1 && work + row * static_cast<double>(count) > limits.work) --count;
    if (!lens.empty() && work + row * static_cast<double>(count) > limits.work) break;
    work += row * static_cast<double>(count);
    lens.push_back(len), rows.push_back(count);
  }
  const auto num_sequences = static_cast<index_t>(lens.size());
  index_t longest = 0, total_rows = 0;
  for (const index_t len : lens) longest = std::max(longest, len);
  for (const index_t count : rows) total_rows += count;

  const double magnitude = random.pick<double>({1.0, 1.0, 0.05, 12.0});
  c.q = std::move(random_tensor(random, q_type, 1, total_rows, heads, head_dim).fill(random, magnitude));
  c.k = std::move(random_tensor(random, strided ? kv_type : dtype::f32, num_sequences, longest, stored, head_dim).fill(random, magnitude));
  c.v = std::move(random_tensor(random, strided ? kv_type : dtype::f32, num_sequences, longest, stored, value_dim).fill(random, 1.0));
  c.out = random_tensor(random, random.chance(0.7) ? p.accumulator : q_type, 1, total_rows, heads, value_dim);
  c.lse = random_tensor(random, p.accumulator, 1, total_rows, heads, 1);
  if (limits.special_values) {
    if (random.chance(0.5)) strew(random, c.q.o);
    if (random.chance(0.5)) strew(random, c.k.o);
    if (random.chance(0.5)) strew(random, c.v.o);
  }
  if (!strided) c.kv = random_kv(random, kv_type, stored, head_dim, value_dim, random.pick<index_t>({0, 16, 48, 64}), lens);

  index_t first_row = 0;
  for (std::size_t n = 0; n < lens.size(); ++n) {
    rapt::sequence_rows s;
    s.first_row = first_row, s.num_rows = rows[n], s.kv_batch = static_cast<index_t>(n), s.kv_len = lens[n];
    first_row += rows[n];
    s.visible_len = random.chance(0.3) ? random.between(0, lens[n]) : lens[n];
    s.first_position = lens[n] - rows[n];
    s.mask_batch = static_cast<index_t>(n), s.dropout_sequence = random.below(100);
    if (!strided) s.pages = c.kv.pages(n);
    c.q_positions.emplace_back();
    if (random.chance(0.2)) {
      for (index_t i = 0; i < rows[n]; ++i) c.q_positions.back().push_back(random.below(lens[n] + 3));
      s.positions = c.q_positions.back().data();
    }
    c.sequences.push_back(s);
  }
  p.sequences = c.sequences.data(), p.num_sequences = num_sequences;
  p.q = c.q.o, p.out = c.out.o;
  if (random.chance(0.7)) p.lse = c.lse.o;
  p.num_kv_heads = kv_heads;
  if (strided) {
    p.k = c.k.o, p.v = c.v.o;
    if (random.chance(0.2)) {
      for (index_t j = 0; j < longest; ++j) c.k_positions.push_back(random.below(longest + 3));
      p.k_positions = c.k_positions.data();
    }
  } else {
    for (std::size_t n = 0; n < lens.size(); ++n) {
      const kv_place place{&c.kv.kv, &c.sequences[n]};
      for (index_t j = 0; j < lens[n]; ++j)
        for (index_t h = 0; h < stored; ++h) {
          const index_t row = static_cast<index_t>(n) * longest + j;
          for (index_t d = 0; d < head_dim; ++d) store<double>(kv_type, c.kv.kv.base, place.key_element(j, h, d), element<double>(c.k.o, row, h, d));
          for (index_t d = 0; d < value_dim; ++d)
            store<double>(kv_type, c.kv.kv.base, place.value_element(j, h, d), element<double>(c.v.o, row, h, d));
        }
    }
    p.kv = c.kv.kv;
    if (random.chance(0.2)) {
      p.kv.position_stride = p.kv.page_len + random.below(3);
      for (index_t i = 0; i < c.kv.num_pages() * p.kv.position_stride; ++i) c.k_positions.push_back(random.below(longest + 3));
      p.kv.positions = c.k_positions.data();
    }
  }
  add_options(random, c, longest);
  return c;
}

inline std::string describe(std::uint64_t seed, const attend_case& c) {
  const rapt::attend_params& p = c.p;
  std::ostringstream text;
  text << "case " << seed << ": accumulator " << name_of(p.accumulator) << ", q " << name_of(p.q.type) << " " << p.q.heads << " x " << p.q.dim
       << ", kv heads " << p.num_kv_heads;
  if (p.kv.base != nullptr)
    text << ", packed " << name_of(p.kv.type) << " (" << p.kv.num_heads << " heads, pages of " << p.kv.page_len << ")";
  else
    text << ", strided " << name_of(p.k.type) << " (" << p.k.heads << " heads)";
  text << ", value_dim " << p.out.dim << ", scale " << p.softmax_scale << ", softcap " << p.softcap << ", window " << p.window_left << " "
       << p.window_right << ", dropout " << p.dropout_p << ", mask " << static_cast<int>(p.mask.kind) << (p.alibi_slopes ? ", alibi" : "")
       << (p.sink_logits ? ", sinks" : "") << (c.k_positions.empty() ? "" : ", k positions");
  for (const rapt::sequence_rows& s : c.sequences)
    text << "; " << s.num_rows << " rows, " << s.kv_len << " keys, visible " << s.visible_len << (s.positions ? ", positions" : "") << ", mask from "
         << s.mask_first_key;
  return text.str();
}

}  // namespace rapt_test::contract

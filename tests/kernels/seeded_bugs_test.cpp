// Ten mistakes that a pipeline of copies, products and turns invites, each made on purpose: the emulator has to notice every one.
//
// The kernel is attention's skeleton: one thread has tiles of keys and values copied, two warpgroups multiply their queries with the keys, halve
// their sums, and add the products of scores and values; keys of the next tile are multiplied before values of this one. All numbers are integers, so
// that the model's sums are exact.
#include <kernels/simt/math.hpp>
#include <kernels/simt/warp.hpp>
#include <kernels/simt/wgmma.hpp>
#include <tests/kernels/schedules.hpp>

#include <random>
#include <vector>

namespace {

namespace simt = rapt::simt;
using element = rapt::bf16;

enum class mistake {
  none,
  no_barrier_after_initialisation,
  stage_released_before_its_products,
  wrong_parity,
  too_few_bytes_expected,
  tile_not_waited_for,
  groups_of_the_wrong_size,  // in the descriptor of values
  sums_halved_in_flight,
  weights_replaced_in_flight,
  one_group_too_few_waited_for,
  turn_not_passed
};

constexpr int num_tiles = 5, tile_keys = 64, head_dim = 128, stages = 2, groups = 2;

struct storage {
  struct alignas(simt::swizzle_bytes) tile {
    element boxes[head_dim / 64][64 * 64];
  };
  tile q[groups], k[stages], v[stages];
  simt::phase_barrier q_full, k_full[stages], k_empty[stages], v_full[stages], v_empty[stages];
};

template <mistake Mistake>
RAPT_DEVICE void copy(storage::tile& to, const simt::tensor_map& from, simt::phase_barrier& full, int first_row) {
  simt::arrive_expecting(full, sizeof to - (Mistake == mistake::too_few_bytes_expected ? sizeof to.boxes[0] : 0));
  for (int box = 0; box < head_dim / 64; ++box) simt::copy_tile(to.boxes[box], from, full, box * 64, first_row);
}

template <mistake Mistake>
RAPT_DEVICE void produce(storage& s, const simt::tensor_map& q, const simt::tensor_map& k, const simt::tensor_map& v) {
  for (int group = 0; group < groups; ++group) copy<mistake::none>(s.q[group], q, s.q_full, group * 64);
  for (int t = 0; t < num_tiles; ++t) {
    const int stage = t % stages;
    const auto parity = static_cast<unsigned>(t / stages % 2 ^ (Mistake == mistake::wrong_parity ? 0 : 1));
    simt::wait(s.k_empty[stage], parity);
    copy<Mistake>(s.k[stage], k, s.k_full[stage], t * tile_keys);
    simt::wait(s.v_empty[stage], parity);
    copy<Mistake>(s.v[stage], v, s.v_full[stage], t * tile_keys);
  }
}

template <mistake Mistake>
RAPT_DEVICE void consume(storage& s, int group, float* out) {
  const unsigned thread = simt::thread_idx() % 128, lane = thread % 32;
  float acc[head_dim / 2] = {}, scores[tile_keys / 2];
  simt::mma_a weights[tile_keys / 16];
  const auto done_with = [&](simt::phase_barrier& empty) {
    if (lane == 0) simt::arrive(empty);
  };
  const auto issue_scores = [&](int t) {
    simt::wait(s.k_full[t % stages], static_cast<unsigned>(t / stages % 2));
    simt::fence_products();
    for (int d = 0; d < head_dim; d += 16)
      simt::multiply_shared<element, tile_keys>(scores, simt::describe_matrix(s.q[group].boxes[d / 64] + d % 64),
                                                simt::describe_matrix(s.k[t % stages].boxes[d / 64] + d % 64), d > 0);
    simt::commit_products();
  };
  const auto issue_values = [&](int t) {
    if (Mistake != mistake::tile_not_waited_for) simt::wait(s.v_full[t % stages], static_cast<unsigned>(t / stages % 2));
    simt::fence_products();
    for (int k = 0; k < tile_keys / 16; ++k)
      simt::multiply_registers<element, head_dim>(
          acc, weights[k],
          simt::describe_matrix(s.v[t % stages].boxes[0] + k * 16 * 64, Mistake == mistake::groups_of_the_wrong_size ? 4096 : tile_keys * 128), true);
    simt::commit_products();
  };
  const auto double_scores = [&] {
    for (float& x : scores) x *= 2;
  };
  const auto halve = [&] {
    for (float& x : acc) x *= 0.5f;
  };
  const auto weigh = [&] {
    for (int k = 0; k < tile_keys / 16; ++k)
      for (int i = 0; i < 4; ++i) weights[k].registers[i] = simt::round_pair<element>(scores[k * 8 + 2 * i], scores[k * 8 + 2 * i + 1]);
  };
  const auto take_turn = [&] { group == 0 ? simt::sync_named<1>(256) : simt::sync_named<2>(256); };
  const auto pass_turn = [&] { group == 0 ? simt::arrive_named<2>(256) : simt::arrive_named<1>(256); };

  if (group == 1) pass_turn();
  simt::wait(s.q_full, 0);
  issue_scores(0);
  simt::wait_for_products<0>(scores);
  done_with(s.k_empty[0]);
  double_scores();
  weigh();
  for (int t = 1; t < num_tiles; ++t) {
    const int stage = t % stages, before = (t - 1) % stages;
    take_turn();
    issue_scores(t);
    if (Mistake == mistake::stage_released_before_its_products) done_with(s.v_empty[before]);
    issue_values(t - 1);
    if (!(Mistake == mistake::turn_not_passed && t == 2)) pass_turn();
    if (Mistake == mistake::one_group_too_few_waited_for)
      simt::wait_for_products<2>(scores);
    else
      simt::wait_for_products<1>(scores);
    double_scores();
    if (Mistake == mistake::sums_halved_in_flight) halve();
    if (Mistake == mistake::weights_replaced_in_flight) weigh();
    simt::wait_for_products<0>(acc);
    done_with(s.k_empty[stage]);
    if (Mistake != mistake::stage_released_before_its_products) done_with(s.v_empty[before]);
    if (Mistake != mistake::sums_halved_in_flight) halve();
    weigh();
  }
  issue_values(num_tiles - 1);
  simt::wait_for_products<0>(acc);
  if (group == 0) take_turn();
  for (int i = 0; i < head_dim / 2; ++i) {
    const unsigned row = thread / 32 * 16 + lane / 4 + static_cast<unsigned>(i % 4 / 2 * 8);
    out[(static_cast<unsigned>(group * 64) + row) * head_dim + static_cast<unsigned>(i / 4 * 8 + i % 2) + lane % 4 * 2] = acc[i];
  }
}

template <mistake Mistake>
RAPT_KERNEL(384, 1)
attend(const RAPT_GRID_CONSTANT simt::tensor_map q, const RAPT_GRID_CONSTANT simt::tensor_map k, const RAPT_GRID_CONSTANT simt::tensor_map v,
       float* out) {
  auto& s = simt::shared<storage>();
  if (simt::thread_idx() == 0) {
    simt::init_barrier(s.q_full, groups);
    for (int i = 0; i < stages; ++i) {
      simt::init_barrier(s.k_full[i], 1), simt::init_barrier(s.v_full[i], 1);
      simt::init_barrier(s.k_empty[i], groups * 4), simt::init_barrier(s.v_empty[i], groups * 4);
    }
    simt::fence_barrier_init();
  }
  if (Mistake != mistake::no_barrier_after_initialisation) simt::sync_threads();
  const auto warp = static_cast<int>(simt::warp_idx());
  if (warp >= 4) consume<Mistake>(s, warp / 4 - 1, out);
  if (warp == 0 && simt::is_elected()) produce<Mistake>(s, q, k, v);
}

class problem {
 public:
  problem() {
    std::mt19937 random(1);
    const auto fill = [&](std::vector<element>& x, int rows, int most) {
      for (int i = 0; i < rows * head_dim; ++i)
        x.emplace_back(static_cast<float>(static_cast<int>(random() % static_cast<unsigned>(2 * most + 1)) - most));
    };
    fill(q_, groups * 64, 1), fill(k_, num_tiles * tile_keys, 1), fill(v_, num_tiles * tile_keys, 2);
    for (int row = 0; row < groups * 64; ++row) {
      float sums[head_dim] = {};
      for (int key = 0; key < num_tiles * tile_keys; ++key) {
        float score = 0;
        for (int d = 0; d < head_dim; ++d) score += at(q_, row, d) * at(k_, key, d);
        for (int d = 0; d < head_dim; ++d) sums[d] = (key % tile_keys == 0 && key > 0 ? sums[d] * 0.5f : sums[d]) + 2 * score * at(v_, key, d);
      }
      expected_.insert(expected_.end(), sums, sums + head_dim);
    }
  }
  template <mistake Mistake>
  bool is_right() const {
    const auto map_of = [](const std::vector<element>& x) {
      simt::tensor_map map;
      const auto rows = static_cast<std::int64_t>(x.size()) / head_dim;
      rapt::raise_if(rapt::runtime::describe_tensor({x.data(), 2, {head_dim, rows}, {head_dim}, {64, 64}}, map));
      return map;
    };
    std::vector<float> out(expected_.size());
    simt::launch<storage>(attend<Mistake>, {1}, 384, nullptr, map_of(q_), map_of(k_), map_of(v_), out.data());
    return out == expected_;
  }

 private:
  static float at(const std::vector<element>& x, int row, int d) { return static_cast<float>(x[static_cast<std::size_t>(row * head_dim + d)]); }
  std::vector<element> q_, k_, v_;
  std::vector<float> expected_;
};
const problem& the_problem() {
  static const problem p;
  return p;
}

template <mistake Mistake>
bool caught() {
  return rapt_test::caught_by_some_schedule([] { return the_problem().is_right<Mistake>(); });
}

TEST(seeded_bugs, without_one_the_kernel_is_right_under_every_schedule) {
  rapt_test::under_every_schedule([] { EXPECT_TRUE(the_problem().is_right<mistake::none>()); });
}
TEST(seeded_bugs, a_missing_barrier_after_initialisation_is_caught) { EXPECT_TRUE(caught<mistake::no_barrier_after_initialisation>()); }
TEST(seeded_bugs, a_stage_released_before_its_products_is_caught) { EXPECT_TRUE(caught<mistake::stage_released_before_its_products>()); }
TEST(seeded_bugs, a_wrong_parity_is_caught) { EXPECT_TRUE(caught<mistake::wrong_parity>()); }
TEST(seeded_bugs, a_barrier_that_expects_too_few_bytes_is_caught) { EXPECT_TRUE(caught<mistake::too_few_bytes_expected>()); }
TEST(seeded_bugs, a_tile_that_is_not_waited_for_is_caught) { EXPECT_TRUE(caught<mistake::tile_not_waited_for>()); }
TEST(seeded_bugs, a_wrong_descriptor_is_caught) { EXPECT_TRUE(caught<mistake::groups_of_the_wrong_size>()); }
TEST(seeded_bugs, sums_rescaled_in_flight_are_caught) { EXPECT_TRUE(caught<mistake::sums_halved_in_flight>()); }
TEST(seeded_bugs, weights_replaced_in_flight_are_caught) { EXPECT_TRUE(caught<mistake::weights_replaced_in_flight>()); }
TEST(seeded_bugs, waiting_for_one_group_too_few_is_caught) { EXPECT_TRUE(caught<mistake::one_group_too_few_waited_for>()); }
TEST(seeded_bugs, a_turn_that_is_not_passed_is_caught) { EXPECT_TRUE(caught<mistake::turn_not_passed>()); }

}  // namespace

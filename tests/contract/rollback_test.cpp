// What a cache keeps: steps that never happened, forks that part, truncations that leave no trace.
#include <contract/cache_rig.hpp>

namespace rapt_test::contract {
namespace {

TEST(cache_contract, a_dropped_step_leaves_the_bits_of_every_sequence) {
  cache_rig rig(80);
  rapt::kv_cache cache = rig.make_cache(200);
  const rapt::sequence a = cache.add_sequence(), b = cache.add_sequence();
  rig.append(cache, a, 0, 21);
  rig.append(cache, b, 5, 16);
  const std::string before = rig.bits(cache, {&a, &b});
  for (index_t num_forwarded = 0; num_forwarded <= cache_rig::num_layers; ++num_forwarded) {
    {
      rapt::step step = cache.begin_step({{a, 30}, {b, 3}});
      rig.forward(step, cache_rig::rows(40, 33), 0, num_forwarded);
    }
    EXPECT_EQ(rig.bits(cache, {&a, &b}), before) << num_forwarded << " layers were forwarded";
  }
  cache_rig other(80);
  rapt::kv_cache untouched = other.make_cache(200);
  const rapt::sequence c = untouched.add_sequence();
  other.append(untouched, c, 0, 21);
  EXPECT_EQ(rig.append(cache, a, 21, 9), other.append(untouched, c, 21, 9));
}

TEST(cache_contract, a_dropped_step_of_a_fork_leaves_the_shared_pages) {
  cache_rig rig(80);
  rapt::kv_cache cache = rig.make_cache(200);
  const rapt::sequence a = cache.add_sequence();
  rig.append(cache, a, 0, 21);
  const rapt::sequence b = a.fork();
  const std::string before = rig.bits(cache, {&a, &b});
  {
    rapt::step step = cache.begin_step({{b, 4}, {a, 2}});
    rig.forward(step, cache_rig::rows(60, 6));
  }
  EXPECT_EQ(rig.bits(cache, {&a, &b}), before);
}

TEST(cache_contract, a_step_that_does_not_begin_leaves_everything) {
  cache_rig rig(40);
  rapt::kv_cache cache = rig.make_cache(64, 2);
  const rapt::sequence a = cache.add_sequence(), b = cache.add_sequence();
  rig.append(cache, a, 0, 20);
  const std::string before = rig.bits(cache, {&a, &b});
  EXPECT_THROW(cache.begin_step({{a, 1}, {b, 1'000}}), rapt::capacity_error);
  EXPECT_EQ(rig.bits(cache, {&a, &b}), before);
}

TEST(cache_contract, forks_that_diverge_equal_two_independent_runs) {
  for (const index_t shared : {1, 15, 16, 17, 33}) {
    cache_rig rig(120);
    rapt::kv_cache cache = rig.make_cache(400), alone = rig.make_cache(400);
    const rapt::sequence a = cache.add_sequence();
    rig.append(cache, a, 0, shared);
    const rapt::sequence b = a.fork();
    const rapt::sequence alone_a = alone.add_sequence(), alone_b = alone.add_sequence();
    rig.append(alone, alone_a, 0, shared);
    rig.append(alone, alone_b, 0, shared);

    EXPECT_EQ(rig.append(cache, b, 70, 7), rig.append(alone, alone_b, 70, 7));
    EXPECT_EQ(rig.append(cache, a, 40, 18), rig.append(alone, alone_a, 40, 18));
    EXPECT_EQ(rig.append(cache, b, 90, 20), rig.append(alone, alone_b, 90, 20));
    EXPECT_EQ(rig.bits(cache, a), rig.bits(alone, alone_a));
    EXPECT_EQ(rig.bits(cache, b), rig.bits(alone, alone_b));
  }
}

TEST(cache_contract, both_sides_of_a_fork_may_grow_in_one_step) {
  cache_rig rig(60);
  rapt::kv_cache cache = rig.make_cache(200), alone = rig.make_cache(200);
  const rapt::sequence a = cache.add_sequence();
  rig.append(cache, a, 0, 19);
  const rapt::sequence b = a.fork();
  rapt::step step = cache.begin_step({{a, 2}, {b, 2}});
  rig.forward(step, {30, 31, 40, 41});
  step.commit();
  for (const auto& [sequence, first] : {std::pair{&a, 30}, {&b, 40}}) {
    const rapt::sequence expected = alone.add_sequence();
    rig.append(alone, expected, 0, 19);
    rig.append(alone, expected, first, 2);
    EXPECT_EQ(rig.bits(cache, *sequence), rig.bits(alone, expected));
  }
}

TEST(cache_contract, truncate_then_append_equals_never_having_appended) {
  for (const index_t kept : {0, 1, 15, 16, 17, 31, 40}) {
    cache_rig rig(120);
    rapt::kv_cache cache = rig.make_cache(400), other = rig.make_cache(400);
    rapt::sequence a = cache.add_sequence();
    rig.append(cache, a, 0, 40);
    rig.append(cache, a, 60, 15);
    a.truncate(kept);
    const rapt::sequence b = other.add_sequence();
    if (kept > 0) rig.append(other, b, 0, kept);
    EXPECT_EQ(rig.append(cache, a, 80, 33), rig.append(other, b, 80, 33)) << kept << " tokens kept";
    EXPECT_EQ(rig.bits(cache, a), rig.bits(other, b)) << kept << " tokens kept";
    EXPECT_EQ(cache.num_free_pages(), other.num_free_pages());
  }
}

TEST(cache_contract, truncating_a_fork_and_growing_it_again_leaves_the_original) {
  cache_rig rig(120);
  rapt::kv_cache cache = rig.make_cache(400);
  const rapt::sequence a = cache.add_sequence();
  rig.append(cache, a, 0, 40);
  const std::string before = rig.bits(cache, a);
  rapt::sequence b = a.fork();
  b.truncate(20);
  rig.append(cache, b, 80, 30);
  EXPECT_EQ(rig.bits(cache, a), before);
}

TEST(cache_contract, explicit_positions_are_taken_back_with_their_step) {
  cache_rig rig(40);
  rapt::kv_cache cache = rig.make_cache(100);
  const rapt::sequence a = cache.add_sequence();
  rig.append(cache, a, 0, 10);
  const std::string before = rig.bits(cache, a);
  const std::vector<index_t> positions{50, 51, 99};
  {
    rapt::step step = cache.begin_step({{a, 3, positions}});
    rig.forward(step, cache_rig::rows(20, 3));
  }
  EXPECT_EQ(rig.bits(cache, a), before);
  rapt::step step = cache.begin_step({{a, 3, positions}});
  rig.forward(step, cache_rig::rows(20, 3));
  step.commit();
  EXPECT_EQ(a.position(12), 99);
  EXPECT_FALSE(a.positions_are_default());
}

}  // namespace
}  // namespace rapt_test::contract

// Bad uses of caches, steps and sequences, numbered as in the list of bad inputs: a typed error, and every bit as before.
#include <contract/cache_rig.hpp>
#include <support/unchanged.hpp>

namespace rapt_test::contract {
namespace {

constexpr index_t largest = std::numeric_limits<index_t>::max();

/// A cache of 64 tokens with two sequences, a of 20 tokens and b of 5, and its bits.
struct two_sequences : cache_rig {
  rapt::kv_cache cache = make_cache(64, 3);
  rapt::sequence a = cache.add_sequence(), b = cache.add_sequence();
  two_sequences() : cache_rig(120) {
    append(cache, a, 0, 20);
    append(cache, b, 30, 5);
  }
  watched watch() {
    return {.object = [this] { return bits(cache, {&a, &b}); }};
  }
};

TEST(hostile, hostile_37_past_capacity) {
  two_sequences rig;
  const index_t room = rig.cache.num_free_pages() * 16 + 12;  // a's last page has 12 slots left
  for (const index_t count : {room + 1, room + 16, largest, largest - 20}) {
    const std::string message = expect_refused<rapt::capacity_error>(rig.watch(), [&] { rig.cache.begin_step({{rig.a, count}}); });
    EXPECT_NE(message.find(std::to_string(count)), std::string::npos) << message;
    expect_refused<rapt::capacity_error>(rig.watch(), [&] { rig.cache.begin_step({{rig.b, 1}, {rig.a, count}}); });
    expect_refused<rapt::capacity_error>(rig.watch(), [&] { rig.cache.begin_step({{rig.a, count}, {rig.b, 1}}); });
  }
  expect_refused<rapt::shape_error>(rig.watch(), [&] { rig.cache.begin_step({{rig.a, -1}}); });
  const rapt::sequence third = rig.cache.add_sequence();
  expect_refused<rapt::capacity_error>(rig.watch(), [&] { rig.cache.add_sequence(); });
  expect_refused<rapt::capacity_error>(rig.watch(), [&] { rig.a.fork(); });
  // Exactly what there is fits.
  EXPECT_NO_THROW(rig.cache.begin_step({{rig.a, room}}));

  // The one-layer shorthand.
  attention_config config = rig.config;
  rapt::kv_cache one(rig.ctx, config, {.max_tokens = 16, .page_len = 16});
  const rapt::sequence s = one.add_sequence();
  std::vector<float> y(17 * 12, 5.0f);
  const watched watch{.object = [&] {
    return std::to_string(s.kv_len()) + " " + std::to_string(one.num_free_pages()) +
           std::string(reinterpret_cast<const char*>(y.data()), y.size() * 4);
  }};
  expect_refused<rapt::capacity_error>(
      watch, [&] { rig.layers[0].forward(rig.ctx, rapt::view(rig.x.data(), 17, 12), rapt::append(one, s), rapt::view(y.data(), 17, 12)); });
}

TEST(hostile, hostile_37_what_forward_would_throw_is_told_without_an_exception) {
  cache_rig rig(120);
  rapt::kv_cache cache(rig.ctx, rig.config, {.max_tokens = 16, .max_sequences = 2, .page_len = 16}), other(rig.ctx, rig.config, {.max_tokens = 16});
  rapt::sequence own = cache.add_sequence(), moved = cache.add_sequence();
  const rapt::sequence foreign = other.add_sequence(), owner = std::move(moved);
  const rapt::index_t room = cache.capacity();
  const std::vector<float> untouched(static_cast<std::size_t>(room + 1) * 12, 5.0f);
  std::vector<float> y = untouched;
  // Both ways of asking agree with what is thrown, and nothing changes.
  const auto expect_told = [&](rapt::index_t len, const rapt::kv_source<float, rapt::cpu::backend>& to, rapt::errc code) {
    const auto x = rapt::view(rig.x.data(), len, 12);
    const rapt::failure told = rig.layers[0].check_forward(x, to, rapt::view(y.data(), len, 12));
    EXPECT_EQ(told.code, code);
    try {
      rig.layers[0].forward(rig.ctx, x, to, rapt::view(y.data(), len, 12));
      ADD_FAILURE() << "ran, where check_forward says: " << told.message;
    } catch (const rapt::error& e) { EXPECT_EQ(told.message, e.what()); }
    EXPECT_EQ(y, untouched);
  };
  expect_told(room + 1, rapt::append(cache, own), rapt::errc::capacity);
  expect_told(1, rapt::append(cache, foreign), rapt::errc::state);
  expect_told(1, rapt::append(cache, moved), rapt::errc::state);
  {
    rapt::step step = cache.begin_step({{own, 3}});
    expect_told(1, rapt::append(cache, own), rapt::errc::state);
    EXPECT_EQ(cache.check_step({{own, 3}}).code, rapt::errc::state);
    const auto layer = step.layer(0);
    const rapt::step taken = std::move(step);
    expect_told(3, layer, rapt::errc::state);
  }
  EXPECT_EQ(cache.check_step({{own, room + 1}}).code, rapt::errc::capacity);
  EXPECT_EQ(cache.check_step({{own, 1}, {own, 1}}).code, rapt::errc::shape);
  EXPECT_FALSE(cache.check_step({{own, room}, {owner, 0}}));
  rapt::kv_cache taken = std::move(cache);
  expect_told(1, rapt::append(cache, own), rapt::errc::state);
  EXPECT_EQ(cache.check_step({{own, 1}}).code, rapt::errc::state);

  const auto x = rapt::view(rig.x.data(), room, 12);
  EXPECT_FALSE(rig.layers[0].check_forward(x, rapt::append(taken, own), rapt::view(y.data(), room, 12)));
  EXPECT_EQ(own.kv_len(), 0);
  EXPECT_NO_THROW(rig.layers[0].forward(rig.ctx, x, rapt::append(taken, own), rapt::view(y.data(), room, 12)));
}

TEST(hostile, hostile_37b_steps_that_do_not_end_well) {
  two_sequences rig;
  const std::string before = rig.bits(rig.cache, {&rig.a, &rig.b});
  try {
    rapt::step step = rig.cache.begin_step({{rig.a, 7}, {rig.b, 2}});
    rig.forward(step, cache_rig::rows(50, 9), 0, 1);
    throw std::runtime_error("of the caller");
  } catch (const std::runtime_error&) {}
  EXPECT_EQ(rig.bits(rig.cache, {&rig.a, &rig.b}), before);

  {
    rapt::step step = rig.cache.begin_step({{rig.a, 7}});
    const auto names = [&](const char* layer, const std::string& message) { EXPECT_NE(message.find(layer), std::string::npos) << message; };
    names("layer 0", expect_refused<rapt::state_error>(rig.watch(), [&] { step.commit(); }));
    names("layer 1", expect_refused<rapt::state_error>(rig.watch(), [&] { rig.forward(step, cache_rig::rows(50, 7), 1, 2); }));  // out of order
    rig.forward(step, cache_rig::rows(50, 7), 0, 1);
    names("layer 0", expect_refused<rapt::state_error>(rig.watch(), [&] { rig.forward(step, cache_rig::rows(60, 7), 0, 1); }));  // twice
    names("layer 1", expect_refused<rapt::state_error>(rig.watch(), [&] { step.commit(); }));
    expect_refused<rapt::range_error>(rig.watch(), [&] { step.layer(2); });
    expect_refused<rapt::range_error>(rig.watch(), [&] { step.layer(-1); });
    // Nothing else may change the cache meanwhile.
    expect_refused<rapt::state_error>(rig.watch(), [&] { rig.cache.begin_step({{rig.b, 1}}); });
    expect_refused<rapt::state_error>(rig.watch(), [&] { rig.a.truncate(3); });
    expect_refused<rapt::state_error>(rig.watch(), [&] { rig.a.fork(); });
  }
  EXPECT_EQ(rig.bits(rig.cache, {&rig.a, &rig.b}), before);

  // A step that survived refusals commits what a fresh one would.
  two_sequences other;
  rapt::step step = rig.cache.begin_step({{rig.a, 7}});
  expect_refused<rapt::state_error>(rig.watch(), [&] { step.commit(); });
  rig.forward(step, cache_rig::rows(50, 7));
  step.commit();
  other.append(other.cache, other.a, 50, 7);
  EXPECT_EQ(rig.bits(rig.cache, {&rig.a, &rig.b}), other.bits(other.cache, {&other.a, &other.b}));
  expect_refused<rapt::state_error>(rig.watch(), [&] { step.commit(); });
  expect_refused<rapt::state_error>(rig.watch(), [&] { step.num_rows(); });
}

TEST(hostile, hostile_38_truncate) {
  two_sequences rig;
  for (const index_t to : {index_t{21}, largest, index_t{-1}, std::numeric_limits<index_t>::min()})
    expect_refused<rapt::range_error>(rig.watch(), [&] { rig.a.truncate(to); });
  rig.a.truncate(20);
  rig.a.truncate(0);
  EXPECT_EQ(rig.a.kv_len(), 0);
}

TEST(hostile, hostile_43_the_same_pages_twice_for_writing) {
  // Page tables are the cache's own. What a caller could do is to name a sequence twice, or one of another cache.
  two_sequences rig;
  expect_refused<rapt::shape_error>(rig.watch(), [&] { rig.cache.begin_step({{rig.a, 1}, {rig.b, 1}, {rig.a, 1}}); });
  rapt::kv_cache other = rig.make_cache(64);
  const rapt::sequence foreign = other.add_sequence();
  expect_refused<rapt::state_error>(rig.watch(), [&] { rig.cache.begin_step({{rig.a, 1}, {foreign, 1}}); });
  expect_refused<rapt::shape_error>(rig.watch(), [&] { rig.cache.begin_step({{rig.a, 0}, {rig.b, 0}, {rig.a, 0}, {rig.b, 0}}); });
  std::vector<std::byte> k(100'000), v(100'000);
  struct part {
    index_t layer, first, count;
  };
  for (const part& p : {part{2, 0, 1}, {-1, 0, 1}, {0, -1, 2}, {0, 0, 21}, {0, 20, 1}, {0, 0, -1}, {0, largest, 1}, {0, 1, largest}})
    expect_refused<rapt::range_error>(rig.watch(), [&] { rig.cache.export_layer(rig.ctx, rig.a, p.layer, p.first, p.count, k.data(), v.data()); });
  expect_refused<rapt::range_error>(rig.watch(), [&] { rig.cache.export_layer(rig.ctx, foreign, 0, 0, 0, k.data(), v.data()); });
}

TEST(hostile, hostile_44_lengths_and_counts_that_do_not_fit) {
  two_sequences rig;
  std::vector<float> y(120 * 12, 5.0f);
  const std::vector<float> untouched = y;
  rapt::step step = rig.cache.begin_step({{rig.a, 4}, {rig.b, 3}});
  const auto refused = [&](index_t x_rows, index_t y_rows) {
    expect_refused<rapt::shape_error>(
        rig.watch(), [&] { rig.layers[0].forward(rig.ctx, rapt::view(rig.x.data(), x_rows, 12), step.layer(0), rapt::view(y.data(), y_rows, 12)); });
  };
  refused(6, 6);
  refused(8, 8);
  refused(7, 6);
  refused(0, 0);
  expect_refused<rapt::shape_error>(
      rig.watch(), [&] { rig.layers[0].forward(rig.ctx, rapt::view(rig.x.data(), 2, 4, 12), step.layer(0), rapt::view(y.data(), 2, 4, 12)); });

  const auto with_options = [&](const rapt::forward_options& options) {
    expect_refused<rapt::shape_error>(rig.watch(), [&] {
      rig.layers[0].forward(rig.ctx, rapt::view(rig.x.data(), 2, 5, 12), rapt::self_kv{}, rapt::view(y.data(), 2, 5, 12), options);
    });
  };
  for (const std::vector<index_t>& lens : {std::vector<index_t>{5}, {5, 6}, {-1, 5}, {5, 5, 5}, {0, largest}}) with_options({.kv_lens = lens});
  for (const std::vector<index_t>& positions : {std::vector<index_t>{0, 1, 2, 3}, {0, 1, 2, 3, -4}, {0, 1, 2, 3, 4, 5}})
    with_options({.positions = positions});
  const std::vector<index_t> lens{7}, positions{1, 2, 3, 4, 5, 6, 7};
  const auto x = rapt::view(rig.x.data(), 7, 12);
  expect_refused<rapt::shape_error>(rig.watch(),
                                    [&] { rig.layers[0].forward(rig.ctx, x, step.layer(0), rapt::view(y.data(), 7, 12), {.kv_lens = lens}); });
  expect_refused<rapt::shape_error>(rig.watch(),
                                    [&] { rig.layers[0].forward(rig.ctx, x, step.layer(0), rapt::view(y.data(), 7, 12), {.positions = positions}); });
  EXPECT_EQ(y, untouched);
}

TEST(hostile, hostile_44_positions_of_a_step) {
  two_sequences rig;
  for (const std::vector<index_t>& positions : {std::vector<index_t>{1, 2}, {1, 2, 3, 4}, {1, -2, 3}, {1, 2, std::numeric_limits<index_t>::min()}})
    expect_refused<rapt::shape_error>(rig.watch(), [&] { rig.cache.begin_step({{rig.b, 1}, {rig.a, 3, positions}}); });
}

TEST(hostile, hostile_45_use_after_move) {
  two_sequences rig;
  rapt::sequence moved = std::move(rig.a);
  const auto refused = [](auto call) { expect_refused<rapt::state_error>({}, call); };
  refused([&] { rig.a.kv_len(); });
  refused([&] { rig.a.position(0); });
  refused([&] { rig.a.fork(); });
  refused([&] { rig.a.truncate(0); });
  refused([&] { rig.a.positions_are_default(); });
  refused([&] { rig.cache.begin_step({{rig.a, 1}}); });
  EXPECT_EQ(moved.kv_len(), 20);
  {
    rapt::step step = rig.cache.begin_step({{moved, 2}});
    rapt::step taken = std::move(step);
    refused([&] { step.num_rows(); });
    refused([&] { step.commit(); });
    refused([&] { step.layer(0); });
    rig.forward(taken, cache_rig::rows(40, 2));
    taken.commit();
  }
  EXPECT_EQ(moved.kv_len(), 22);

  rapt::kv_cache cache = std::move(rig.cache);
  refused([&] { rig.cache.add_sequence(); });
  refused([&] { rig.cache.begin_step({{moved, 1}}); });
  refused([&] { rig.cache.config(); });
  refused([&] { rig.cache.limits(); });
  refused([&] { rig.cache.capacity(); });
  refused([&] { rig.cache.num_free_pages(); });
  refused([&] { rig.cache.num_sequences(); });
  refused([&] { rig.cache.data(); });
  refused([&] { rig.cache.bytes(); });
  refused([&] { rig.cache.numerics(); });
  refused([&] { rig.cache.layer_fingerprint(0); });
  std::byte room[64];
  refused([&] { rig.cache.export_layer(rig.ctx, moved, 0, 0, 1, room, room); });
  rig.append(cache, moved, 60, 1);

  // The weights have left a module with its new owner.
  const rapt::multi_head_attention<float> owner = std::move(rig.layers[0]);
  std::vector<float> y(12, 5.0f), untouched = y;
  const auto x = rapt::view(rig.x.data(), 1, 12);
  refused([&] { rig.layers[0].forward(rig.ctx, x, rapt::self_kv{}, rapt::view(y.data(), 1, 12)); });
  EXPECT_EQ(rig.layers[0].check_forward(x, rapt::self_kv{}, rapt::view(y.data(), 1, 12)).code, rapt::errc::state);
  EXPECT_EQ(y, untouched);
  EXPECT_NO_THROW(owner.forward(rig.ctx, x, rapt::self_kv{}, rapt::view(y.data(), 1, 12)));

  // A sequence outlives its cache object.
  rapt::sequence orphan;
  refused([&] { orphan.kv_len(); });
  {
    rapt::kv_cache gone = std::move(cache);
    orphan = gone.add_sequence();
  }
  EXPECT_EQ(orphan.kv_len(), 0);
  EXPECT_EQ(moved.kv_len(), 23);
}

}  // namespace
}  // namespace rapt_test::contract

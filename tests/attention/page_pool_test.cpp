// The books of the cache against a plain model: one vector of tokens per sequence.
#include <gtest/gtest.h>
#include <rapt/attention/page_pool.hpp>

#include <map>
#include <random>

namespace {
using rapt::index_t;
using rapt::page_pool;

struct model_sequence {
  std::vector<index_t> tokens, positions;
};

/// Token values written where a kernel would write keys: by page and slot.
class paged_store {
 public:
  paged_store(const page_pool& pool) : page_len_(pool.page_len()), values_(static_cast<std::size_t>(pool.num_pages() * pool.page_len()), -1) {}
  index_t& at(const std::int32_t* pages, index_t index) {
    return values_[static_cast<std::size_t>(pages[index / page_len_] * page_len_ + index % page_len_)];
  }
  void copy(page_pool::page_copy c) {
    for (index_t i = 0; i < page_len_; ++i)
      values_[static_cast<std::size_t>(c.to * page_len_ + i)] = values_[static_cast<std::size_t>(c.from * page_len_ + i)];
  }

 private:
  index_t page_len_;
  std::vector<index_t> values_;
};

void expect_equal(const page_pool& pool, paged_store& store, const std::map<int, model_sequence>& model) {
  ASSERT_EQ(pool.num_sequences(), static_cast<index_t>(model.size()));
  for (const auto& [slot, sequence] : model) {
    ASSERT_EQ(pool.kv_len(slot), static_cast<index_t>(sequence.tokens.size()));
    bool all_default = true;
    for (index_t i = 0; i < pool.kv_len(slot); ++i) {
      ASSERT_EQ(store.at(pool.pages(slot), i), sequence.tokens[static_cast<std::size_t>(i)]) << "slot " << slot << " token " << i;
      ASSERT_EQ(pool.position(slot, i), sequence.positions[static_cast<std::size_t>(i)]);
      all_default &= sequence.positions[static_cast<std::size_t>(i)] == i;
    }
    ASSERT_EQ(pool.positions_are_default(slot), all_default);
  }
}

TEST(page_pool, random_forks_truncations_steps_and_rollbacks_match_a_vector_per_sequence) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    std::mt19937_64 random(seed);
    const auto below = [&](index_t n) { return static_cast<index_t>(random() % static_cast<std::uint64_t>(n)); };
    page_pool pool(5 + below(20), 16, 1 + below(8));
    paged_store store(pool);
    std::map<int, model_sequence> model;
    index_t next_token = 0;
    const auto any = [&] { return std::next(model.begin(), below(static_cast<index_t>(model.size())))->first; };
    for (int action = 0; action < 300; ++action) {
      const index_t choice = below(8);
      if (model.empty() || choice == 0) {
        if (pool.num_sequences() < pool.max_sequences())
          model[pool.add()] = {};
        else
          EXPECT_THROW(pool.add(), rapt::capacity_error);
      } else if (choice == 1 && pool.num_sequences() < pool.max_sequences()) {
        const int from = any();
        model[pool.fork(from)] = model[from];
      } else if (choice == 2) {
        const int slot = any();
        pool.remove(slot);
        model.erase(slot);
      } else if (choice == 3) {
        const int slot = any();
        const index_t length = below(pool.kv_len(slot) + 1);
        pool.truncate(slot, length);
        model[slot].tokens.resize(static_cast<std::size_t>(length)), model[slot].positions.resize(static_cast<std::size_t>(length));
      } else {
        std::vector<page_pool::request> requests;
        std::vector<std::vector<index_t>> positions(model.size());
        for (const auto& [slot, sequence] : model)
          if (below(2) == 0) {
            const index_t count = below(40);
            std::vector<index_t>& own = positions[requests.size()];
            if (below(4) == 0)
              for (index_t i = 0; i < count; ++i) own.push_back(below(100));
            requests.push_back({slot, count, own});
          }
        const index_t free_before = pool.num_free_pages();
        const rapt::failure found = pool.check(requests);
        try {
          pool.begin(requests);
          ASSERT_FALSE(found) << found.message;
        } catch (const rapt::capacity_error& e) {
          ASSERT_EQ(found.message, e.what());
          ASSERT_EQ(pool.num_free_pages(), free_before);
          expect_equal(pool, store, model);
          continue;
        }
        EXPECT_THROW(pool.truncate(requests.empty() ? model.begin()->first : requests[0].slot, 0), rapt::state_error);
        for (const page_pool::page_copy copy : pool.copies()) store.copy(copy);
        std::map<int, model_sequence> after = model;
        for (const page_pool::request& r : requests)
          for (index_t i = 0; i < r.count; ++i) {
            const index_t index = pool.kv_len(r.slot) + i;
            store.at(pool.pages(r.slot), index) = next_token;
            after[r.slot].tokens.push_back(next_token++);
            after[r.slot].positions.push_back(r.positions.empty() ? index : r.positions[static_cast<std::size_t>(i)]);
          }
        if (below(3) == 0) {
          pool.rollback();
          ASSERT_EQ(pool.num_free_pages(), free_before);
        } else {
          pool.commit();
          model = after;
        }
      }
      expect_equal(pool, store, model);
      if (HasFatalFailure()) FAIL() << "seed " << seed << " action " << action;
    }
    for (const auto& [slot, sequence] : model) pool.remove(slot);
    EXPECT_EQ(pool.num_free_pages(), pool.num_pages()) << "pages leak";
  }
}

TEST(page_pool, a_sequence_removed_during_a_step_leaves_when_the_step_ends) {
  page_pool pool(4, 16, 2);
  const int a = pool.add();
  const page_pool::request request{a, 20, {}};
  pool.begin({&request, 1});
  pool.remove(a);
  EXPECT_EQ(pool.num_free_pages(), 2);
  pool.commit();
  EXPECT_EQ(pool.num_free_pages(), 4);
  EXPECT_EQ(pool.num_sequences(), 0);
}

TEST(page_pool, requests_that_make_no_sense_are_named_and_change_nothing) {
  page_pool pool(4, 16, 2);
  const int a = pool.add();
  const std::vector<index_t> negative{0, -1};
  const auto begin = [&](std::vector<page_pool::request> requests) { pool.begin(requests); };
  EXPECT_THROW(begin({{a, -1, {}}}), rapt::shape_error);
  EXPECT_THROW(begin({{a, 2, negative}}), rapt::shape_error);
  const std::vector<index_t> far{(index_t{1} << 62) + 1};
  EXPECT_THROW(begin({{a, 1, far}}), rapt::shape_error);
  EXPECT_THROW(begin({{a, 3, negative}}), rapt::shape_error);
  EXPECT_THROW(begin({{a, 1, {}}, {a, 1, {}}}), rapt::shape_error);
  EXPECT_THROW(begin({{a, 65, {}}}), rapt::capacity_error);
  EXPECT_THROW(begin({{a, index_t{1} << 62, {}}}), rapt::capacity_error);
  EXPECT_THROW(begin({{a, std::numeric_limits<index_t>::max(), {}}}), rapt::capacity_error);
  EXPECT_FALSE(pool.step_is_open());
  EXPECT_EQ(pool.num_free_pages(), 4);
  EXPECT_THROW(pool.truncate(a, 1), rapt::range_error);
  EXPECT_THROW(pool.truncate(a, -1), rapt::range_error);
}
}  // namespace

// The caller is told how far a save or a load is and may stop it, by its answer or by what it throws: everything is as it was.
#include <rapt/cpu/context.hpp>

#include <algorithm>

#include "whole_state.hpp"

namespace {

using namespace rapt_test;
namespace safetensors = rapt::safetensors;

class progress : public state_in_a_file {};

/// The reports of one call.
struct reports {
  std::vector<rapt::progress> all;
  rapt::progress_function function() {
    return [this](const rapt::progress& p) { return all.push_back(p), true; };
  }
  void expect_from_nothing_to(std::uint64_t total) {
    ASSERT_FALSE(all.empty());
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(all[i].total, total);
      if (i > 0) { EXPECT_GT(all[i].done, all[i - 1].done); }
    }
    EXPECT_EQ(all.back().done, total);
    all.clear();
  }
};

TEST_F(progress, progress_goes_to_the_end_once) {
  for (const way_of_moving& way : ways_of_moving) {
    SCOPED_TRACE(way.name);
    const moving so(way);
    reports r;
    const auto expect_whole = [&] {
      if (way.piece_bytes < 1000) { EXPECT_GT(r.all.size(), 10u); }
      r.expect_from_nothing_to(bytes.size());
    };
    save(directory / "again", {r.function()});
    expect_whole();
    EXPECT_EQ(rapt::save_state(ctx, {.on_progress = r.function()}, module, given, stored, cache, sequences), bytes);
    expect_whole();
    for (const bool mmap : {false, true}) {
      safetensors::open(path, {.mmap = mmap, .on_progress = r.function()});
      expect_whole();
      EXPECT_THROW(safetensors::open(path, {.mmap = mmap, .on_progress = [](const rapt::progress&) { return false; }}), rapt::cancelled_error);
    }
    for (const rapt::state_source& from : {rapt::state_source(path), rapt::state_source(bytes)}) {
      receiver to(ctx);
      rapt::load_state(ctx, from, to.cache, to.loaded, {.on_progress = r.function()});
      expect_whole();
      rapt::load_state(ctx, from, to.module, {.on_progress = r.function()});
      expect_whole();
      rapt::load_state(ctx, from, to.stored, {.on_progress = r.function()});
      expect_whole();
      rapt::load_static_kv(ctx, from, to.given, {.on_progress = r.function()});
      expect_whole();
    }
  }
}

/// What a progress function may throw.
struct thrown_by_the_caller : std::exception {};

/// call(on_progress) is stopped at its first report, its second, and so on to its last, by false and by an exception: refused each time. freely(..)
/// is the same call with another target, and shows how many reports there are.
template <class Freely, class Call>
void expect_stopped_at_every_report(const watched& what, Freely freely, Call call) {
  int num_reports = 0, count = 0;
  freely([&](const rapt::progress&) { return ++num_reports, true; });
  ASSERT_GT(num_reports, 0);
  for (int number = 1; number <= num_reports && !testing::Test::HasFailure(); ++number) {
    SCOPED_TRACE("report " + std::to_string(number) + " of " + std::to_string(num_reports));
    count = 0;
    EXPECT_SAYS(expect_refused<rapt::cancelled_error>(what, [&] { call([&](const rapt::progress&) { return ++count != number; }); }),
                "cancelled by on_progress after ");
    EXPECT_EQ(count, number) << "reports behind the one that stopped it";
    count = 0;
    expect_refused<thrown_by_the_caller>(what, [&] {
      call([&](const rapt::progress&) {
        if (++count == number) throw thrown_by_the_caller();
        return true;
      });
    });
  }
}

TEST_F(progress, a_save_that_is_stopped_leaves_the_old_file) {
  write_file(directory / "old", "old");
  for (const way_of_moving& way : ways_of_moving) {
    SCOPED_TRACE(way.name);
    const moving so(way);
    const watched what{.object = [&] { return visible_all(); }, .directory = directory.path(), .input_bytes = bytes.size()};
    const temporary_directory elsewhere;
    const auto freely = [&](const rapt::progress_function& f) { save(elsewhere / "file", {f}); };
    for (const char* name : {"old", "new"})
      expect_stopped_at_every_report(what, freely, [&](const rapt::progress_function& f) { save(directory / name, {f}); });
    expect_stopped_at_every_report(
        what, freely, [&](const rapt::progress_function& f) { rapt::save_state(ctx, {.on_progress = f}, module, given, stored, cache, sequences); });
  }
}

TEST_F(progress, a_load_that_is_stopped_leaves_the_receiver) {
  for (const way_of_moving& way : ways_of_moving) {
    SCOPED_TRACE(way.name);
    const moving so(way);
    receiver stays(ctx), goes(ctx);
    const watched what{.object = [&] { return stays.visible_all(); }, .directory = directory.path(), .input_bytes = bytes.size()};
    const std::function<void(receiver&, const rapt::state_source&, const rapt::load_options&)> loads[] = {
        [&](receiver& r, const auto& from, const auto& options) { rapt::load_state(ctx, from, r.cache, r.loaded, options); },
        [&](receiver& r, const auto& from, const auto& options) { rapt::load_state(ctx, from, r.module, options); },
        [&](receiver& r, const auto& from, const auto& options) { rapt::load_state(ctx, from, r.stored, options); },
        [&](receiver& r, const auto& from, const auto& options) { rapt::load_static_kv(ctx, from, r.given, options); }};
    for (const auto& load : loads)
      for (const rapt::state_source& from : {rapt::state_source(path), rapt::state_source(bytes)})
        expect_stopped_at_every_report(
            what, [&](const rapt::progress_function& f) { load(goes, from, {.on_progress = f}); },
            [&](const rapt::progress_function& f) { load(stays, from, {.on_progress = f}); });
  }
}

/// A row function that throws while the thread is writing.
TEST_F(progress, what_a_row_function_throws_passes_through) {
  write_file(directory / "old", "old");
  for (const way_of_moving& way : ways_of_moving) {
    const moving so(way);
    for (index_t last = 0; last < 40; last += 13) {
      safetensors::writer w;
      w.add_rows("a", dtype::u8, {40, 100}, [&](index_t first, std::span<std::byte> to) {
        if (first + static_cast<index_t>(to.size() / 100) > last) throw thrown_by_the_caller();
        std::fill(to.begin(), to.end(), std::byte{1});
      });
      expect_refused<thrown_by_the_caller>({.directory = directory.path()}, [&] { w.to_file(directory / "old"); });
    }
  }
}

}  // namespace

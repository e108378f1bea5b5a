// A power cut at any instant of a save. A model of a file system listens to the save's calls and then says which disks may be found afterwards:
//
//   data     what was flushed is there; of what was not, every block of 512 bytes is there, missing (the old bytes, zeros where there were none),
//   half
//            there or rubbish, each for itself; the length is that before, that after, or any block between
//   names    what a flush of the directory covered is there; of the rest any part, in any order that POSIX leaves open: each creation, renaming and
//            removal for itself, so that a renaming may be found without what came before it
//
// For every prefix of the calls all images of the target are built, as far as they differ, and loaded: the old state or the new one, never another.
#include <fcntl.h>

#include <algorithm>
#include <map>
#include <set>

#include "state_rig.hpp"
#include "system_rig.hpp"

namespace {

using namespace rapt_test;

constexpr std::size_t block = 512;

/// One directory on a disk that has not been flushed yet, fed by the calls of a save.
class disk_model {
 public:
  explicit disk_model(std::string target, const std::string& old_bytes) : target_(std::move(target)) {
    if (!old_bytes.empty()) {
      files_.push_back({old_bytes, old_bytes, {}});
      durable_names_[target_] = names_[target_] = 0;
    }
  }

  void create(const std::string& name) {
    files_.push_back({});
    names_[name] = files_.size() - 1;
    pending_.push_back({"", name, files_.size() - 1});
  }
  void resize(const std::string& name, std::size_t bytes) {
    file& f = at(name);
    if (f.now.size() < bytes) f.now.resize(bytes), f.lengths.insert(bytes);
  }
  void write(const std::string& name, std::size_t at_byte, const std::string& bytes) {
    resize(name, at_byte + bytes.size());
    at(name).now.replace(at_byte, bytes.size(), bytes);
  }
  void flush(const std::string& name) {
    file& f = at(name);
    f.durable = f.now;
    f.lengths.clear();
  }
  void flush_directory() {
    durable_names_ = names_;
    pending_.clear();
  }
  void rename(const std::string& from, const std::string& to) {
    const std::size_t moved = names_.at(from);
    names_.erase(from);
    names_[to] = moved;
    pending_.push_back({from, to, moved});
  }
  void unlink(const std::string& name) {
    names_.erase(name);
    pending_.push_back({name, "", 0});
  }

  /// What may be found under the target's name, "" for nothing; at most `most` images of each file.
  std::set<std::string> images(std::size_t most) const {
    std::set<std::string> found;
    // Of the names only the target's matters: the last pending operation on it that came through, whichever that is, decides.
    const auto durable = durable_names_.find(target_);
    std::set<std::size_t> candidates;
    if (durable == durable_names_.end())
      found.insert("");
    else
      candidates.insert(durable->second);
    for (const operation& o : pending_) {
      if (o.to == target_) candidates.insert(o.file);
      if (o.from == target_) found.insert("");
    }
    for (const std::size_t f : candidates) add_images(files_[f], most, found);
    return found;
  }

 private:
  struct file {
    std::string now, durable;
    std::set<std::size_t> lengths;  ///< that it has had since the last flush
  };
  struct operation {
    std::string from, to;
    std::size_t file;
  };
  file& at(const std::string& name) { return files_[names_.at(name)]; }

  static std::string block_of(const std::string& bytes, std::size_t b) {
    return b * block < bytes.size() ? bytes.substr(b * block, block) : std::string();
  }
  static void add_images(const file& f, std::size_t most, std::set<std::string>& found) {
    std::vector<std::vector<std::string>> choices;
    const std::size_t num_blocks = (std::max(f.now.size(), f.durable.size()) + block - 1) / block;
    for (std::size_t b = 0; b < num_blocks; ++b) {
      std::string after = block_of(f.now, b), before = block_of(f.durable, b);
      const std::size_t size = std::max(after.size(), before.size());
      before.resize(size);
      after.resize(size);
      std::vector<std::string> each = {after};
      if (before != after) {
        each.push_back(before);
        each.push_back(after.substr(0, size / 2) + before.substr(size / 2));
        each.push_back(before.substr(0, size / 2) + after.substr(size / 2));
        each.push_back(std::string(size, '\x5a'));
      }
      choices.push_back(each);
    }
    std::set<std::size_t> lengths = f.lengths;
    lengths.insert({f.now.size(), f.durable.size()});
    for (std::size_t n = f.durable.size(); n < f.now.size(); n += block) lengths.insert(n);
    // All combinations where they are few; else each block alone against all others written, all others missing, and a fixed random choice of the
    // rest.
    double all = 1;
    for (const auto& each : choices) all *= static_cast<double>(each.size());
    std::vector<std::size_t> pick(choices.size());
    const auto add = [&] {
      std::string image;
      for (std::size_t b = 0; b < choices.size(); ++b) image += choices[b][pick[b]];
      for (const std::size_t length : lengths) found.insert(image.substr(0, length));
    };
    if (all <= static_cast<double>(most)) {
      for (bool more = true; more;) {
        add();
        more = false;
        for (std::size_t b = 0; b < pick.size() && !more; ++b) {
          more = ++pick[b] < choices[b].size();
          if (!more) pick[b] = 0;
        }
      }
      return;
    }
    for (const std::size_t others : {std::size_t{0}, std::size_t{1}})
      for (std::size_t b = 0; b < pick.size(); ++b)
        for (std::size_t c = 0; c < choices[b].size(); ++c) {
          for (std::size_t o = 0; o < pick.size(); ++o) pick[o] = std::min(others, choices[o].size() - 1);
          pick[b] = c;
          add();
        }
    std::mt19937 random(1);
    for (std::size_t i = 0; i < most; ++i) {
      for (std::size_t b = 0; b < pick.size(); ++b) pick[b] = random() % choices[b].size();
      add();
    }
  }

  std::string target_;
  std::vector<file> files_;
  std::map<std::string, std::size_t> names_, durable_names_;
  std::vector<operation> pending_;  ///< since the directory was flushed
};

/// One of the calls of a save that change a disk.
struct change {
  enum class kind { create, resize, write, flush, flush_directory, rename, unlink } what;
  std::string name = {}, bytes = {};  ///< bytes: of a write; the new name of a renaming
  std::size_t at = 0;                 ///< of a write; the new length
};

/// The changes of a real save, in their order.
template <class Save>
std::vector<change> changes_of(Save save) {
  static rapt::detail::system_calls real;
  static std::vector<change> log;
  static std::map<int, std::string> written;  // open files by descriptor
  real = rapt::detail::system();
  log.clear();
  written.clear();
  struct restore {
    ~restore() { rapt::detail::system() = real; }
  } const at_the_end;
  rapt::detail::system_calls& calls = rapt::detail::system();
  using kind = change::kind;
  calls.open = [](int d, const char* path, int flags, mode_t mode) {
    const int fd = real.open(d, path, flags, mode);
    if (fd >= 0 && (flags & O_CREAT)) {
      log.push_back({kind::create, path});
      written[fd] = path;
    }
    return fd;
  };
  calls.close = [](int fd) { return written.erase(fd), real.close(fd); };
  calls.allocate = [](int fd, off_t bytes) {
    log.push_back({kind::resize, written.at(fd), {}, static_cast<std::size_t>(bytes)});
    return real.allocate(fd, bytes);
  };
  calls.pwrite = [](int fd, const void* from, std::size_t n, off_t at) {
    log.push_back({kind::write, written.at(fd), {static_cast<const char*>(from), n}, static_cast<std::size_t>(at)});
    return real.pwrite(fd, from, n, at);
  };
  calls.fsync = [](int fd) {
    log.push_back(written.count(fd) ? change{kind::flush, written.at(fd)} : change{kind::flush_directory});
    return real.fsync(fd);
  };
  calls.rename = [](int d, const char* from, const char* to) {
    log.push_back({kind::rename, from, to});
    return real.rename(d, from, to);
  };
  calls.unlink = [](int d, const char* path) {
    log.push_back({kind::unlink, path});
    return real.unlink(d, path);
  };
  save();
  return log;
}

void apply(disk_model& disk, const change& c) {
  switch (c.what) {
    case change::kind::create:
      return disk.create(c.name);
    case change::kind::resize:
      return disk.resize(c.name, c.at);
    case change::kind::write:
      return disk.write(c.name, c.at, c.bytes);
    case change::kind::flush:
      return disk.flush(c.name);
    case change::kind::flush_directory:
      return disk.flush_directory();
    case change::kind::rename:
      return disk.rename(c.name, c.bytes);
    case change::kind::unlink:
      return disk.unlink(c.name);
  }
}

class crash_images : public testing::TestWithParam<way_of_moving> {
 protected:
  const moving way{GetParam()};
  /// The state with so many tokens, as a file.
  std::string state_of(index_t len) {
    bits_cache cache(ctx, small_config(), small_limits);
    const bits_sequence s = cache.add_sequence();
    append_bits(ctx, cache, s, len, static_cast<unsigned>(len), some_fingerprint(1));
    return text_of(rapt::save_state(ctx, cache, s));
  }
  std::vector<change> changes(index_t len, const std::string& old_bytes) {
    const temporary_directory directory;
    if (!old_bytes.empty()) write_file(directory / "state", old_bytes);
    bits_cache cache(ctx, small_config(), small_limits);
    const bits_sequence s = cache.add_sequence();
    append_bits(ctx, cache, s, len, static_cast<unsigned>(len), some_fingerprint(1));
    return changes_of([&] { rapt::save_state(ctx, directory / "state", cache, s); });
  }
  /// What loading an image gives: "old", "new", "refused", "none", or "WRONG".
  std::string verdict(const std::string& image, const std::string& old_bytes, const std::string& new_bytes) {
    if (image.empty()) return "none";
    bits_cache to(ctx, small_config(), small_limits);
    bits_sequence loaded;
    try {
      rapt::load_state(ctx, std::as_bytes(std::span(image)), to, loaded);
    } catch (const rapt::format_error&) { return "refused"; } catch (const rapt::checksum_error&) {
      return "refused";
    }
    const std::string again = text_of(rapt::save_state(ctx, to, loaded));
    return again == new_bytes ? "new" : again == old_bytes ? "old" : "WRONG";
  }
  /// Verdicts of all images of all prefixes, with their counts; `after` prefixes begin there.
  std::map<std::string, int> verdicts(const std::vector<change>& log, std::size_t after, const std::string& old_bytes, const std::string& new_bytes,
                                      std::size_t most = 20'000) {
    std::map<std::string, int> counts;
    std::map<std::uint64_t, std::string> known;  // by hash
    disk_model disk("state", old_bytes);
    for (std::size_t n = 0; n <= log.size(); ++n) {
      if (n > 0) apply(disk, log[n - 1]);
      if (n < after) continue;
      for (const std::string& image : disk.images(most)) {
        auto [found, fresh] = known.try_emplace(XXH3_64bits(image.data(), image.size()));
        if (fresh) found->second = verdict(image, old_bytes, new_bytes);
        ++counts[found->second];
      }
    }
    return counts;
  }
  static std::string text_of_counts(const std::map<std::string, int>& counts) {
    std::string text;
    for (const auto& [name, count] : counts) text += name + " " + std::to_string(count) + "; ";
    return text;
  }

  bits_context ctx;
  const std::string none, one = state_of(3), two = state_of(5);
};

TEST_P(crash_images, hostile_30_every_image_of_a_replaced_state_is_old_or_new) {
  const std::vector<change> log = changes(5, one);
  const auto counts = verdicts(log, 0, one, two);
  for (const auto& [name, count] : counts) EXPECT_TRUE(name == "old" || name == "new") << text_of_counts(counts);
  EXPECT_TRUE(counts.count("old") && counts.count("new"));
  // When the save has returned, it is there for good.
  const auto afterwards = verdicts(log, log.size(), one, two);
  EXPECT_EQ(text_of_counts(afterwards), "new 1; ");
}

TEST_P(crash_images, hostile_30_every_image_of_a_first_save_is_nothing_or_new) {
  const std::vector<change> log = changes(5, none);
  const auto counts = verdicts(log, 0, none, two);
  for (const auto& [name, count] : counts) EXPECT_TRUE(name == "none" || name == "new") << text_of_counts(counts);
  EXPECT_EQ(text_of_counts(verdicts(log, log.size(), none, two)), "new 1; ");
}

/// A disk that confirms flushes and does not make them, and saves that leave one out: nothing protects the old file then. What is found may be
/// neither old nor new, but it is never taken for a state.
TEST_P(crash_images, hostile_30_a_disk_that_does_not_flush_gives_refusals_and_never_a_wrong_state) {
  std::vector<change> log = changes(5, one);
  std::erase_if(log, [](const change& c) { return c.what == change::kind::flush || c.what == change::kind::flush_directory; });
  const auto counts = verdicts(log, 0, one, two);
  EXPECT_GT(counts.at("refused"), 1'000) << text_of_counts(counts);
  EXPECT_EQ(counts.count("WRONG"), 0u) << text_of_counts(counts);
  std::printf("%s\n", text_of_counts(counts).c_str());
}

/// The model has teeth: a save in another order of calls is found out.
TEST_P(crash_images, the_model_sees_saves_that_are_not_safe) {
  const std::vector<change> log = changes(5, one);
  const auto is = [](change::kind what) { return [what](const change& c) { return c.what == what; }; };
  std::vector<change> without_flush = log, rename_first = log, no_directory_flush = log, in_place;
  std::erase_if(without_flush, is(change::kind::flush));
  const auto flush = std::find_if(rename_first.begin(), rename_first.end(), is(change::kind::flush));
  std::iter_swap(flush, flush + 1);
  ASSERT_EQ(flush->what, change::kind::rename);
  (flush + 1)->name = "state";
  std::erase_if(no_directory_flush, is(change::kind::flush_directory));
  for (change c : log)
    if (c.what == change::kind::write || c.what == change::kind::flush) c.name = "state", in_place.push_back(c);
  EXPECT_TRUE(verdicts(without_flush, 0, one, two).count("refused"));
  EXPECT_TRUE(verdicts(rename_first, 0, one, two).count("refused"));
  EXPECT_TRUE(verdicts(in_place, 0, one, two).count("refused"));
  EXPECT_TRUE(verdicts(no_directory_flush, no_directory_flush.size(), one, two).count("old"));
  for (const auto& unsafe : {without_flush, rename_first, in_place}) EXPECT_EQ(verdicts(unsafe, 0, one, two).count("WRONG"), 0u);
}

/// Two saves in a row: once the first has returned nothing older than it is found.
TEST_P(crash_images, hostile_30_what_one_save_has_made_durable_the_next_does_not_take_back) {
  const std::string three = state_of(7);
  std::vector<change> log = changes(5, one);
  const std::size_t first = log.size();
  for (const change& c : changes(7, two)) log.push_back(c);
  const auto counts = verdicts(log, first, two, three);
  for (const auto& [name, count] : counts) EXPECT_TRUE(name == "old" || name == "new") << text_of_counts(counts);
}

INSTANTIATE_TEST_SUITE_P(moved, crash_images, testing::ValuesIn(ways_of_moving), name_of_way);

}  // namespace

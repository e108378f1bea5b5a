// What surrounds a call may be anything: fork, signals, locale, rounding mode, flushing of subnormals. The bits are the same and the caller's state
// stays.
#include <contract/cache_rig.hpp>
#include <rapt/ops/attend.hpp>

#include <gtest/gtest.h>
#include <immintrin.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <clocale>
#include <csignal>
#include <locale>

namespace rapt_test::contract {
namespace {

/// All that computes, from the making of a module on: norm, rotation with pow, softcap, ALiBi, double weights rounded to float, a cache, attend with
/// its default scale. The inputs are made before, in surroundings that nobody has touched.
class computation {
 public:
  computation() {
    random_source random(21);
    weights_ = make_weights(random, config(), dtype::f64);
    // Small values, whose products are subnormal, among others.
    for (const index_t count : lens) x_.push_back(random_values<float>(random, count * 30, count == 40 ? 1e-20 : 1.0));
    q_ = random_values<float>(random, 3 * 2 * 7), k_ = random_values<float>(random, 50 * 2 * 7), v_ = random_values<float>(random, 50 * 2 * 7, 1e-38);
  }
  std::vector<std::byte> run(rapt::cpu::context& ctx) const {
    const rapt::multi_head_attention<float> module(ctx, config(), weights_.views);
    rapt::kv_cache cache(ctx, module.config(), {.max_tokens = 700});
    const rapt::sequence sequence = cache.add_sequence();
    std::vector<std::byte> all;
    const auto keep = [&](const std::vector<float>& x) {
      const std::vector<std::byte> bytes = bytes_of(x);
      all.insert(all.end(), bytes.begin(), bytes.end());
    };
    for (std::size_t i = 0; i < lens.size(); ++i) {
      std::vector<float> y(x_[i].size());
      module.forward(ctx, rapt::view(x_[i].data(), lens[i], 30), rapt::append(cache, sequence), rapt::view(y.data(), lens[i], 30));
      keep(y);
    }
    std::vector<float> out(q_.size()), lse(6);
    rapt::attend(ctx, rapt::view(q_.data(), 1, 3, 2, 7), rapt::view(k_.data(), 1, 50, 2, 7), rapt::view(v_.data(), 1, 50, 2, 7),
                 rapt::view(out.data(), 1, 3, 2, 7), rapt::view(lse.data(), 1, 2, 3));
    keep(out);
    keep(lse);
    return all;
  }

 private:
  static attention_config config() {
    return rapt::resolve({.model_dim = 30,
                          .num_heads = 4,
                          .num_kv_heads = 2,
                          .head_dim = 7,
                          .causal = true,
                          .softcap = 12.0,
                          .alibi = true,
                          .qk_norm = rapt::qk_norm_config{},
                          .rope = rapt::rope_config{.theta = 5'000, .dim = 6},
                          .kv_dtype = dtype::bf16});
  }
  const std::vector<index_t> lens{600, 1, 40};
  random_weights weights_;
  std::vector<std::vector<float>> x_;
  std::vector<float> q_, k_, v_;
};

class hostile_environment : public testing::Test {
 protected:
  rapt::cpu::context ctx_{{.num_threads = 2}};
  const computation computation_;
  const std::vector<std::byte> expected_ = computation_.run(ctx_);
  bool same_bits(rapt::cpu::context& ctx) const { return computation_.run(ctx) == expected_; }
};

TEST_F(hostile_environment, hostile_46_fork_with_a_live_pool) {
  const pid_t child = fork();
  ASSERT_NE(child, -1);
  // In the child the pool's threads are gone; it makes its own.
  if (child == 0) _exit(same_bits(ctx_) ? 0 : 1);
  EXPECT_TRUE(same_bits(ctx_));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

std::atomic<int> signals_seen{0};

TEST_F(hostile_environment, hostile_46_signals_during_forward) {
  struct sigaction action = {}, before = {};
  action.sa_handler = [](int) { ++signals_seen; };
  sigaction(SIGALRM, &action, &before);  // without SA_RESTART: waits are interrupted
  const itimerval every_tenth_of_a_millisecond{{0, 100}, {0, 100}}, never{};
  setitimer(ITIMER_REAL, &every_tenth_of_a_millisecond, nullptr);
  for (int i = 0; i < 500 && (i < 20 || signals_seen < 20); ++i) EXPECT_TRUE(same_bits(ctx_));
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_GE(signals_seen, 20);
}

struct decimal_comma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST_F(hostile_environment, hostile_47_locale_with_decimal_commas) {
  const std::string c_locale = std::setlocale(LC_ALL, nullptr);
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"})  // where one of them is installed
    if (std::setlocale(LC_ALL, name)) break;
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new decimal_comma));
  EXPECT_TRUE(same_bits(ctx_));
  rapt::cpu::context fresh({.num_threads = 1});
  EXPECT_TRUE(same_bits(fresh));
  std::locale::global(before);
  std::setlocale(LC_ALL, c_locale.c_str());
}

TEST_F(hostile_environment, hostile_47_rounding_mode) {
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    std::fesetround(mode);
    rapt::cpu::context fresh({.num_threads = 2});
    const bool fresh_is_same = same_bits(fresh), used_is_same = same_bits(ctx_);
    const int after = std::fegetround();
    std::fesetround(FE_TONEAREST);
    EXPECT_EQ(after, mode) << "the caller's mode is the caller's";
    EXPECT_TRUE(fresh_is_same) << "mode " << mode;
    EXPECT_TRUE(used_is_same) << "mode " << mode;
  }
}

TEST_F(hostile_environment, hostile_47_flush_to_zero) {
  constexpr unsigned flush = 0x8040, control = 0xffc0;  // FTZ and DAZ; all of MXCSR that is not a flag
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | flush);
  rapt::cpu::context fresh({.num_threads = 2});
  const bool fresh_is_same = same_bits(fresh), used_is_same = same_bits(ctx_);
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_EQ(after & control, (before | flush) & control) << "the caller's mode is the caller's";
  EXPECT_TRUE(fresh_is_same);
  EXPECT_TRUE(used_is_same);
}

}  // namespace
}  // namespace rapt_test::contract

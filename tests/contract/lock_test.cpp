// tests/numerics_lock.json holds what each numerics id computes: every instruction set, compiler, level of optimisation and sanitizer must reproduce
// it.
//
// The hashes of an id never change once it is released; other arithmetic needs another id. RAPT_WRITE_NUMERICS_LOCK=cpu-v1 writes that id's hashes
// anew and lets the test fail, so that a rewritten file does not pass unseen.
#include <contract/lock_cases.hpp>
#include <rapt/cpu/context.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>

namespace rapt_test::lock {
namespace {

const std::string path = std::string(RAPT_SOURCE_DIR) + "/tests/numerics_lock.json";
constexpr int num_cases = num_module_cases + num_attend_cases;

std::string digits(std::uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

TEST(numerics_lock, every_instruction_set_reproduces_the_locked_hashes) {
  nlohmann::ordered_json lock = nlohmann::ordered_json::object();
  if (std::ifstream in(path); in) lock = nlohmann::ordered_json::parse(in);
  rapt::cpu::context first({.num_threads = 1});
  const std::string id(first.numerics());
  if (const char* asked = std::getenv("RAPT_WRITE_NUMERICS_LOCK")) {
    ASSERT_EQ(asked, id) << "RAPT_WRITE_NUMERICS_LOCK names the id to write";
    lock[id] = nlohmann::ordered_json::array();
    for (int n = 0; n < num_cases; ++n) lock[id].push_back(digits(run(first, n)));
    std::ofstream(path) << lock.dump(1) << "\n";
    FAIL() << "the hashes of " << id << " were written to " << path << "; look at the difference, then run without RAPT_WRITE_NUMERICS_LOCK";
  }
  ASSERT_TRUE(lock.contains(id)) << path << " has no hashes of " << id << "; RAPT_WRITE_NUMERICS_LOCK=" << id << " writes them";
  ASSERT_EQ(lock[id].size(), static_cast<std::size_t>(num_cases));
  for (const rapt::cpu::isa set : rapt::cpu::available_isas()) {
    rapt::cpu::context ctx({.num_threads = 2, .instruction_set = set});
    ASSERT_EQ(ctx.numerics(), id);
    for (int n = 0; n < num_cases; ++n)
      EXPECT_EQ(digits(run(ctx, n)), lock[id][static_cast<std::size_t>(n)].get<std::string>()) << rapt::cpu::name_of(set) << ", case " << n;
  }
}

TEST(numerics_lock, cases_differ) {
  rapt::cpu::context ctx({.num_threads = 1});
  std::vector<std::uint64_t> hashes;
  for (int n = 0; n < num_cases; ++n) hashes.push_back(run(ctx, n));
  std::sort(hashes.begin(), hashes.end());
  EXPECT_EQ(std::unique(hashes.begin(), hashes.end()), hashes.end());
}

}  // namespace
}  // namespace rapt_test::lock

// tests/numerics_lock.json holds what each numerics id computes: every instruction set, compiler, level of optimisation and sanitizer must reproduce
// it.
//
// The hashes of an id never change once it is released; other arithmetic needs another id. RAPT_WRITE_NUMERICS_LOCK=cpu-v1 writes that id's hashes
// anew and lets the test fail, so that a rewritten file does not pass unseen.
#include <contract/lock_cases.hpp>
#include <contract/random_operands.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>
#include <set>

namespace rapt_test::lock {
namespace {

const std::string path = std::string(RAPT_SOURCE_DIR) + "/tests/numerics_lock.json";
constexpr int num_cases = num_module_cases + num_attend_cases;

std::string digits(std::uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

class numerics_lock : public testing::TestWithParam<std::string_view> {
 protected:
  static std::vector<rapt::cpu::isa> sets() { return contract::usable_isas(rapt::adds_bf16_pairs(GetParam())); }
};

TEST_P(numerics_lock, every_instruction_set_reproduces_the_locked_hashes) {
  const std::string id(GetParam());
  nlohmann::ordered_json lock = nlohmann::ordered_json::object();
  if (std::ifstream in(path); in) lock = nlohmann::ordered_json::parse(in);
  if (const char* asked = std::getenv("RAPT_WRITE_NUMERICS_LOCK")) {
    ASSERT_EQ(asked, id) << "RAPT_WRITE_NUMERICS_LOCK names the id to write";
    rapt::cpu::context& first = contract::context_for(sets().front(), 1);
    lock[id] = nlohmann::ordered_json::array();
    for (int n = 0; n < num_cases; ++n) lock[id].push_back(digits(run(first, n, id)));
    std::ofstream(path) << lock.dump(1) << "\n";
    FAIL() << "the hashes of " << id << " were written to " << path << "; look at the difference, then run without RAPT_WRITE_NUMERICS_LOCK";
  }
  ASSERT_TRUE(lock.contains(id)) << path << " has no hashes of " << id << "; RAPT_WRITE_NUMERICS_LOCK=" << id << " writes them";
  ASSERT_EQ(lock[id].size(), static_cast<std::size_t>(num_cases));
  for (const rapt::cpu::isa set : sets()) {
    rapt::cpu::context& ctx = contract::context_for(set, 2);
    EXPECT_EQ(ctx.numerics(), rapt::numerics_id::cpu_v1) << "the default";
    for (int n = 0; n < num_cases; ++n)
      EXPECT_EQ(digits(run(ctx, n, id)), lock[id][static_cast<std::size_t>(n)].get<std::string>()) << rapt::cpu::name_of(set) << ", case " << n;
  }
}

TEST_P(numerics_lock, cases_differ) {
  rapt::cpu::context& ctx = contract::context_for(sets().front(), 1);
  std::set<std::uint64_t> hashes;
  for (int n = 0; n < num_cases; ++n) hashes.insert(run(ctx, n, GetParam()));
  // Cases 129 and 149, 159 and 179 show no row any key, and have the same shapes.
  EXPECT_GE(hashes.size(), static_cast<std::size_t>(num_cases - 2));
}

INSTANTIATE_TEST_SUITE_P(ids, numerics_lock, testing::Values(rapt::numerics_id::cpu_v1, rapt::numerics_id::cpu_bf16dot_v1), [](const auto& id) {
  std::string name(id.param);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace rapt_test::lock

// The emulator against what a device was seen to do: every probe's answers have the hash that they had there.
#include <bench/gpu/hopper_probes.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace {

using namespace rapt_bench;

TEST(conformance, the_emulator_gives_the_bits_of_the_device) {
  std::ifstream file(RAPT_SOURCE_DIR "/bench/results/gpu/nvidia-h200-2026-11-26-conformance.json");
  const auto seen = nlohmann::json::parse(file);
  records all = run_probes();
  all.merge(run_hopper_probes());
  const std::string not_seen_yet = "blocks of a cluster";
  ASSERT_EQ(seen.size() + 1, all.size());
  for (const auto& [name, words] : all) {
    if (name == "exp2 of any bits" || name == not_seen_yet) continue;  // approximate on a device
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash(words)));
    EXPECT_EQ(seen.at(name).get<std::string>(), text) << name;
  }
}

}  // namespace

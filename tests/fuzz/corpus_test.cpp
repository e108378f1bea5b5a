// Replays the committed corpora through the fuzz targets, without libFuzzer and under any compiler: what a fuzzer once found stays found.
#include <gtest/gtest.h>
#include <fuzz/targets.hpp>
#include <support/unchanged.hpp>

namespace {

using rapt_test::read_file;

/// Every file of the folders; an empty folder would test nothing.
void replay(void (*target)(rapt_fuzz::bytes), std::initializer_list<const char*> folders) {
  for (const char* folder : folders) {
    int num_files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(std::string(RAPT_SOURCE_DIR) + "/" + folder)) {
      const std::string input = read_file(entry.path().string());
      EXPECT_NO_THROW(target(std::as_bytes(std::span(input)))) << entry.path();
      ++num_files;
    }
    EXPECT_GT(num_files, 0) << folder;
  }
}

TEST(fuzz_corpus, header) { replay(rapt_fuzz::header, {"tests/fuzz/corpus/header"}); }
TEST(fuzz_corpus, third_party) { replay(rapt_fuzz::third_party, {"tests/fuzz/corpus/third_party", "fixtures/golden"}); }
TEST(fuzz_corpus, config_json) { replay(rapt_fuzz::config_json, {"tests/fuzz/corpus/config_json"}); }
TEST(fuzz_corpus, load_state) { replay(rapt_fuzz::load_state, {"tests/fuzz/corpus/load_state", "fixtures/golden"}); }
TEST(fuzz_corpus, load_forward) { replay(rapt_fuzz::load_forward, {"tests/fuzz/corpus/load_state", "fixtures/golden"}); }

}  // namespace

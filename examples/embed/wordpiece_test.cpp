// Compares the tokenizer with the ids that Hugging Face's `tokenizers` package gives the same texts.
// usage: wordpiece_test VOCAB_FILE CASES_FILE; exit code 77 where the vocabulary has not been fetched.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "wordpiece.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: wordpiece_test VOCAB_FILE CASES_FILE\n"), 2;
  if (!std::filesystem::exists(argv[1])) return std::printf("skipped: %s is not there (examples/models/fetch.py minilm)\n", argv[1]), 77;
  const embed::wordpiece tokenizer(argv[1]);
  std::ifstream file(argv[2]);
  const nlohmann::json cases = nlohmann::json::parse(file);
  int failures = 0;
  for (const auto& entry : cases) {
    const std::string text = entry.at("text");
    const std::vector<embed::token_id> expected = entry.at("ids"), ids = tokenizer.encode(text, 1'000'000);
    if (ids == expected) continue;
    ++failures;
    std::printf("'%s'\n  expected", text.c_str());
    for (const auto id : expected) std::printf(" %d", id);
    std::printf("\n  got     ");
    for (const auto id : ids) std::printf(" %d", id);
    std::printf("\n");
  }
  std::printf("%zu texts, %d differ\n", cases.size(), failures);
  return failures || cases.empty() ? 1 : 0;
}

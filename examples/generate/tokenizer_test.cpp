// Compares the tokenizer with the ids that Hugging Face's `tokenizers` package gives the same texts.
// usage: tokenizer_test TOKENIZER_FILE CASES_FILE; exit code 77 where the tokenizer file has not been fetched.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tokenizer.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: tokenizer_test TOKENIZER_FILE CASES_FILE\n"), 2;
  if (!std::filesystem::exists(argv[1])) return std::printf("skipped: %s is not there (examples/models/fetch.py smollm2)\n", argv[1]), 77;
  const generate::tokenizer tokenizer(argv[1]);
  std::ifstream file(argv[2]);
  const nlohmann::json cases = nlohmann::json::parse(file);
  int failures = 0, tokens = 0;
  for (const auto& entry : cases) {
    const std::string text = entry.at("text");
    const std::vector<generate::token_id> expected = entry.at("ids"), ids = tokenizer.encode(text);
    tokens += static_cast<int>(ids.size());
    if (ids == expected) continue;
    ++failures;
    std::printf("'%s'\n  expected", text.c_str());
    for (const auto id : expected) std::printf(" %d", id);
    std::printf("\n  got     ");
    for (const auto id : ids) std::printf(" %d", id);
    std::printf("\n");
  }
  std::printf("%zu texts, %d tokens, %d differ\n", cases.size(), tokens, failures);
  return failures || cases.empty() ? 1 : 0;
}

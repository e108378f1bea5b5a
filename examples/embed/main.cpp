// Embeds sentences with all-MiniLM-L6-v2 and prints how alike they are.
//
//   embed "A cat sits on the mat." "A kitten is resting on a rug." "Interest rates rose again."
//   embed --check examples/embed/expected.json
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "encoder.hpp"

namespace {

constexpr double tolerance = 1e-6;

std::vector<std::vector<embed::token_id>> tokens_of(const embed::wordpiece& tokenizer, const std::vector<std::string>& texts) {
  std::vector<std::vector<embed::token_id>> ids;
  for (const std::string& text : texts) ids.push_back(tokenizer.encode(text, embed::encoder::max_len));
  return ids;
}

/// Vectors within `tolerance` of the expected ones, and each text alone with the bits it has in a padded batch.
int check(rapt::cpu::context& ctx, const embed::encoder& model, const embed::wordpiece& tokenizer, const std::string& expected_file) {
  std::ifstream file(expected_file);
  if (!file) throw std::runtime_error("check: cannot open " + expected_file);
  const nlohmann::json expected = nlohmann::json::parse(file);
  std::vector<std::string> texts;
  for (const auto& entry : expected) texts.push_back(entry.at("text"));
  const auto ids = tokens_of(tokenizer, texts);
  const auto vectors = model.embed(ctx, ids);
  double error = 0;
  std::size_t different = 0;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    const std::vector<double> truth = expected[i].at("vector");
    for (std::size_t k = 0; k < truth.size(); ++k) error = std::max(error, std::abs(vectors[i][k] - truth[k]));
    different += model.embed(ctx, {ids[i]}).front() != vectors[i];
  }
  std::printf("%zu texts in one padded batch: largest error %.1e (at most %.0e), %zu differ from the text alone\n", texts.size(), error, tolerance,
              different);
  return error <= tolerance && different == 0 && !texts.empty() ? 0 : 1;
}

int compare(rapt::cpu::context& ctx, const embed::encoder& model, const embed::wordpiece& tokenizer, const std::vector<std::string>& texts) {
  const auto start = std::chrono::steady_clock::now();
  const auto vectors = model.embed(ctx, tokens_of(tokenizer, texts));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (std::size_t a = 0; a < texts.size(); ++a) {
    for (const auto& other : vectors) {
      double similarity = 0;
      for (std::size_t k = 0; k < other.size(); ++k) similarity += double(vectors[a][k]) * other[k];
      std::printf("%6.3f", similarity);
    }
    std::printf("  %s\n", texts[a].c_str());
  }
  std::fprintf(stderr, "%zu texts in %.3f s\n", texts.size(), seconds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string models = ".models", expected;
  int threads = 2;
  std::vector<std::string> texts{"A cat sits on the mat.", "A kitten is resting on a rug.", "Interest rates rose again."};
  CLI::App app("Embeds sentences with all-MiniLM-L6-v2 and prints their cosine similarities");
  app.add_option("--models", models, "folder that examples/models/fetch.py filled")->capture_default_str();
  app.add_option("--threads", threads, "threads, this one included")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--check", expected, "compare with this file of expected vectors (expected.json), and nothing else");
  app.add_option("texts", texts, "sentences")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (!std::filesystem::exists(models + "/minilm-l6-v2.safetensors")) {
    std::fprintf(stderr, "skipped: %s/minilm-l6-v2.safetensors is not there (python3 examples/models/fetch.py minilm --out %s)\n", models.c_str(),
                 models.c_str());
    return 77;
  }
  try {
    rapt::cpu::context ctx({.num_threads = threads});
    const embed::wordpiece tokenizer(models + "/minilm-l6-v2-vocab.txt");
    const embed::encoder model(ctx, models + "/minilm-l6-v2.safetensors");
    return expected.empty() ? compare(ctx, model, tokenizer, texts) : check(ctx, model, tokenizer, expected);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "embed: %s\n", error.what());
    return 1;
  }
}

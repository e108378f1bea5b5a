#include "check.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "session.hpp"

namespace generate {
namespace {

constexpr double tolerance = 2e-4;  // f32 arithmetic against float64 moves logits by up to 1e-4

token_id best(std::span<const float> logits) { return static_cast<token_id>(std::max_element(logits.begin(), logits.end()) - logits.begin()); }

bool matches(rapt::cpu::context& ctx, decoder& model, const tokenizer& tokenizer, const nlohmann::json& expected) {
  const std::string text = expected.at("text");
  const std::vector<token_id> prompt_ids = expected.at("prompt_ids"), greedy_ids = expected.at("greedy_ids");
  const std::vector<token_id> prompt = tokenizer.encode(expected.at("chat") ? chat_prompt(text) : text);
  const auto max_tokens = static_cast<rapt::index_t>(prompt.size() + greedy_ids.size());

  session at_once(ctx, model, max_tokens);
  std::span<const float> logits = at_once.feed(ctx, prompt);
  double error = 0;
  for (const auto& [id, value] : expected.at("first_logits").get<std::vector<std::pair<std::size_t, double>>>())
    error = std::max(error, std::abs(logits[id] - value));
  const std::uint64_t prompt_hash = common::hash_bits(logits.data(), logits.size());

  std::vector<token_id> greedy{best(logits)};
  while (greedy.size() < greedy_ids.size()) greedy.push_back(best(logits = at_once.feed(ctx, std::span(&greedy.back(), 1))));

  session one_by_one(ctx, model, max_tokens);
  for (const token_id id : prompt) logits = one_by_one.feed(ctx, std::span(&id, 1));
  const bool same_bits = common::hash_bits(logits.data(), logits.size()) == prompt_hash;

  std::printf("%s: prompt ids %s, %zu greedy ids %s, first logits within %.1e, prompt token by token %s\n",
              expected.at("name").get<std::string>().c_str(), prompt == prompt_ids ? "as expected" : "DIFFER", greedy.size(),
              greedy == greedy_ids ? "as expected" : "DIFFER", error, same_bits ? "gives the same bits" : "gives OTHER bits");
  return prompt == prompt_ids && greedy == greedy_ids && error <= tolerance && same_bits;
}

}  // namespace

int check(rapt::cpu::context& ctx, decoder& model, const tokenizer& tokenizer, const std::string& expected_file) {
  std::ifstream file(expected_file);
  if (!file) throw std::runtime_error("check: cannot open " + expected_file);
  bool good = true;
  for (const nlohmann::json& expected : nlohmann::json::parse(file)) good &= matches(ctx, model, tokenizer, expected);
  return good ? 0 : 1;
}

}  // namespace generate

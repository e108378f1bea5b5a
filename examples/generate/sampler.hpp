// The next token from logits: the most probable one, or drawn at a temperature.
#pragma once
#include <algorithm>
#include <cmath>
#include <random>
#include <span>
#include <vector>

#include "tokenizer.hpp"

namespace generate {

class sampler {
 public:
  /// temperature 0 is greedy.
  sampler(double temperature, std::uint64_t seed) : temperature_(temperature), random_(seed) {}

  token_id next(std::span<const float> logits) {
    const auto best = std::max_element(logits.begin(), logits.end());
    if (temperature_ <= 0) return static_cast<token_id>(best - logits.begin());
    std::vector<double> weights;
    weights.reserve(logits.size());
    for (const float logit : logits) weights.push_back(std::exp((double(logit) - *best) / temperature_));
    return static_cast<token_id>(std::discrete_distribution<std::size_t>(weights.begin(), weights.end())(random_));
  }

 private:
  double temperature_;
  std::mt19937_64 random_;
};

}  // namespace generate

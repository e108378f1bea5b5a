#include <rapt/ops/rope.hpp>

#include <algorithm>
#include <cmath>
#include <string>

#include <core/float_environment.hpp>
#include <math/elementary.hpp>

namespace rapt {
inline namespace v0 {
namespace {
constexpr double two_pi = 6.283185307179586476925;

failure wrong(const std::string& field, const std::string& came, const std::string& needed) {
  return {errc::config, "rope_config: " + field + " is " + came + "; " + needed};
}
bool positive(double x) { return x > 0 && x <= 1e300; }  // false for NaN

// The dimension whose wave turns `rotations` times over the trained context (Peng et al. 2023, YaRN).
double yarn_dim(const rope_config& config, double dim, double rotations) {
  return dim * math::log(config.scaling.original_max_position_embeddings / (rotations * two_pi)) / (2 * math::log(config.theta));
}

double llama3_frequency(double frequency, const rope_scaling& s) {
  const double wave_len = two_pi / frequency, context = s.original_max_position_embeddings;
  if (wave_len < context / s.high_freq_factor) return frequency;
  if (wave_len > context / s.low_freq_factor) return frequency / s.factor;
  const double smooth = (context / wave_len - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - smooth) * frequency / s.factor + smooth * frequency;
}

void apply_yarn(const rope_config& config, rope_table& table) {
  const rope_scaling& s = config.scaling;
  const auto dim = static_cast<double>(table.dim);
  // floor and ceil of numbers far below 2^53: exact in every library, no rounding of its own
  const double low = std::max(std::floor(yarn_dim(config, dim, s.beta_fast)), 0.0);
  double high = std::min(std::ceil(yarn_dim(config, dim, s.beta_slow)), dim - 1);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < table.inverse_frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0), f = table.inverse_frequencies[i];
    table.inverse_frequencies[i] = f / s.factor * ramp + f * (1 - ramp);
  }
  table.attention_factor = s.attention_factor.value_or(s.factor > 1 ? 0.1 * math::log(s.factor) + 1 : 1.0);
}
}  // namespace

failure check(const rope_config& config, index_t head_dim) {
  if (!positive(config.theta)) return wrong("theta", std::to_string(config.theta), "a finite number above 0 is needed");
  const index_t dim = config.dim == 0 ? head_dim : config.dim;
  if (dim < 2 || dim % 2 != 0 || dim > head_dim)
    return wrong("dim", std::to_string(dim), "an even number from 2 to head_dim " + std::to_string(head_dim) + " is needed");
  const rope_scaling& s = config.scaling;
  if (s.kind == rope_scaling_kind::none) return {};
  if (!positive(s.factor)) return wrong("scaling.factor", std::to_string(s.factor), "a finite number above 0 is needed");
  if (s.kind == rope_scaling_kind::ntk && dim == 2) return wrong("dim", "2", "ntk scaling needs more than one pair");
  if (s.kind == rope_scaling_kind::llama3 || s.kind == rope_scaling_kind::yarn) {
    if (!positive(s.original_max_position_embeddings))
      return wrong("scaling.original_max_position_embeddings", std::to_string(s.original_max_position_embeddings), "a number above 0 is needed");
  }
  if (s.kind == rope_scaling_kind::llama3 && !(positive(s.low_freq_factor) && s.high_freq_factor > s.low_freq_factor && positive(s.high_freq_factor)))
    return wrong("scaling.low_freq_factor", std::to_string(s.low_freq_factor),
                 "0 < low_freq_factor < high_freq_factor " + std::to_string(s.high_freq_factor) + " is needed");
  if (s.kind == rope_scaling_kind::yarn) {
    if (!(positive(s.beta_slow) && positive(s.beta_fast) && s.beta_fast >= s.beta_slow))
      return wrong("scaling.beta_fast", std::to_string(s.beta_fast), "beta_fast >= beta_slow > 0 is needed");
    if (s.attention_factor && !positive(*s.attention_factor))
      return wrong("scaling.attention_factor", std::to_string(*s.attention_factor), "a number above 0 is needed");
    if (config.theta == 1) return wrong("theta", "1", "yarn scaling needs another base");
  }
  return {};
}

rope_table make_rope_table(const rope_config& config, index_t head_dim) {
  raise_if(check(config, head_dim));
  const float_environment environment;
  rope_table table;
  table.dim = config.dim == 0 ? head_dim : config.dim;
  table.pairing = config.pairing;
  const rope_scaling& s = config.scaling;
  const auto dim = static_cast<double>(table.dim);
  const double theta = s.kind == rope_scaling_kind::ntk ? config.theta * math::pow(s.factor, dim / (dim - 2)) : config.theta;
  for (index_t i = 0; i < table.dim / 2; ++i) {
    const double frequency = math::pow(theta, -2.0 * static_cast<double>(i) / dim);
    table.inverse_frequencies.push_back(s.kind == rope_scaling_kind::linear   ? frequency / s.factor
                                        : s.kind == rope_scaling_kind::llama3 ? llama3_frequency(frequency, s)
                                                                              : frequency);
  }
  if (s.kind == rope_scaling_kind::yarn) apply_yarn(config, table);
  return table;
}

std::vector<double> alibi_slopes(index_t num_heads) {
  const float_environment environment;
  index_t power = 1;
  while (power * 2 <= num_heads) power *= 2;
  std::vector<double> slopes;
  for (index_t k = 1; k <= power; ++k) slopes.push_back(math::pow(2.0, -8.0 * static_cast<double>(k) / static_cast<double>(power)));
  for (index_t k = 1; static_cast<index_t>(slopes.size()) < num_heads; k += 2)
    slopes.push_back(math::pow(2.0, -8.0 * static_cast<double>(k) / static_cast<double>(2 * power)));
  return slopes;
}

}  // namespace v0
}  // namespace rapt

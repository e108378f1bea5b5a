// Seeded initialisation, as the reference draws it.
#include <rapt/attention/weights.hpp>

#include <cmath>
#include <cstring>

#include <core/float_environment.hpp>

namespace rapt {
inline namespace v0 {
namespace {

/// SplitMix64's finaliser (Steele et al. 2014): every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
/// Uniform in [-1, 1): a function of its arguments alone.
double uniform(std::uint64_t seed, std::uint64_t parameter, std::uint64_t element) {
  const std::uint64_t bits = mix(mix(mix(seed) + parameter) + element) >> 11;
  return static_cast<double>(bits) * 0x1p-52 - 1;
}

template <class T>
T rounded(double x) {
  return static_cast<T>(x);
}
}  // namespace

template <activation T>
owned_weights random_weights(const attention_config& config, std::uint64_t seed, const initialisation& how) {
  const attention_config c = resolve(config);
  if (!(how.init_gain >= 0 && how.init_gain <= 1e300))
    raise(errc::config, "random_weights: init_gain is " + std::to_string(how.init_gain) + "; a finite number of at least 0 is needed");
  const float_environment environment;
  using family = weight_layout::family;
  const auto extent = [](index_t x) { return static_cast<double>(x); };
  // The full number of heads also for keys and values.
  const double input_bound = std::sqrt(3.0) * std::sqrt(2.0 / (extent(c.num_heads) * extent(c.head_dim) + extent(c.model_dim))) * how.init_gain;
  const double output_bound =
      how.initialize_output_to_zero ? 0 : std::sqrt(6.0 / (extent(c.output_dim) * (extent(c.value_dim) + extent(c.num_heads))));

  owned_weights owned;
  std::uint64_t parameter = 0;
  const auto add = [&](weight_view& view, std::initializer_list<index_t> shape, double bound) {
    index_t count = 1;
    for (const index_t e : shape) count *= e;
    std::vector<std::byte> memory(static_cast<std::size_t>(count) * sizeof(T));
    for (index_t i = 0; i < count; ++i) {
      const T w = rounded<T>(bound * uniform(seed, parameter, static_cast<std::uint64_t>(i)));
      std::memcpy(memory.data() + static_cast<std::size_t>(i) * sizeof(T), &w, sizeof(T));
    }
    ++parameter;
    owned.memory.push_back(std::move(memory));
    view = weight_view(owned.memory.back().data(), dtype_of<T>, std::span(shape.begin(), shape.size()));
  };
  attention_weights& w = owned.views;
  if (how.kind == family::fused_qkv)
    add(w.w_qkv, {3, c.num_heads, c.head_dim, c.model_dim}, input_bound);
  else
    add(w.w_q, {1, c.num_heads, c.head_dim, c.model_dim}, input_bound);
  if (how.kind == family::q_and_kv) add(w.w_kv, {2, c.num_kv_heads, c.head_dim, c.model_dim}, input_bound);
  if (how.kind == family::q_k_v) {
    add(w.w_k, {c.num_kv_heads, c.head_dim, c.model_dim}, input_bound);
    add(w.w_v, {c.num_kv_heads, c.value_dim, c.model_dim}, input_bound);
  }
  add(w.w_out, {c.num_heads, c.value_dim, c.output_dim}, output_bound);
  if (c.qk_norm) {
    const auto add_ones = [&](weight_view& view) {
      add(view, {c.head_dim}, 0);
      const T one = rounded<T>(1.0);
      for (index_t i = 0; i < c.head_dim; ++i) std::memcpy(owned.memory.back().data() + static_cast<std::size_t>(i) * sizeof(T), &one, sizeof(T));
    };
    add_ones(w.q_norm);
    add_ones(w.k_norm);
  }
  raise_if(check(w, c));
  return owned;
}

template owned_weights random_weights<double>(const attention_config&, std::uint64_t, const initialisation&);
template owned_weights random_weights<float>(const attention_config&, std::uint64_t, const initialisation&);
template owned_weights random_weights<bf16>(const attention_config&, std::uint64_t, const initialisation&);
template owned_weights random_weights<f16>(const attention_config&, std::uint64_t, const initialisation&);

}  // namespace v0
}  // namespace rapt

// One attention layer of SmolLM2-135M on its real inputs, from files that are committed beside this example: a prompt of eight tokens, then eight
// tokens one by one, compared with float64. Saved after four of them, resumed in another process.
//
//   layer
//   layer --save half.safetensors
//   layer --resume half.safetensors
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <common/elementwise.hpp>
#include <cstdio>
#include <rapt/rapt.hpp>

namespace {

constexpr rapt::index_t model_dim = 576;
constexpr int num_calls = 9, saved_calls = 5;  // the prompt and eight tokens; the prompt and four

struct options {
  std::string models = "examples/models", save, resume;
  int threads = 2;
};

struct parity {
  double error = 0, bound = 0;
};

/// The largest difference from float64, and what the parity rule allows: twice PyTorch's own float32 error and four roundings of the largest value.
parity compare(const rapt::safetensors::file& expected, const std::string& name, const std::vector<float>& got) {
  const std::vector<double> truth = expected.at("expected." + name).copy<double>();
  const std::vector<float> peer = expected.at("peer." + name + ".f32").copy<float>();
  if (truth.size() != got.size()) throw std::runtime_error(name + " has another size than expected");
  double error = 0, peer_error = 0, largest = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    error = std::max(error, std::abs(got[i] - truth[i]));
    peer_error = std::max(peer_error, std::abs(peer[i] - truth[i]));
    largest = std::max(largest, std::abs(truth[i]));
  }
  return {error, 2 * peer_error + 4 * 0x1p-23 * largest};
}

int run(const options& o) {
  rapt::cpu::context ctx({.num_threads = o.threads});
  const rapt::attention_config config{
      .model_dim = model_dim, .num_heads = 9, .num_kv_heads = 3, .head_dim = 64, .causal = true, .rope = rapt::rope_config{.theta = 100'000.0}};
  const auto weights = rapt::safetensors::open(o.models + "/smollm2-layer0.safetensors");
  const auto data = rapt::safetensors::open(o.models + "/smollm2_layer0_case.safetensors");
  const rapt::multi_head_attention<float> layer(ctx, config, rapt::hugging_face_weights(weights, "model.layers.0.self_attn."));
  rapt::kv_cache cache(ctx, layer.config(), {.max_tokens = 16});
  rapt::sequence sequence = cache.add_sequence();

  int first = 0;
  if (!o.resume.empty()) {
    rapt::load_state(ctx, o.resume, cache, sequence);
    first = saved_calls;
    std::printf("resumed %lld tokens from %s\n", static_cast<long long>(sequence.kv_len()), o.resume.c_str());
  }
  bool good = true;
  std::uint64_t hash = 0;
  std::printf("tokens  error      bound      (largest difference from float64, what is allowed)\n");
  for (int call = first; call < num_calls; ++call) {
    const std::string number = std::to_string(call);
    const std::vector<float> x = data.at("inputs.x" + number).copy<float>();
    std::vector<float> y(x.size());
    const auto len = static_cast<rapt::index_t>(x.size()) / model_dim;
    rapt::step step = cache.begin_step({{sequence, len}});
    layer.forward(ctx, rapt::view(x.data(), len, model_dim), step.layer(0), rapt::view(y.data(), len, model_dim));
    step.commit();
    const parity found = compare(data, "y" + number, y);
    std::printf("%6lld  %.2e   %.2e   %s\n", static_cast<long long>(sequence.kv_len()), found.error, found.bound,
                found.error <= found.bound ? "ok" : "TOO FAR");
    good &= found.error <= found.bound;
    if (call >= saved_calls) hash = hash * 1099511628211u ^ common::hash_bits(y.data(), y.size());
    if (call + 1 == saved_calls && !o.save.empty()) {
      rapt::save_state(ctx, o.save, cache, sequence);
      std::printf("saved %lld tokens to %s\n", static_cast<long long>(sequence.kv_len()), o.save.c_str());
    }
  }
  std::printf("bits of the last four outputs: %016llx\n", static_cast<unsigned long long>(hash));
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app("Runs one attention layer of SmolLM2-135M against float64");
  app.add_option("--models", o.models, "folder of the committed files")->capture_default_str();
  app.add_option("--threads", o.threads, "threads, this one included")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--save", o.save, "save the state after four tokens");
  app.add_option("--resume", o.resume, "go on from such a state");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "layer: %s\n", error.what());
    return 1;
  }
}

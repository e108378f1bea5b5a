// A serving loop: sequences of different lengths join, fork, are cut back and leave one cache, several in every step. Afterwards each is computed
// alone, in one call, in a cache of its own, and must have given the same bits. Random weights; no model is needed.
//
//   server --sequences 100 --seed 7
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <rapt/rapt.hpp>
#include <vector>

namespace {

constexpr rapt::index_t model_dim = 96;
constexpr int num_layers = 2;
constexpr std::size_t max_sequences = 24, max_len = 320;  // the cache has room for that many of that length

/// The input row of a token, from counters: a token is the same wherever and whenever it is fed.
void embed(std::uint64_t token, float* row) {
  for (rapt::index_t i = 0; i < model_dim; ++i) {
    std::uint64_t bits = token * 0x9E3779B97F4A7C15u + static_cast<std::uint64_t>(i) + 1;  // splitmix64
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9u;
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EBu;
    row[i] = static_cast<float>(static_cast<double>((bits ^ bits >> 31) >> 11) * 0x1p-52 - 1.0);
  }
}

/// Layers of attention with a residual; what a real decoder puts between them has no part in the cache.
struct stack {
  std::vector<rapt::multi_head_attention<float>> layers;

  stack(rapt::cpu::context& ctx, rapt::dtype kv_dtype, std::uint64_t seed) {
    const rapt::attention_config config{
        .model_dim = model_dim, .num_heads = 6, .num_kv_heads = 2, .head_dim = 20, .causal = true, .rope = rapt::rope_config{}, .kv_dtype = kv_dtype};
    for (int l = 0; l < num_layers; ++l)
      layers.emplace_back(ctx, config, rapt::random_weights<float>(config, seed + static_cast<std::uint64_t>(l), {.init_gain = 3}).views);
  }

  /// Outputs [tokens.size(), model_dim] of the last layer, for the rows of all entries in order.
  std::vector<float> forward(rapt::cpu::context& ctx, rapt::kv_cache& cache, const std::vector<rapt::kv_cache::entry>& entries,
                             const std::vector<std::uint64_t>& tokens) const {
    const auto num_rows = static_cast<rapt::index_t>(tokens.size());
    std::vector<float> x(tokens.size() * model_dim), y(x.size());
    for (std::size_t r = 0; r < tokens.size(); ++r) embed(tokens[r], x.data() + r * model_dim);
    rapt::step step = cache.begin_step(entries);
    for (int l = 0; l < num_layers; ++l) {
      layers[static_cast<std::size_t>(l)].forward(ctx, rapt::view(x.data(), num_rows, model_dim), step.layer(l),
                                                  rapt::view(y.data(), num_rows, model_dim));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
    }
    step.commit();
    return x;
  }
};

struct client {
  rapt::sequence sequence;
  std::vector<std::uint64_t> tokens;  // that are in the sequence
  std::vector<float> outputs;         // one row for each of them
  std::size_t target_len = 0;
  std::size_t next_rows = 0;
};

class server {
 public:
  server(rapt::cpu::context& ctx, const stack& model, int num_clients, std::uint64_t seed)
      : ctx_(ctx),
        model_(model),
        cache_(ctx, model.layers.front().config(),
               {.num_layers = num_layers, .max_tokens = max_sequences * max_len, .max_sequences = max_sequences, .page_len = 16}),
        random_(seed),
        to_come_(num_clients) {}

  void run() {
    while (to_come_ > 0 || !active_.empty()) {
      admit();
      step();
      leave();
    }
  }

  const std::vector<client>& finished() const { return finished_; }
  void report() const {
    std::printf("served: %zu sequences of 1 to %zu tokens, %d forked, %d cut back, %d steps of up to %zu sequences and %zu rows\n", finished_.size(),
                longest_, num_forks_, num_cuts_, num_steps_, most_sequences_, most_rows_);
    std::printf("cache: %.2f MB, at most %lld of %lld pages in use, %lld free at the end\n", 1e-6 * double(cache_.bytes()),
                static_cast<long long>(most_pages_), static_cast<long long>(num_pages()), static_cast<long long>(cache_.num_free_pages()));
  }
  bool all_pages_came_back() const { return cache_.num_free_pages() == num_pages() && cache_.num_sequences() == 0; }

 private:
  std::size_t draw(std::size_t low, std::size_t high) { return std::uniform_int_distribution<std::size_t>(low, high)(random_); }
  rapt::index_t num_pages() const { return cache_.capacity() / cache_.limits().page_len; }

  /// A new sequence, or the fork of one that is being served.
  void admit() {
    if (to_come_ == 0 || active_.size() >= max_sequences || draw(0, 2) == 0) return;
    client c;
    if (!active_.empty() && draw(0, 3) == 0) {
      const client& parent = active_[draw(0, active_.size() - 1)];
      c.sequence = parent.sequence.fork();
      c.tokens = parent.tokens;
      c.outputs = parent.outputs;
      ++num_forks_;
    } else {
      c.sequence = cache_.add_sequence();
    }
    c.target_len = std::min(c.tokens.size() + draw(1, draw(0, 4) == 0 ? max_len : 60), max_len);
    active_.push_back(std::move(c));
    --to_come_;
  }

  /// One token for most sequences, a stretch of its prompt for some, nothing for a few.
  void step() {
    std::vector<rapt::kv_cache::entry> entries;
    std::vector<std::uint64_t> tokens;
    for (client& c : active_) {
      if (!c.tokens.empty() && draw(0, 30) == 0) cut_back(c);
      const std::size_t missing = c.target_len - c.tokens.size(), kind = draw(0, 9);
      c.next_rows = kind == 0 ? 0 : kind <= 2 ? draw(1, missing) : 1;
      if (c.next_rows == 0) continue;
      entries.push_back({c.sequence, static_cast<rapt::index_t>(c.next_rows)});
      for (std::size_t i = 0; i < c.next_rows; ++i) {
        c.tokens.push_back(random_());
        tokens.push_back(c.tokens.back());
      }
    }
    if (entries.empty()) return;
    const std::vector<float> outputs = model_.forward(ctx_, cache_, entries, tokens);
    auto next = outputs.begin();
    for (client& c : active_) {
      const auto end = next + static_cast<std::ptrdiff_t>(c.next_rows * model_dim);
      c.outputs.insert(c.outputs.end(), next, end);
      next = end;
    }
    ++num_steps_;
    most_rows_ = std::max(most_rows_, tokens.size());
    most_sequences_ = std::max(most_sequences_, entries.size());
    most_pages_ = std::max(most_pages_, num_pages() - cache_.num_free_pages());
  }

  /// As after a draft that was not accepted.
  void cut_back(client& c) {
    const std::size_t len = draw(0, c.tokens.size() - 1);
    c.sequence.truncate(static_cast<rapt::index_t>(len));
    c.tokens.resize(len);
    c.outputs.resize(len * model_dim);
    ++num_cuts_;
  }

  void leave() {
    for (std::size_t i = active_.size(); i-- > 0;) {
      client& c = active_[i];
      if (c.tokens.size() < c.target_len) continue;
      c.sequence = {};  // its pages go back, those that a fork shares stay
      longest_ = std::max(longest_, c.tokens.size());
      finished_.push_back(std::move(c));
      active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  rapt::cpu::context& ctx_;
  const stack& model_;
  rapt::kv_cache cache_;
  std::mt19937_64 random_;
  int to_come_, num_forks_ = 0, num_cuts_ = 0, num_steps_ = 0;
  std::size_t most_rows_ = 0, most_sequences_ = 0, longest_ = 0;
  rapt::index_t most_pages_ = 0;
  std::vector<client> active_, finished_;
};

/// How many values differ in their bits when the sequence has the cache, the call and the threads to itself.
std::size_t differences_alone(const stack& model, const client& c) {
  rapt::cpu::context ctx({.num_threads = 1});
  rapt::kv_cache cache(ctx, model.layers.front().config(), {.num_layers = num_layers, .max_tokens = static_cast<rapt::index_t>(c.tokens.size())});
  const rapt::sequence sequence = cache.add_sequence();
  const std::vector<float> outputs = model.forward(ctx, cache, {{sequence, static_cast<rapt::index_t>(c.tokens.size())}}, c.tokens);
  if (outputs.size() != c.outputs.size()) return outputs.size() + c.outputs.size();
  std::size_t different = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) different += std::memcmp(&outputs[i], &c.outputs[i], sizeof(float)) != 0;
  return different;
}

int serve(int num_clients, std::uint64_t seed, int threads, rapt::dtype kv_dtype) {
  rapt::cpu::context ctx({.num_threads = threads});
  const stack model(ctx, kv_dtype, seed);
  server s(ctx, model, num_clients, seed);
  const auto start = std::chrono::steady_clock::now();
  s.run();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  s.report();
  std::size_t values = 0, different = 0, same_sequences = 0;
  for (const client& c : s.finished()) {
    const std::size_t found = differences_alone(model, c);
    same_sequences += found == 0;
    different += found;
    values += c.outputs.size();
  }
  std::printf("time: %.2f s\nalone: %zu of %zu sequences have the same bits; %zu of %zu values differ\n", seconds, same_sequences,
              s.finished().size(), different, values);
  if (!s.all_pages_came_back()) std::printf("pages are missing from the cache\n");
  return different == 0 && values > 0 && s.all_pages_came_back() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  int num_clients = 100, threads = 2;
  std::uint64_t seed = 7;
  std::string kv_dtype = "f32";
  CLI::App app("Serves sequences from one cache and compares each with itself alone");
  app.add_option("--sequences", num_clients, "how many")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--seed", seed, "of weights, tokens and schedule")->capture_default_str();
  app.add_option("--threads", threads, "threads, this one included")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--kv-dtype", kv_dtype, "type of cached keys and values")->capture_default_str()->check(CLI::IsMember({"f32", "f16", "bf16"}));
  CLI11_PARSE(app, argc, argv);
  try {
    return serve(num_clients, seed, threads, kv_dtype == "f16" ? rapt::dtype::f16 : kv_dtype == "bf16" ? rapt::dtype::bf16 : rapt::dtype::f32);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "server: %s\n", error.what());
    return 1;
  }
}

// One query against a cache: a matter of bytes. model_dim is tiny, so that the projections around attention do not count.
#include <random_cache.hpp>
#include <reference.hpp>

#include <chrono>

namespace bench {
namespace {

using clock = std::chrono::steady_clock;
double seconds_since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

/// What this machine's memory gives to plain reads on the same number of threads, at this moment.
class plain_read {
 public:
  explicit plain_read(index_t bytes) : pool_(options().num_threads), words_(static_cast<std::size_t>(bytes) / 8) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] = i;
  }
  std::string verify() {
    read();
    const std::uint64_t n = used_words();
    return sum() == n * (n - 1) / 2 ? "" : "plain_read: the sum of the words is wrong";
  }
  void read() {
    const rapt::executor threads = pool_.get();
    sums_.assign(static_cast<std::size_t>(threads.num_workers), {});
    threads.run(
        threads.self, threads.num_workers, [](void* self, index_t part) { static_cast<plain_read*>(self)->read_part(part); }, this);
    benchmark::DoNotOptimize(sums_.data());
  }
  double bytes() const { return static_cast<double>(used_words()) * 8; }
  double bytes_per_second() {
    double best = 0;
    for (int i = 0; i < 3; ++i) {
      const clock::time_point start = clock::now();
      read();
      best = std::max(best, bytes() / seconds_since(start));
    }
    return best;
  }

 private:
  static constexpr std::size_t unroll = 16;
  struct alignas(64) padded_sum {
    std::uint64_t value = 0;
  };
  std::size_t part_words() const { return words_.size() / static_cast<std::size_t>(pool_.get().num_workers) / unroll * unroll; }
  std::uint64_t used_words() const { return part_words() * static_cast<std::size_t>(pool_.get().num_workers); }
  void read_part(index_t part) {
    const std::uint64_t* p = words_.data() + static_cast<std::size_t>(part) * part_words();
    std::array<std::uint64_t, unroll> sums{};
    for (std::size_t i = 0; i < part_words(); i += unroll)
      for (std::size_t s = 0; s < unroll; ++s) sums[s] += p[i + s];
    for (const std::uint64_t s : sums) sums_[static_cast<std::size_t>(part)].value += s;
  }
  std::uint64_t sum() const {
    std::uint64_t all = 0;
    for (const padded_sum& s : sums_) all += s.value;
    return all;
  }

  rapt::thread_pool pool_;
  std::vector<std::uint64_t> words_;
  std::vector<padded_sum> sums_;
};

template <class C>
struct decode_fixture {
  static constexpr index_t model_dim = 16;
  index_t kv_len;
  rapt::attention_config config;
  rapt::owned_weights weights;
  rapt::multi_head_attention<float> module;
  rapt::kv_cache cache;
  rapt::sequence sequence;
  std::vector<float> x, y;
  plain_read memory;

  explicit decode_fixture(index_t n)
      : kv_len(n),
        config(decode_config()),
        weights(rapt::random_weights<float>(config, 1, {.init_gain = 16})),  // scores of about 1
        module(context(), config, weights.views),
        cache(context(), module.config(), {.max_tokens = n + 1}),
        sequence(cache.add_sequence()),
        x(random_values<float>(1, model_dim)),
        y(x.size()),
        memory(options().small ? plain_read_small_bytes : plain_read_bytes) {}

  static rapt::attention_config decode_config() {
    return rapt::resolve({.model_dim = model_dim,
                          .num_heads = decode_heads.num_heads,
                          .num_kv_heads = decode_heads.num_kv_heads,
                          .head_dim = decode_heads.head_dim,
                          .causal = true,
                          .kv_dtype = rapt::dtype_of<C>});
  }
  void run() {
    module.forward(context(), rapt::view(std::as_const(x).data(), 1, model_dim), append(cache, sequence), rapt::view(y.data(), 1, model_dim));
    sequence.truncate(kv_len);
  }
  std::string verify() {
    random_tokens<C> tokens(config, kv_len, 1);
    append_tokens<C>(context(), cache, sequence, {&tokens, 1}, module.fingerprint());
    run();
    const module_reference reference(config, weights.views);
    const std::vector<C> k = reference.key<C>(x.data()), v = reference.value<C>(x.data());
    tokens.k.insert(tokens.k.end(), k.begin(), k.end());
    tokens.v.insert(tokens.v.end(), v.begin(), v.end());
    comparison all;
    all.add(std::span(std::as_const(y)), std::span<const double>(reference.row_over_stored(x.data(), tokens.k.data(), tokens.v.data(), kv_len + 1)));
    const std::string complaint = all.complaint("decode");
    if (!complaint.empty()) return complaint;
    const auto planned =
        static_cast<double>(rapt::explain<float>(context(), config, {.kv_len = kv_len + 1, .source = rapt::source_kind::append}).kv_bytes_read);
    if (planned != bytes_read()) return "explain says that " + std::to_string(planned) + " bytes are read; they are " + std::to_string(bytes_read());
    return memory.verify();
  }
  double bytes_read() const {
    return static_cast<double>((kv_len + 1) * config.num_kv_heads * (config.head_dim + config.value_dim)) * static_cast<double>(sizeof(C));
  }
};

template <class C>
void time_decode(benchmark::State& state, decode_fixture<C>& f) {
  const clock::time_point start = clock::now();
  for (auto _ : state) {
    f.run();
    benchmark::ClobberMemory();
  }
  const double rate = f.bytes_read() * static_cast<double>(state.iterations()) / seconds_since(start);
  set_rate(state, "GB/s", f.bytes_read() * 1e-9);
  set_rate(state, "tokens/s", 1);
  // Beside each sample, because what memory gives moves within minutes where a machine is shared.
  const double limit = f.memory.bytes_per_second();
  set_value(state, "read_GB/s", limit * 1e-9);
  set_value(state, "of_read_rate", rate / limit);
  set_value(state, "kv_bytes", f.bytes_read());
}

}  // namespace

void add_decode_benches() {
  for (const rapt::dtype type : stored_types)
    for (const index_t kv_len : decode_kv_lens)
      if (wanted(kv_len <= decode_small_kv_len))
        with_type(type, [&]<class C>(std::type_identity<C>) {
          add<decode_fixture<C>>("decode/kv:" + label(type) + "/kv_len:" + std::to_string(kv_len), time_decode<C>, kv_len);
        });
}

}  // namespace bench

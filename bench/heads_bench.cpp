// Growing numbers of query heads over keys and values that each head has for itself, that all heads share, and that are shared but copied to every
// head before each call, as libraries without grouped heads do (torch.repeat_interleave).
#include <support.hpp>

namespace bench {
namespace {

enum class kv_heads { own, shared, replicated };
constexpr const char* name_of(kv_heads k) { return k == kv_heads::own ? "own" : k == kv_heads::shared ? "shared" : "replicated"; }

struct heads_fixture {
  attended_lens lens;
  kv_heads kind;
  index_t num_heads, num_kv_heads;
  std::vector<float> q, k, v, out;
  std::vector<float> all_k, all_v;  // replicated: one copy for each query head

  heads_fixture(const attended_lens& l, kv_heads kv, index_t heads)
      : lens(l),
        kind(kv),
        num_heads(heads),
        num_kv_heads(kv == kv_heads::own ? heads : 1),
        q(random_values<float>(1, l.q_len * heads * dim)),
        k(random_values<float>(2, l.kv_len * num_kv_heads * dim)),
        v(random_values<float>(3, l.kv_len * num_kv_heads * dim)),
        out(q.size()) {
    if (kind == kv_heads::replicated) all_k.resize(k.size() * static_cast<std::size_t>(heads)), all_v.resize(all_k.size());
  }

  static constexpr index_t dim = scaled_head_dim;
  template <class T>
  static rapt::tensor_view<T, 4> heads_view(T* data, index_t len, index_t heads) {
    return rapt::view(data, 1, len, heads, dim);
  }
  rapt::attend_options call_options() const { return {.causal = true}; }

  /// [kv_len, 1, dim] to [kv_len, num_heads, dim].
  void replicate(const std::vector<float>& one, std::vector<float>& all) const {
    for (index_t j = 0; j < lens.kv_len; ++j)
      for (index_t h = 0; h < num_heads; ++h)
        std::copy_n(&one[static_cast<std::size_t>(j * dim)], dim, &all[static_cast<std::size_t>((j * num_heads + h) * dim)]);
  }
  void run() {
    const auto queries = heads_view(q.data(), lens.q_len, num_heads);
    const auto to = heads_view(out.data(), lens.q_len, num_heads);
    if (kind != kv_heads::replicated)
      return rapt::attend(context(), queries, heads_view(k.data(), lens.kv_len, num_kv_heads), heads_view(v.data(), lens.kv_len, num_kv_heads), to,
                          call_options());
    replicate(k, all_k);
    replicate(v, all_v);
    rapt::attend(context(), queries, heads_view(all_k.data(), lens.kv_len, num_heads), heads_view(all_v.data(), lens.kv_len, num_heads), to,
                 call_options());
  }
  std::string verify() {
    run();
    std::vector<double> want(q.size());
    rapt::attend_reference<float>(
        heads_view<const float>(q.data(), lens.q_len, num_heads), heads_view<const float>(k.data(), lens.kv_len, num_kv_heads),
        heads_view<const float>(v.data(), lens.kv_len, num_kv_heads), heads_view(want.data(), lens.q_len, num_heads), {}, call_options());
    comparison all;
    const std::size_t row = want.size() / static_cast<std::size_t>(lens.q_len);
    for (std::size_t first = 0; first < want.size(); first += row)
      all.add(std::span(std::as_const(out)).subspan(first, row), std::span<const double>(want).subspan(first, row));
    return all.complaint("attend");
  }
  double kv_bytes() const { return 8.0 * static_cast<double>(kind == kv_heads::replicated ? k.size() + all_k.size() : k.size()); }
};

void time_heads(benchmark::State& state, heads_fixture& f) {
  for (auto _ : state) {
    f.run();
    benchmark::ClobberMemory();
  }
  const double visible = static_cast<double>(f.lens.q_len) * static_cast<double>(2 * f.lens.kv_len - f.lens.q_len + 1) / 2;
  set_rate(state, "GFLOP/s", 4e-9 * visible * static_cast<double>(f.num_heads * heads_fixture::dim));
  set_rate(state, "tokens/s", static_cast<double>(f.lens.q_len));
  set_value(state, "kv_bytes", f.kv_bytes());
}

}  // namespace

void add_heads_benches() {
  for (const attended_lens& lens : scaled_lens)
    for (const kv_heads kind : {kv_heads::own, kv_heads::shared, kv_heads::replicated})
      for (const index_t heads : scaled_heads)
        if (wanted(lens.small))
          add<heads_fixture>(std::string("heads/call:") + lens.name + "/kv:" + name_of(kind) + "/heads:" + std::to_string(heads), time_heads, lens,
                             kind, heads);
}

}  // namespace bench

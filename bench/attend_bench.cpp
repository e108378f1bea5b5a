// Attention of a prompt on the caller's tensors, without projections; packing the keys is part of it. Causal is counted at half.
#include <support.hpp>

namespace bench {
namespace {

struct attend_fixture {
  attention_shape shape;
  bool causal;
  std::vector<float> q, k, v, out;

  attend_fixture(const attention_shape& s, bool is_causal)
      : shape(s),
        causal(is_causal),
        q(random_values<float>(1, s.len * s.num_heads * s.head_dim)),
        k(random_values<float>(2, s.len * s.num_kv_heads * s.head_dim)),
        v(random_values<float>(3, s.len * s.num_kv_heads * s.head_dim)),
        out(q.size()) {}

  template <class T>
  rapt::tensor_view<T, 4> view(T* data, index_t len, index_t heads) const {
    return rapt::view(data, 1, len, heads, shape.head_dim);
  }
  void run() {
    rapt::attend(context(), view(q.data(), shape.len, shape.num_heads), view(k.data(), shape.len, shape.num_kv_heads),
                 view(v.data(), shape.len, shape.num_kv_heads), view(out.data(), shape.len, shape.num_heads), {.causal = causal});
  }
  std::string verify() {
    run();
    comparison all;
    for (const index_t row : {index_t{0}, shape.len / 3, shape.len - 1}) {
      const auto first = static_cast<std::size_t>(row * shape.num_heads * shape.head_dim);
      std::vector<double> want(static_cast<std::size_t>(shape.num_heads * shape.head_dim));
      rapt::attend_reference<float>(view<const float>(&q[first], 1, shape.num_heads), view<const float>(k.data(), shape.len, shape.num_kv_heads),
                                    view<const float>(v.data(), shape.len, shape.num_kv_heads), view(want.data(), 1, shape.num_heads), {},
                                    {.causal = causal, .q_positions = {&row, 1}});
      all.add(std::span(std::as_const(out)).subspan(first, want.size()), std::span<const double>(want));
    }
    return all.complaint("attend");
  }
};

void time_attend(benchmark::State& state, attend_fixture& f) {
  for (auto _ : state) {
    f.run();
    benchmark::ClobberMemory();
  }
  const attention_shape& s = f.shape;
  set_rate(state, "GFLOP/s", (f.causal ? 2e-9 : 4e-9) * static_cast<double>(s.len * s.len * s.num_heads * s.head_dim));
  set_rate(state, "tokens/s", static_cast<double>(s.len));
}

}  // namespace

void add_attend_benches() {
  for (const attention_shape& shape : attention_shapes)
    for (const bool causal : {false, true})
      if (wanted(shape.small))
        add<attend_fixture>(std::string("attend/shape:") + shape.name + "/mask:" + (causal ? "causal" : "full"), time_attend, shape, causal);
}

}  // namespace bench

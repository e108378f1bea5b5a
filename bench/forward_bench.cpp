// Whole modules on a prompt: project, attend, project. Causal attention is counted at half.
#include <reference.hpp>

namespace bench {
namespace {

struct forward_fixture {
  module_shape shape;
  rapt::attention_config config;
  rapt::owned_weights weights;
  rapt::multi_head_attention<float> module;
  std::vector<float> x, y;

  forward_fixture(const module_shape& s, rapt::dtype weight_type, bool causal)
      : shape(s),
        config(causal_config(s, causal)),
        weights(random_weights(config, weight_type)),
        module(context(), config, weights.views),
        x(random_values<float>(1, s.rows() * s.model_dim)),
        y(x.size()) {}

  static rapt::attention_config causal_config(const module_shape& s, bool causal) {
    rapt::attention_config c = s.config();
    c.causal = causal;
    return rapt::resolve(c);
  }
  static rapt::owned_weights random_weights(const rapt::attention_config& c, rapt::dtype type) {
    rapt::owned_weights w;
    with_type(type, [&]<class W>(std::type_identity<W>) { w = rapt::random_weights<W>(c, 1); });
    return w;
  }

  void run() {
    const index_t width = shape.model_dim;
    module.forward(context(), rapt::view(std::as_const(x).data(), shape.batch, shape.len, width), rapt::self_kv{},
                   rapt::view(y.data(), shape.batch, shape.len, width));
  }
  std::string verify() {
    run();
    const module_reference reference(config, weights.views);
    comparison all;
    const index_t width = shape.model_dim;
    for (const index_t row : {index_t{0}, shape.len / 3, shape.len - 1}) {
      const std::vector<double> want = reference.row(&x[static_cast<std::size_t>(row * width)], x.data(), config.causal ? row + 1 : shape.len);
      all.add(std::span(std::as_const(y)).subspan(static_cast<std::size_t>(row * width), want.size()), std::span(want));
    }
    return all.complaint("forward");
  }

  double flops() const {
    const auto rows = static_cast<double>(shape.rows()), len = static_cast<double>(shape.len);
    const auto heads = static_cast<double>(config.num_heads * config.head_dim), kv_heads = static_cast<double>(config.num_kv_heads * config.head_dim);
    const double projections = rows * static_cast<double>(shape.model_dim) * 2 * (2 * heads + 2 * kv_heads);
    return projections + rows * len * heads * (config.causal ? 2 : 4);
  }
};

void time_forward(benchmark::State& state, forward_fixture& f) {
  for (auto _ : state) {
    f.run();
    benchmark::ClobberMemory();
  }
  set_rate(state, "GFLOP/s", f.flops() * 1e-9);
  set_rate(state, "tokens/s", static_cast<double>(f.shape.rows()));
  set_value(state, "weight_bytes", static_cast<double>(f.module.weight_bytes()));
  set_value(state, "workspace_bytes",
            static_cast<double>(rapt::workspace_bytes<float>(context(), f.config,
                                                             {.batch = f.shape.batch, .q_len = f.shape.len, .weights = f.weights.views.w_q.type()})));
}

}  // namespace

void add_forward_benches() {
  for (const module_shape& shape : forward_shapes)
    for (const rapt::dtype weights : stored_types)
      for (const bool causal : {false, true})
        if (wanted(shape.small))
          add<forward_fixture>(std::string("forward/shape:") + shape.name + "/weights:" + label(weights) + "/mask:" + (causal ? "causal" : "full"),
                               time_forward, shape, weights, causal);
}

}  // namespace bench

// The module on a device: float and double against the CPU's bits, what a step gives the stream, and how long steps and prompts take by every id.
//
// usage: module RESULT.json     exit status 1 where a bit differs, a step holds anything but kernels, or an id's prompt is not near the default's
#include <cuda_runtime.h>
#include <bench/gpu/activity.hpp>
#include <rapt/cuda.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <random>
#include <string>

namespace {

using rapt::bf16;
using rapt::index_t;
using device = rapt::cuda::backend;

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", call, cudaGetErrorString(status));
  std::exit(1);
}
#define CHECK(call) check(call, #call)

/// Normal, repeated after 2^16.
template <class T>
std::vector<T> random_values(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = i < 65'536 ? static_cast<T>(normal(random)) : values[i - 65'536];
  return values;
}

/// Elements on the device.
template <class T>
class device_array {
 public:
  explicit device_array(const std::vector<T>& values) : count_(values.size()) {
    CHECK(cudaMalloc(&data_, count_ * sizeof(T)));
    CHECK(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~device_array() { cudaFree(data_); }
  T* data() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> all(count_);
    CHECK(cudaMemcpy(all.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return all;
  }

 private:
  T* data_ = nullptr;
  std::size_t count_;
};
template <class T>
rapt::tensor_view<T, 2, rapt::device_space> rows(T* data, index_t count, index_t dim) {
  return {data, {count, dim}};
}

/// Elements that differ between the CPU and the device: a prompt, then rows one by one, through a cache.
template <class T>
long long differing(rapt::attention_config config, unsigned seed) {
  const rapt::owned_weights weights = rapt::random_weights<T>(config, seed);
  constexpr index_t len = 700;
  const index_t in = config.model_dim;
  const std::vector<T> x = random_values<T>(static_cast<std::size_t>(len * in), seed);
  rapt::cpu::context cpu;
  rapt::cuda::context ctx;
  const rapt::multi_head_attention<T> on_cpu(cpu, config, weights.views);
  const rapt::multi_head_attention<T, device> on_device(ctx, config, weights.views);
  rapt::kv_cache host_cache(cpu, on_cpu.config(), {.max_tokens = len});
  rapt::cuda::kv_cache cache(ctx, on_device.config(), {.max_tokens = len, .page_len = 48});
  const auto host_sequence = host_cache.add_sequence();
  const auto sequence = cache.add_sequence();
  std::vector<T> y(x.size());
  const device_array<T> device_x(x), device_y(y);
  for (index_t first = 0; first < len;) {
    const index_t count = first == 0 ? len - 5 : 1;
    on_cpu.forward(cpu, rapt::view(x.data() + first * in, count, in), rapt::append(host_cache, host_sequence),
                   rapt::view(y.data() + first * in, count, in));
    on_device.forward(ctx, rows<const T>(device_x.data() + first * in, count, in), rapt::append(cache, sequence),
                      rows(device_y.data() + first * in, count, in));
    first += count;
  }
  ctx.synchronize();
  const std::vector<T> from_device = device_y.values();
  return std::count_if(y.begin(), y.end(),
                       [&, i = std::size_t{0}](T value) mutable { return std::memcmp(&value, &from_device[i++], sizeof(T)) != 0; });
}

/// Layers of a model of 32 heads, 8 KV heads of 128, with biases of queries, keys and values, and a stream. `numerics`: an id, or empty for the
/// device's own.
class model {
 public:
  static constexpr index_t num_layers = 8, dim = 4096, num_heads = 32, num_kv_heads = 8, head_dim = 128;

  explicit model(const std::string& numerics) {
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    ctx.emplace(rapt::cuda::context_options{.stream = stream});
    rapt::attention_config config{
        .model_dim = dim, .num_heads = num_heads, .num_kv_heads = num_kv_heads, .head_dim = head_dim, .causal = true, .rope = rapt::rope_config{}};
    rapt::owned_weights weights = rapt::random_weights<bf16>(config, 3);
    const std::vector<bf16> biases = random_values<bf16>(num_heads * head_dim, 4);
    const auto bias = [&](index_t heads) { return rapt::weight_view(rapt::tensor_view<const bf16, 2>(biases.data(), {heads, head_dim})); };
    weights.views.b_q = bias(num_heads), weights.views.b_k = weights.views.b_v = bias(num_kv_heads);
    config.numerics = numerics;
    for (index_t l = 0; l < num_layers; ++l) layers.emplace_back(*ctx, config, weights.views);
  }
  ~model() {
    layers.clear(), ctx.reset();
    cudaStreamDestroy(stream);
  }

  cudaStream_t stream = nullptr;
  std::optional<rapt::cuda::context> ctx;
  std::vector<rapt::multi_head_attention<bf16, device>> layers;
};

/// Sequences of kv_len tokens that go on by one token each.
class decoder {
 public:
  decoder(model& m, index_t num_sequences, index_t kv_len)
      : m_(m),
        cache_(*m.ctx, m.layers[0].config(),
               {.num_layers = model::num_layers, .max_tokens = num_sequences * (kv_len + 300), .max_sequences = num_sequences}),
        x_(random_values<bf16>(static_cast<std::size_t>(num_sequences * kv_len * model::dim), 5)),
        y_(std::vector<bf16>(static_cast<std::size_t>(num_sequences * kv_len * model::dim))) {
    for (index_t s = 0; s < num_sequences; ++s) sequences_.push_back(cache_.add_sequence());
    step(kv_len);
    for (int i = 0; i < 5; ++i) step(1);
    m_.ctx->synchronize();
  }
  ~decoder() { m_.ctx->synchronize(); }

  void step(index_t rows_each) {
    auto open = begin(rows_each);
    forward(open);
    open.commit();
  }
  rapt::basic_step<device> begin(index_t rows_each) {
    std::vector<rapt::cuda::kv_cache::entry> entries;
    for (const auto& s : sequences_) entries.push_back({s, rows_each});
    return cache_.begin_step(entries);
  }
  void forward(rapt::basic_step<device>& open) {
    for (index_t l = 0; l < model::num_layers; ++l)
      m_.layers[static_cast<std::size_t>(l)].forward(*m_.ctx, rows<const bf16>(x_.data(), open.num_rows(), model::dim), open.layer(l),
                                                     rows(y_.data(), open.num_rows(), model::dim));
  }
  /// Nodes of a captured step, and those among them that are kernels.
  std::pair<std::size_t, std::size_t> captured_nodes() {
    auto open = begin(1);
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamBeginCapture(m_.stream, cudaStreamCaptureModeGlobal));
    forward(open);
    CHECK(cudaStreamEndCapture(m_.stream, &graph));
    std::size_t count = 0;
    CHECK(cudaGraphGetNodes(graph, nullptr, &count));
    std::vector<cudaGraphNode_t> nodes(count);
    CHECK(cudaGraphGetNodes(graph, nodes.data(), &count));
    const auto is_kernel = [](cudaGraphNode_t node) {
      cudaGraphNodeType type;
      CHECK(cudaGraphNodeGetType(node, &type));
      return type == cudaGraphNodeTypeKernel;
    };
    const auto kernels = static_cast<std::size_t>(std::count_if(nodes.begin(), nodes.end(), is_kernel));
    // It is launched as well, because the context believes that what was captured has been sent.
    cudaGraphExec_t launched = nullptr;
    CHECK(cudaGraphInstantiate(&launched, graph, 0));
    CHECK(cudaGraphLaunch(launched, m_.stream));
    m_.ctx->synchronize();
    CHECK(cudaGraphExecDestroy(launched));
    CHECK(cudaGraphDestroy(graph));
    return {count, kernels};
  }
  /// Microseconds of a layer in a step of one token for each sequence: steps queued one after the other, median of 20.
  double microseconds_of_a_layer() {
    std::vector<double> times;
    for (int i = 0; i < 20; ++i) {
      m_.ctx->synchronize();
      const auto begin_time = std::chrono::steady_clock::now();
      for (int s = 0; s < 10; ++s) step(1);
      m_.ctx->synchronize();
      times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin_time).count() / (10 * model::num_layers));
    }
    std::nth_element(times.begin(), times.begin() + 10, times.end());
    return times[10];
  }

 private:
  model& m_;
  rapt::cuda::kv_cache cache_;
  std::vector<rapt::basic_sequence<device>> sequences_;
  device_array<bf16> x_, y_;
};

/// A layer, its residual, and a prompt of `len` tokens without a cache: microseconds, median of 10, and the rows that it gives.
std::pair<double, std::vector<bf16>> prompt_through_a_layer(model& m, index_t len) {
  const auto count = static_cast<std::size_t>(len * model::dim);
  const device_array<bf16> x(random_values<bf16>(count, 7)), y((std::vector<bf16>(count)));
  std::vector<double> times;
  for (int i = 0; i < 11; ++i) {
    const auto begin_time = std::chrono::steady_clock::now();
    m.layers[0].forward(*m.ctx, rows<const bf16>(x.data(), len, model::dim), rapt::self_kv{}, rows(y.data(), len, model::dim), {.residual = true});
    m.ctx->synchronize();
    if (i > 0) times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin_time).count());
  }
  std::nth_element(times.begin(), times.begin() + 5, times.end());
  return {times[5], y.values()};
}
/// |a - b| / |b|, Euclidean.
double relative_difference(const std::vector<bf16>& a, const std::vector<bf16>& b) {
  double apart = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double of_b = static_cast<float>(b[i]), d = static_cast<float>(a[i]) - of_b;
    apart += d * d, size += of_b * of_b;
  }
  return std::sqrt(apart / size);
}
/// Prompts by every id; false where one is further from the default's than two orders of bf16 are.
bool compare_prompts(std::FILE* out, bool is_hopper) {
  constexpr index_t len = 4096;
  std::vector<bf16> by_default;
  bool near = true;
  std::fprintf(out, ",\n \"prompts\": [");
  for (const std::string numerics : {"", "sm90-wgmma-v1", "sm90-cublaslt-v1"}) {
    if (!numerics.empty() && !is_hopper) continue;
    model m(numerics);
    const auto [us, y] = prompt_through_a_layer(m, len);
    if (numerics.empty()) by_default = y;
    const double apart = relative_difference(y, by_default);
    near &= apart < 0.01;
    const std::string& id = m.layers[0].config().numerics;
    std::printf("%s: a layer and a prompt of %lld tokens: %.0f us, %.1e from the default's rows\n", id.c_str(), static_cast<long long>(len), us,
                apart);
    std::fprintf(out, "%s{\"numerics\": \"%s\", \"rows\": %lld, \"layer_us\": %.1f, \"relative_difference\": %.3g}",
                 numerics.empty() ? "\n  " : ",\n  ", id.c_str(), static_cast<long long>(len), us, apart);
  }
  std::fprintf(out, "\n ]");
  return near;
}

/// What the device does in 20 steps, queued one after the other; false where it is more than kernels, or the host waits.
bool watch_steps(std::FILE* out) {
#if __has_include(<cupti.h>)
  model m("");
  decoder d(m, 8, 1024);
  if (const auto watch = rapt_bench::activity_watch::begin()) {
    for (int i = 0; i < 20; ++i) d.step(1);
    watch->end();
    m.ctx->synchronize();
    const rapt_bench::activity seen = watch->finish();
    std::printf("20 steps, seen by CUPTI: %lld kernels, %lld copies and fills, %lld waits\n", seen.kernels, seen.copies, seen.waits);
    std::fprintf(out, ",\n \"cupti\": {\"steps\": 20, \"kernels\": %lld, \"copies\": %lld, \"waits\": %lld}", seen.kernels, seen.copies, seen.waits);
    return seen.kernels > 0 && seen.copies == 0 && seen.waits == 0;
  }
#endif
  std::printf("CUPTI is not there: that steps hold kernels alone is known from their graphs\n");
  return true;
}

int run(const char* path) {
  const bool is_hopper = !rapt::cuda::context().check_numerics("module", "sm90-wgmma-v1", {rapt::dtype::bf16, rapt::dtype::bf16, 128, 128});
  std::FILE* const out = std::fopen(path, "w");
  if (out == nullptr) return std::perror(path), 1;
  const rapt::attention_config plain{
      .model_dim = 192, .num_heads = 6, .num_kv_heads = 2, .head_dim = 32, .causal = true, .rope = rapt::rope_config{}};
  rapt::attention_config other = plain;
  other.softcap = 20.0, other.alibi = true, other.qk_norm = rapt::qk_norm_config{}, other.window.left = 600, other.head_dim = 40;
  rapt::attention_config wide = plain;
  wide.head_dim = 300, wide.num_heads = 2, wide.num_kv_heads = 1;
  long long differ = 0;
  std::fprintf(out, "{\n \"differing_from_cpu\": {");
  const char* separator = "";
  const auto compare = [&](const char* name, long long count) {
    std::printf("%s: %lld elements differ from the CPU's\n", name, count);
    std::fprintf(out, "%s\"%s\": %lld", separator, name, count);
    separator = ", ";
    differ += count;
  };
  compare("float", differing<float>(plain, 1));
  compare("float, scores changed", differing<float>(other, 2));
  compare("float, heads of 300", differing<float>(wide, 3));
  compare("double", differing<double>(plain, 4));
  compare("double, scores changed", differing<double>(other, 5));
  rapt::attention_config mixed = plain;
  mixed.kv_dtype = rapt::dtype::f16;
  compare("bf16, cache of f16", differing<bf16>(mixed, 6));
  std::fprintf(out, "},\n \"steps\": [");
  separator = "\n  ";
  bool kernels_only = true;
  // Under Hopper's id few keys are decoded by clusters.
  for (const std::string numerics : {"", "sm90-wgmma-v1"}) {
    if (!numerics.empty() && !is_hopper) continue;
    model m(numerics);
    for (const auto& [num_sequences, kv_len] : {std::pair<index_t, index_t>{1, 1024}, {1, 8192}, {8, 1024}, {8, 4096}}) {
      decoder d(m, num_sequences, kv_len);
      const auto [nodes, kernels] = d.captured_nodes();
      kernels_only &= nodes == kernels && nodes > 0;
      const double us = d.microseconds_of_a_layer();
      const std::string& id = m.layers[0].config().numerics;
      std::printf("%s, %lld sequences of %lld tokens: %zu nodes in a step of %lld layers, %zu of them kernels; a layer takes %.1f us\n", id.c_str(),
                  static_cast<long long>(num_sequences), static_cast<long long>(kv_len), nodes, static_cast<long long>(model::num_layers), kernels,
                  us);
      std::fprintf(out,
                   "%s{\"numerics\": \"%s\", \"sequences\": %lld, \"kv_len\": %lld, \"layers\": %lld, \"nodes\": %zu, \"kernels\": %zu, "
                   "\"layer_us\": %.2f}",
                   separator, id.c_str(), static_cast<long long>(num_sequences), static_cast<long long>(kv_len),
                   static_cast<long long>(model::num_layers), nodes, kernels, us);
      separator = ",\n  ";
    }
  }
  std::fprintf(out, "\n ]");
  const bool prompts_are_near = compare_prompts(out, is_hopper);
  kernels_only &= watch_steps(out);
  std::fprintf(out, "\n}\n");
  std::fclose(out);
  return differ == 0 && kernels_only && prompts_are_near ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: module RESULT.json\n"), 2;
  try {
    return run(argv[1]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "module: %s\n", e.what());
    return 1;
  }
}

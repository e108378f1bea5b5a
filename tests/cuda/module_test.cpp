// The module on a device: what it computes, what moves between backends, what is refused. Parity with PyTorch: parity.cuda.
#include <cuda/rig.hpp>
#include <kernels/runtime/emulated.hpp>

#include <algorithm>

namespace rapt_test::cuda {
namespace {
namespace emulated = rapt::runtime::emulated;

double largest_difference(const std::vector<bf16>& a, const std::vector<bf16>& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(static_cast<float>(a[i])) - static_cast<float>(b[i])));
  return most;
}

TEST(cuda_module, says_what_it_computes) {
  rig r;
  EXPECT_EQ(r.ctx.numerics(), "cpu-v1");
  EXPECT_EQ(r.ctx.numerics({rapt::dtype::bf16, rapt::dtype::bf16, 256, 256}), "sm90-mma16816-k64-v1");
  EXPECT_EQ(r.ctx.numerics({rapt::dtype::bf16, rapt::dtype::f16, 64, 64}), "cpu-v1");
  EXPECT_EQ(r.ctx.numerics({rapt::dtype::f16, rapt::dtype::f16, 64, 257}), "cpu-v1");
  EXPECT_EQ(r.on_device.config().numerics, "sm90-mma16816-k64-v1");
  const rapt::explanation e = rapt::explain<bf16>(r.ctx, r.config, {.q_len = 1, .kv_len = 600, .source = rapt::source_kind::step});
  EXPECT_EQ(e.backend, "cuda");
  EXPECT_EQ(e.instruction_set, "sm_90, 4 multiprocessors");
  EXPECT_EQ(e.attention_kernel, "keys split by segments of 512, tensor cores by mma.sync, keys and values bf16");
  EXPECT_EQ(
      error_of([&] {
        rapt::attention_config other = r.config;
        other.numerics = "cpu-bf16dot-v1";
        rapt::multi_head_attention<bf16, rapt::cuda::backend>(r.ctx, other, r.weights.views);
      }),
      "attention_config: numerics is cpu-bf16dot-v1; for activations of bf16, keys and values of bf16, head_dim 24 and value_dim 24 this device "
      "has cpu-v1, sm90-mma16816-k64-v1, sm90-wgmma-v1 and sm90-cublaslt-v1");
}

TEST(cuda_module, a_device_that_is_too_old_too_new_or_too_small_is_refused) {
  rapt::runtime::device_properties usual;
  ASSERT_FALSE(rapt::runtime::describe_device(0, usual));
  const auto refused = [&](int major, int minor, int shared_bytes) {
    emulated::pretend({4, major, minor, shared_bytes});
    const std::string message = error_of([] { rapt::cuda::context(); });
    emulated::pretend(usual);
    return message;
  };
  EXPECT_EQ(refused(7, 5, 64 * 1024), "cuda::context: device 0 is sm_75; sm_80 to sm_90 are served");
  EXPECT_EQ(refused(10, 0, 227 * 1024), "cuda::context: device 0 is sm_100; sm_80 to sm_90 are served");
  EXPECT_EQ(refused(8, 6, 99 * 1024), "cuda::context: device 0 is sm_86, whose blocks have up to 101376 bytes of shared memory; 166912 are needed");
  EXPECT_EQ(refused(8, 0, 163 * 1024), "none");
}

TEST(cuda_module, agrees_with_the_cpu_to_rounding_and_with_itself_to_the_bit) {
  rig r;
  rows_of<rapt::cpu::backend> host(r.cpu, r.x);
  r.on_cpu.forward(r.cpu, host.in(0, rig::len, rig::dim), rapt::self_kv{}, host.out(0, rig::len, rig::dim));
  const std::vector<bf16> whole = r.whole();
  EXPECT_LT(largest_difference(whole, host.y.fetch()), 0.02);
  EXPECT_GT(largest_difference(whole, std::vector<bf16>(whole.size())), 0.5);

  auto cache = r.cache();
  const auto sequence = cache.add_sequence();
  for (index_t first = 0; first < rig::len;) {
    const index_t count = first == 0 ? 33 : first < 50 ? 1 : rig::len - first;
    r.step(cache, sequence, first, count);
    first += count;
  }
  EXPECT_EQ(r.rows.y.fetch(), whole);
}

TEST(cuda_module, the_order_of_hopper_by_name_is_near_and_does_not_depend_on_batch_and_chunks) {
  rig r;
  rapt::attention_config config = r.config;
  config.numerics = "sm90-wgmma-v1";
  const rapt::multi_head_attention<bf16, rapt::cuda::backend> module(r.ctx, config, r.weights.views);
  const auto rows = [&](index_t batch, index_t num_chunks) {
    std::vector<bf16> x;
    for (index_t b = 0; b < batch; ++b) x.insert(x.end(), r.x.begin(), r.x.end());
    rows_of<rapt::cuda::backend> all(r.ctx, x);
    using view = rapt::tensor_view<const bf16, 3, rapt::device_space>;
    module.forward(r.ctx, view(all.x.data(), {batch, rig::len, rig::dim}), rapt::self_kv{},
                   rapt::tensor_view<bf16, 3, rapt::device_space>(all.y.data(), {batch, rig::len, rig::dim}), {.num_chunks = num_chunks});
    return all.y.fetch();
  };
  const std::vector<bf16> one = rows(1, 1), whole = r.whole();
  EXPECT_NE(one, whole) << "another order";
  EXPECT_LT(largest_difference(one, whole), 0.02);
  for (const index_t num_chunks : {1, 3}) {
    const std::vector<bf16> three = rows(3, num_chunks);
    for (index_t b = 0; b < 3; ++b)
      EXPECT_TRUE(std::equal(one.begin(), one.end(), three.begin() + b * rig::len * rig::dim)) << b << " of " << num_chunks << " chunks";
  }
  // In pieces through a cache, in pages.
  rapt::cuda::kv_cache cache(r.ctx, module.config(), {.max_tokens = 96, .page_len = 32});
  const auto sequence = cache.add_sequence();
  for (const index_t first : {0, 33})
    module.forward(r.ctx, r.rows.in(first, first == 0 ? 33 : rig::len - 33, rig::dim), rapt::append(cache, sequence),
                   r.rows.out(first, first == 0 ? 33 : rig::len - 33, rig::dim));
  EXPECT_EQ(r.rows.y.fetch(), one);
}

// One by one they are decoded, by clusters where Hopper's order is asked for: in the other order.
TEST(cuda_module, rows_one_by_one_have_the_same_bits_by_name_of_hoppers_order) {
  rig r;
  rapt::attention_config config = r.config;
  config.numerics = "sm90-wgmma-v1";
  const rapt::multi_head_attention<bf16, rapt::cuda::backend> by_clusters(r.ctx, config, r.weights.views);
  const auto rows = [&](const rapt::multi_head_attention<bf16, rapt::cuda::backend>& module) {
    rows_of<rapt::cuda::backend> all(r.ctx, r.x);
    rapt::cuda::kv_cache cache(r.ctx, module.config(), {.max_tokens = 96, .page_len = 32});
    const auto sequence = cache.add_sequence();
    for (index_t row = 0; row < rig::len; ++row)
      module.forward(r.ctx, all.in(row, 1, rig::dim), rapt::append(cache, sequence), all.out(row, 1, rig::dim));
    return all.y.fetch();
  };
  EXPECT_EQ(rows(by_clusters), rows(r.on_device));
  EXPECT_EQ(rows(by_clusters), r.whole());
}

// Heads that share keys, tokens that share a key, queries that share a row, and no keys: the default's kernel has them.
TEST(cuda_module, what_the_copy_engine_does_not_take_has_the_bits_of_the_default) {
  constexpr index_t len = 100, heads = 2, dim = 16, rows = len * heads;
  rapt::cuda::context ctx;
  contract::random_source random{11};
  using backend = rapt::cuda::backend;
  placed_vector<bf16, backend> x(ctx, contract::random_values<bf16>(random, rows * dim, 2)), out(ctx, std::vector<bf16>(rows * dim));
  struct strides {
    index_t len = heads * dim, head = dim;
  };
  const auto attended = [&](const strides& q, const strides& k, index_t kv_len, std::string_view numerics) {
    const auto view = [&](const strides& s, index_t num) {
      return rapt::tensor_view<const bf16, 4, rapt::device_space>(x.data(), {1, num, heads, dim}, {rows * dim, s.len, s.head, 1});
    };
    rapt::attend(ctx, view(q, len), view(k, kv_len), view({}, kv_len),
                 rapt::tensor_view<bf16, 4, rapt::device_space>(out.data(), {1, len, heads, dim}), {.numerics = numerics});
    return out.fetch();
  };
  for (const char* const id : {"sm90-wgmma-v1", "sm90-cublaslt-v1"}) {
    EXPECT_NE(attended({}, {}, len, id), attended({}, {}, len, "")) << "another order";
    for (const auto& [q, k, kv_len] : std::initializer_list<std::tuple<strides, strides, index_t>>{
             {{}, {heads * dim, 0}, len}, {{}, {0, dim}, len}, {{heads * dim, 0}, {}, len}, {{0, dim}, {}, len}, {{}, {}, 0}})
      EXPECT_EQ(attended(q, k, kv_len, id), attended(q, k, kv_len, "")) << id << ' ' << q.len << ' ' << q.head << ' ' << k.len << ' ' << k.head;
  }
}

/// Rows in two steps, those of the second one by one, through a cache.
template <class T, class Backend>
std::vector<T> streamed(typename Backend::context& ctx, const rapt::attention_config& config, const contract::random_weights& weights,
                        const std::vector<T>& x, index_t len) {
  const rapt::multi_head_attention<T, Backend> module(ctx, config, weights.views);
  rapt::basic_kv_cache<Backend> cache(ctx, module.config(), {.max_tokens = len, .page_len = 48});
  const auto sequence = cache.add_sequence();
  placed_vector<T, Backend> in(ctx, x), out(ctx, std::vector<T>(static_cast<std::size_t>(len * config.output_dim)));
  for (index_t first = 0; first < len;) {
    const index_t count = first == 0 ? len - 3 : 1;
    using space = typename Backend::space;
    module.forward(ctx, rapt::tensor_view<const T, 2, space>(in.data() + first * config.model_dim, {count, config.model_dim}),
                   rapt::append(cache, sequence), rapt::tensor_view<T, 2, space>(out.data() + first * config.output_dim, {count, config.output_dim}));
    first += count;
  }
  return out.fetch();
}

// Sums of a projection over several blocks, by several warps, and norms: what the small module has not.
TEST(cuda_module, wide_rows_with_norm_have_the_same_bits_together_and_one_by_one) {
  constexpr index_t dim = 600, len = 5;
  rapt::cuda::context ctx;
  contract::random_source random{9};
  const rapt::attention_config config = rapt::resolve({.model_dim = dim,
                                                       .num_heads = 2,
                                                       .num_kv_heads = 1,
                                                       .head_dim = 64,
                                                       .causal = true,
                                                       .qk_norm = rapt::qk_norm_config{},
                                                       .rope = rapt::rope_config{},
                                                       .kv_dtype = rapt::dtype::bf16});
  const contract::random_weights weights = contract::make_weights(random, config, rapt::dtype::bf16);
  const rapt::multi_head_attention<bf16, rapt::cuda::backend> module(ctx, config, weights.views);
  const std::vector<bf16> x = contract::random_values<bf16>(random, len * dim, 2);
  rows_of<rapt::cuda::backend> together(ctx, x), one_by_one(ctx, x);
  module.forward(ctx, together.in(0, len, dim), rapt::self_kv{}, together.out(0, len, dim));
  rapt::cuda::kv_cache cache(ctx, module.config(), {.max_tokens = len, .max_sequences = 1, .page_len = 16});
  const auto sequence = cache.add_sequence();
  for (index_t i = 0; i < len; ++i) module.forward(ctx, one_by_one.in(i, 1, dim), rapt::append(cache, sequence), one_by_one.out(i, 1, dim));
  EXPECT_EQ(together.y.fetch(), one_by_one.y.fetch());
}

TEST(cuda_module, float_and_double_have_the_cpu_s_bits) {
  rapt::cpu::context cpu({.num_threads = 1});
  rapt::cuda::context device;
  for (int i = 0; i < 12; ++i) {
    contract::random_source random(static_cast<std::uint64_t>(i));
    const auto compare = [&](auto element) {
      using T = decltype(element);
      const rapt::attention_config config = contract::make_config(random, {.dims = {3, 16, 20, 300}, .max_model_dim = 30}, rapt::dtype_of<T>);
      const contract::random_weights weights = contract::make_weights(random, config, rapt::dtype::f32);
      const index_t len = random.pick<index_t>({5, 40, 600});
      const std::vector<T> x = contract::random_values<T>(random, len * config.model_dim, 2);
      EXPECT_EQ((streamed<T, rapt::cpu::backend>(cpu, config, weights, x, len)), (streamed<T, rapt::cuda::backend>(device, config, weights, x, len)))
          << "case " << i;
    };
    if (i % 3 == 2)
      compare(double{});
    else
      compare(float{});
  }
}

TEST(cuda_module, floats_by_tf32_by_name_are_near_the_cpu_s_and_have_the_same_bits_in_pieces) {
  constexpr index_t dim = 40, len = 70;
  rapt::cpu::context cpu({.num_threads = 1});
  rapt::cuda::context device;
  contract::random_source random{11};
  rapt::attention_config config = rapt::resolve({.model_dim = dim,
                                                 .num_heads = 4,
                                                 .num_kv_heads = 2,
                                                 .head_dim = 20,
                                                 .causal = true,
                                                 .rope = rapt::rope_config{},
                                                 .kv_dtype = rapt::dtype::f32});
  const contract::random_weights weights = contract::make_weights(random, config, rapt::dtype::f32);
  const std::vector<float> x = contract::random_values<float>(random, len * dim, 2);
  const std::vector<float> of_cpu = streamed<float, rapt::cpu::backend>(cpu, config, weights, x, len);
  config.numerics = "sm90-mma1688-3xtf32-v1";
  const std::vector<float> in_pieces = streamed<float, rapt::cuda::backend>(device, config, weights, x, len);
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < of_cpu.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(in_pieces[i]) - static_cast<double>(of_cpu[i])));
    size = std::max(size, std::abs(static_cast<double>(of_cpu[i])));
  }
  EXPECT_NE(in_pieces, of_cpu) << "another order";
  EXPECT_LT(difference, 1e-5 * size) << "tf32 alone would be within 1e-3";

  const rapt::multi_head_attention<float, rapt::cuda::backend> module(device, config, weights.views);
  placed_vector<float, rapt::cuda::backend> in(device, x), out(device, std::vector<float>(x.size()));
  using rapt::device_space;
  module.forward(device, rapt::tensor_view<const float, 2, device_space>(in.data(), {len, dim}), rapt::self_kv{},
                 rapt::tensor_view<float, 2, device_space>(out.data(), {len, dim}));
  EXPECT_EQ(out.fetch(), in_pieces);

  const auto refused = [&](std::string_view id, rapt::attention_types types) {
    return rapt::failure(device.check_numerics("attend", id, types)).code == rapt::errc::config;
  };
  EXPECT_FALSE(refused("sm90-mma1688-3xtf32-v1", {rapt::dtype::f32, rapt::dtype::bf16, 300, 300}));
  EXPECT_TRUE(refused("sm90-mma1688-3xtf32-v1", {rapt::dtype::bf16, rapt::dtype::bf16, 64, 64}));
  EXPECT_TRUE(refused("sm90-mma1688-3xtf32-v1", {rapt::dtype::f64, rapt::dtype::f64, 64, 64}));
  EXPECT_TRUE(refused("sm80-mma1688-3xtf32-v1", {rapt::dtype::f32, rapt::dtype::f32, 64, 64})) << "another architecture's";
}

TEST(cuda_module, a_state_goes_from_the_cpu_to_the_device_and_back) {
  rig r;
  rapt::kv_cache cache(r.cpu, r.on_cpu.config(), {.max_tokens = 200, .page_len = 64});
  rapt::sequence sequence = cache.add_sequence();
  rows_of<rapt::cpu::backend> host(r.cpu, r.x);
  r.on_cpu.forward(r.cpu, host.in(0, 40, rig::dim), rapt::append(cache, sequence), host.out(0, 40, rig::dim));
  const std::vector<std::byte> file = rapt::save_state(r.cpu, r.on_cpu, cache, sequence);

  auto loaded_module = rapt::load_module<bf16>(r.cpu, file);
  auto on_device = r.cache();
  auto resumed = on_device.add_sequence();
  rapt::load_state(r.ctx, file, on_device, resumed);
  EXPECT_EQ(resumed.kv_len(), 40);
  EXPECT_EQ(on_device.numerics(), "sm90-mma16816-k64-v1 + cpu-v1");
  EXPECT_EQ(r.on_device.fingerprint(), r.on_cpu.fingerprint());

  // The same keys and values, to the bit.
  const auto bits = [&](auto& ctx, const auto& from, const auto& s) {
    std::vector<bf16> k(static_cast<std::size_t>(s.kv_len() * 2 * 24)), v(k.size());
    from.export_layer(ctx, s, 0, 0, s.kv_len(), k.data(), v.data());
    k.insert(k.end(), v.begin(), v.end());
    return k;
  };
  EXPECT_EQ(bits(r.ctx, on_device, resumed), bits(r.cpu, cache, sequence));
  r.step(on_device, resumed, 40, rig::len - 40);
  r.on_cpu.forward(r.cpu, host.in(40, rig::len - 40, rig::dim), rapt::append(cache, sequence), host.out(40, rig::len - 40, rig::dim));
  std::vector<bf16> device_y = r.rows.y.fetch(), host_y = host.y.fetch();
  device_y.erase(device_y.begin(), device_y.begin() + 40 * rig::dim), host_y.erase(host_y.begin(), host_y.begin() + 40 * rig::dim);
  EXPECT_LT(largest_difference(device_y, host_y), 0.02);

  const std::vector<std::byte> back = rapt::save_state(r.ctx, on_device, resumed);
  rapt::kv_cache again(r.cpu, r.on_cpu.config(), {.max_tokens = 200});
  rapt::sequence whole;
  rapt::load_state(r.cpu, back, again, whole);
  EXPECT_EQ(bits(r.cpu, again, whole), bits(r.ctx, on_device, resumed));
}

TEST(cuda_module, weights_come_back_as_they_were) {
  rig r;
  const auto canonical = [](auto& module, auto& ctx) {
    std::string all;
    for (const rapt::named_tensor& t : module.weights(ctx))
      all += t.name + std::string(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size());
    return all;
  };
  EXPECT_EQ(canonical(r.on_device, r.ctx), canonical(r.on_cpu, r.cpu));
}

TEST(cuda_module, an_own_stream_or_the_program_s) {
  CUstream_st* stream = nullptr;
  ASSERT_FALSE(rapt::runtime::create_stream(stream));
  {
    const rapt::cuda::context ctx({.stream = stream});
    EXPECT_EQ(ctx.stream(), stream);
    const rapt::cuda::context own;
    EXPECT_NE(own.stream(), nullptr);
  }
  emulated::forget_calls();
  rapt::runtime::destroy(stream);
  EXPECT_EQ(emulated::calls(), std::vector{emulated::call::destroy_stream}) << "destroyed by its owner alone";
}

// Row 48 of bad inputs: the device fails, and what the host can see stays.
TEST(cuda_module, hostile_48_a_failing_launch_throws_and_appends_nothing) {
  const auto launches_of_a_row = [] {
    rig r;
    auto cache = r.cache();
    const auto sequence = cache.add_sequence();
    r.step(cache, sequence, 0, 33);
    emulated::forget_calls();
    r.step(cache, sequence, 33, 1);
    const std::vector<emulated::call> calls = emulated::calls();
    return std::count(calls.begin(), calls.end(), emulated::call::launch);
  }();
  EXPECT_GE(launches_of_a_row, 4);
  for (int others = 0; others < launches_of_a_row; ++others) {
    rig r;
    auto cache = r.cache();
    const auto sequence = cache.add_sequence();
    r.step(cache, sequence, 0, 33);
    {
      auto open = cache.begin_step({{sequence, 1}});
      emulated::fail(emulated::call::launch, others);
      EXPECT_EQ(error_of([&] { r.forward(open, 0, 33, 1); }), "an earlier call has failed: cudaLaunchKernel: unspecified failure");
      EXPECT_NE(error_of([&] { open.commit(); }), "none");
    }
    EXPECT_EQ(sequence.kv_len(), 33);
    EXPECT_NE(error_of([&] { r.step(cache, sequence, 33, 1); }), "none") << "the context stays poisoned";
    EXPECT_EQ(sequence.kv_len(), 33);
  }
}

TEST(cuda_module, hostile_48_a_device_without_memory_is_an_error_that_may_be_tried_again) {
  rig r;
  emulated::fail(emulated::call::allocate);
  EXPECT_EQ(error_of([&] { r.cache(); }), "cudaMalloc: out of memory");
  auto cache = r.cache();
  const auto sequence = cache.add_sequence();
  emulated::fail(emulated::call::allocate);
  EXPECT_EQ(error_of([&] { r.step(cache, sequence, 0, 40); }), "cudaMalloc: out of memory") << "the workspace";
  EXPECT_EQ(sequence.kv_len(), 0);
  r.step(cache, sequence, 0, 40);
  EXPECT_EQ(sequence.kv_len(), 40);
}

TEST(cuda_module, hostile_48_wrong_devices_are_refused) {
  EXPECT_EQ(error_of([] { rapt::cuda::context ctx({.device = 2}); }), "cudaDeviceGetAttribute: invalid device ordinal");
  emulated::fail(emulated::call::create_stream);
  EXPECT_EQ(error_of([] { rapt::cuda::context ctx; }), "cudaStreamCreateWithFlags: unspecified failure");
}

TEST(cuda_module, a_workspace_that_may_not_grow_is_a_capacity_error_with_both_sizes) {
  rig r;
  rapt::cuda::context fixed({.grow = false});
  fixed.reserve(64);
  rows_of<rapt::cuda::backend> rows(fixed, r.x);
  const std::string error =
      error_of([&] { r.on_device.forward(fixed, rows.in(0, rig::len, rig::dim), rapt::self_kv{}, rows.out(0, rig::len, rig::dim)); });
  const std::size_t needed = rapt::workspace_bytes<bf16>(r.ctx, r.on_device.config(), {.q_len = rig::len});
  EXPECT_EQ(error,
            "cuda::context: the call needs " + std::to_string(needed) + " bytes of workspace; 64 are reserved and context_options.grow is false");
  fixed.reserve(needed);
  r.on_device.forward(fixed, rows.in(0, rig::len, rig::dim), rapt::self_kv{}, rows.out(0, rig::len, rig::dim));
  EXPECT_EQ(rows.y.fetch(), r.whole());
}

}  // namespace
}  // namespace rapt_test::cuda

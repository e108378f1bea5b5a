// Projections by cuBLASLt: what it is given, where it is asked, and that the default serves what it can not. The emulated device's stand-in sums in
// double, so that its results are known to the bit and are not the default's.
#include <cuda/rig.hpp>
#include <kernels/runtime/emulated.hpp>

namespace rapt_test::cuda {
namespace {
namespace emulated = rapt::runtime::emulated;

/// A projection of bf16 on the device, its rows apart; y of type Out, with a bias or a residual. The bias is exact in bf16.
template <class Out>
struct projection {
  static constexpr index_t in = 40, out = 24, y_stride = 32;
  index_t rows;
  bool has_bias, has_residual;
  index_t x_stride = 48;
  rapt::cuda::context ctx = rapt::cuda::context();
  contract::random_source random{5};
  std::vector<bf16> x = contract::random_values<bf16>(random, rows*x_stride + in, 2), w = contract::random_values<bf16>(random, out*in, 2),
                    bias = contract::random_values<bf16>(random, out, 2), residual = contract::random_values<bf16>(random, rows*y_stride, 2);

  std::vector<Out> run(bool cublaslt) {
    using backend = rapt::cuda::backend;
    placed_vector<bf16, backend> at_x(ctx, x), at_residual(ctx, residual);
    placed_vector<Out, backend> at_y(ctx, std::vector<Out>(static_cast<std::size_t>(rows * y_stride)));
    const rapt::tensor_view<const bf16, 1> of_bias(has_bias ? bias.data() : nullptr, {out});
    const auto weights = rapt::pack_linear<bf16>(ctx, rapt::tensor_view<const bf16, 2>(w.data(), {out, in}), of_bias);
    const auto operand = [&](void* data, rapt::dtype type, index_t dim, index_t stride) {
      rapt::operand o;
      o.data = data, o.type = type, o.len = rows, o.dim = dim, o.len_stride = stride;
      return o;
    };
    const rapt::project_params::target target{weights.matrix(), operand(at_y.data(), rapt::dtype_of<Out>, out, y_stride)};
    rapt::project_params p;
    p.x = operand(at_x.data(), rapt::dtype::bf16, in, x_stride), p.targets = {&target, 1};
    if (has_residual) p.residual = operand(at_residual.data(), rapt::dtype::bf16, out, y_stride);
    rapt::set_numerics(p, cublaslt ? rapt::numerics_id::sm90_cublaslt_v1 : rapt::numerics_id::sm90_mma_v1);
    rapt::run_in_workspace(ctx, [&](rapt::workspace& scratch) { backend::project(ctx, p, scratch); });
    return at_y.fetch();
  }
  /// Sums in double, rounded once.
  std::vector<Out> exact() const {
    std::vector<Out> y(static_cast<std::size_t>(rows * y_stride));
    const auto at = [](const std::vector<bf16>& v, index_t i) { return static_cast<double>(static_cast<float>(v[static_cast<std::size_t>(i)])); };
    for (index_t r = 0; r < rows; ++r)
      for (index_t c = 0; c < out; ++c) {
        double sum = (has_bias ? at(bias, c) : 0.0) + (has_residual ? at(residual, r * y_stride + c) : 0.0);
        for (index_t k = 0; k < in; ++k) sum += at(x, r * x_stride + k) * at(w, c * in + k);
        y[static_cast<std::size_t>(r * y_stride + c)] = Out(static_cast<float>(sum));
      }
    return y;
  }
};

TEST(cuda_cublaslt, is_given_every_operand_with_its_strides) {
  projection<float> floats{70, true, false};
  EXPECT_EQ(floats.run(true), floats.exact());
  EXPECT_NE(floats.run(false), floats.exact()) << "the default's order";
  projection<bf16> rounded{70, false, true};
  EXPECT_EQ(rounded.run(true), rounded.exact());
}

TEST(cuda_cublaslt, leaves_few_rows_rows_within_others_a_bias_of_another_type_and_what_it_can_not_do) {
  projection<float> few{64, true, false};
  EXPECT_EQ(few.run(true), few.run(false));
  EXPECT_NE(few.run(true), few.exact());
  EXPECT_EQ(few.ctx.workspace_capacity(), 0u) << "nor is its work memory";
  projection<float> within_another{70, true, false, 16};
  EXPECT_EQ(within_another.run(true), within_another.run(false));
  projection<float> not_served{71, true, false};
  EXPECT_EQ(not_served.run(true), not_served.run(false)) << "the library has no algorithm";
  EXPECT_NE(not_served.run(true), not_served.exact());
  projection<bf16> with_bias{70, true, true};
  EXPECT_EQ(with_bias.run(true), with_bias.run(false));
}

TEST(cuda_cublaslt, projects_a_module_s_rows_by_launches_alone) {
  rig r;
  rapt::attention_config config = r.config;
  config.numerics = "sm90-cublaslt-v1";
  const rapt::multi_head_attention<bf16, rapt::cuda::backend> module(r.ctx, config, r.weights.views);
  const auto forward = [&] { module.forward(r.ctx, r.rows.in(0, rig::len, rig::dim), rapt::self_kv{}, r.rows.out(0, rig::len, rig::dim)); };
  forward();  // makes the library's handle, and grows the workspace
  EXPECT_GE(r.ctx.workspace_capacity(), rapt::runtime::matmul_library::workspace_bytes);
  emulated::forget_calls();
  forward();
  const std::vector<emulated::call> calls = emulated::calls();
  EXPECT_TRUE(std::all_of(calls.begin(), calls.end(), [](emulated::call c) { return c == emulated::call::launch; }));
  const std::vector<bf16> y = r.rows.y.fetch(), of_default = r.whole();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    difference = std::max(difference, std::abs(static_cast<double>(static_cast<float>(y[i])) - static_cast<float>(of_default[i])));
    size = std::max(size, std::abs(static_cast<double>(static_cast<float>(y[i]))));
  }
  EXPECT_LT(difference, 0.02);
  EXPECT_GT(size, 0.5);
}

TEST(cuda_cublaslt, a_failure_of_the_library_is_said_once_and_poisons_the_context) {
  projection<float> p{70, false, false};
  p.run(true);
  emulated::fail(emulated::call::launch);
  EXPECT_NE(error_of([&] { p.run(true); }).find("cudaLaunchKernel"), std::string::npos);
  EXPECT_NE(error_of([&] { p.run(true); }).find("an earlier call has failed"), std::string::npos);
}

TEST(cuda_cublaslt, is_for_halves_on_hopper) {
  const rapt::cuda::context ctx;
  const auto refused = [&](rapt::dtype type) {
    return rapt::failure(ctx.check_numerics("attend", "sm90-cublaslt-v1", {type, type, 64, 64})).code == rapt::errc::config;
  };
  EXPECT_FALSE(refused(rapt::dtype::bf16));
  EXPECT_FALSE(refused(rapt::dtype::f16));
  EXPECT_TRUE(refused(rapt::dtype::f32));
}

}  // namespace
}  // namespace rapt_test::cuda

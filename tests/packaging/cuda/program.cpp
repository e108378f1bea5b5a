// A module and a cache on a device; where there is none, the one clear error that says so.
#include <rapt/cuda.hpp>

#include <cstdio>

int main() {
  try {
    rapt::cuda::context ctx;
    const rapt::attention_config config{.model_dim = 64, .num_heads = 4, .causal = true};
    const rapt::owned_weights weights = rapt::random_weights<rapt::bf16>(config, 1);
    const rapt::multi_head_attention<rapt::bf16, rapt::cuda::backend> attention(ctx, config, weights.views);
    rapt::cuda::kv_cache cache(ctx, attention.config(), {.max_tokens = 100});
    std::printf("%s, %s, room for %lld tokens\n", std::string(ctx.describe()).c_str(), attention.config().numerics.c_str(),
                static_cast<long long>(cache.capacity()));
  } catch (const rapt::cuda_error& e) {
    std::printf("no device: %s\n", e.what());
  }
}

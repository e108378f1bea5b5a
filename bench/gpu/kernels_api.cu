// The kernels behind plain functions, for bench/gpu/attention.py. Pointers are a device's; nonzero is an error, whose text last_error() has.
#include <kernels/naive_attention.hpp>
#include <kernels/prefill.hpp>
#include <kernels/repeat.hpp>

#include <exception>
#include <string>

/// What attention.py passes: tensors [batch, len, heads, head_dim] without gaps.
struct call {
  const void *q, *k, *v;
  void* out;
  int batch, q_len, kv_len, num_heads, num_kv_heads, head_dim, causal, is_bf16;
  double softmax_scale;
};

namespace {

using rapt::bf16;
using rapt::f16;
using namespace rapt::kernels;

std::string error;

template <class F>
int guarded(F f) {
  try {
    f();
    return 0;
  } catch (const std::exception& e) {
    error = e.what();
    return 1;
  }
}

template <class T, class Out>
attention_problem<T, Out> problem_of(const call& c) {
  const auto view = [&](auto* data, int len, int heads) {
    using element = std::remove_pointer_t<decltype(data)>;
    const rapt::index_t stride = static_cast<rapt::index_t>(heads) * c.head_dim;
    return heads_view<element>{data, len * stride, stride, c.head_dim};
  };
  attention_problem<T, Out> p;
  p.q = view(static_cast<const T*>(c.q), c.q_len, c.num_heads);
  p.k = view(static_cast<const T*>(c.k), c.kv_len, c.num_kv_heads);
  p.v = view(static_cast<const T*>(c.v), c.kv_len, c.num_kv_heads);
  p.out = view(static_cast<Out*>(c.out), c.q_len, c.num_heads);
  p.batch = c.batch, p.q_len = c.q_len, p.kv_len = c.kv_len, p.num_heads = c.num_heads, p.num_kv_heads = c.num_kv_heads;
  p.causal = c.causal != 0;
  p.softmax_scale = c.softmax_scale;
  return p;
}

template <int HeadDim>
void prefill_of(const call& c, void* workspace, unsigned* counter, unsigned num_blocks, rapt::simt::stream stream) {
  const prefill_workspace<HeadDim> w{static_cast<stored_rows<HeadDim>*>(workspace), counter};
  if (c.is_bf16 != 0)
    attend_prefill<HeadDim>(problem_of<bf16, bf16>(c), w, num_blocks, stream);
  else
    attend_prefill<HeadDim>(problem_of<f16, f16>(c), w, num_blocks, stream);
}

}  // namespace

extern "C" {

const char* last_error() { return error.c_str(); }

/// At once on a multiprocessor.
int prefill_blocks_of(int head_dim) { return prefill_blocks(head_dim); }
/// Of any head_dim up to 128.
unsigned long long prefill_workspace_bytes(unsigned num_blocks) { return 2ull * num_blocks * sizeof(stored_rows<128>); }

int run_prefill(const call* c, void* workspace, unsigned* counter, unsigned num_blocks, rapt::simt::stream stream) {
  return guarded([&] {
    if (c->head_dim == 64) return prefill_of<64>(*c, workspace, counter, num_blocks, stream);
    if (c->head_dim == 128) return prefill_of<128>(*c, workspace, counter, num_blocks, stream);
    throw std::runtime_error("prefill: head_dim is " + std::to_string(c->head_dim) + "; 64 or 128 is needed");
  });
}

/// out is double.
int run_naive(const call* c, rapt::simt::stream stream) {
  return guarded([&] {
    if (c->is_bf16 != 0)
      naive_attend(problem_of<bf16, double>(*c), c->head_dim, stream);
    else
      naive_attend(problem_of<f16, double>(*c), c->head_dim, stream);
  });
}

int run_repeat(const void* from, void* to, long long rows, long long row_bytes, int group_size, rapt::simt::stream stream) {
  return guarded([&] { repeat_heads(from, to, rows, row_bytes, group_size, stream); });
}
}

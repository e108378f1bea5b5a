// What the attention kernels give for fixed problems: on a device where nvcc compiled this, in the emulator otherwise.
//
// usage: parity OUT        writes the answers; `conformance A B` compares two such files
#include <bench/gpu/probes.hpp>
#include <kernels/prefill.hpp>

#include <cstdio>
#include <exception>

namespace {

using namespace rapt_bench;
namespace kernels = rapt::kernels;

struct problem_case {
  int q_len, kv_len, num_heads, num_kv_heads;
  bool causal;
};
constexpr problem_case cases[] = {
    {130, 130, 2, 1, true}, {65, 255, 1, 1, false}, {64, 1100, 1, 1, true}, {8, 8400, 1, 1, false}, {200, 129, 1, 1, true}};

template <class T, int HeadDim>
std::vector<std::uint32_t> answer(const problem_case& c) {
  generator random(HeadDim + static_cast<std::uint64_t>(c.kv_len));
  const auto tensor = [&](int len, int heads) {
    std::vector<T> x(static_cast<std::size_t>(len * heads * HeadDim));
    for (T& element : x) element = T(random.normal());
    return device_array<T>(x);
  };
  device_array<T> q = tensor(c.q_len, c.num_heads), k = tensor(c.kv_len, c.num_kv_heads), v = tensor(c.kv_len, c.num_kv_heads);
  device_array<T> out(static_cast<std::size_t>(c.q_len * c.num_heads * HeadDim));
  constexpr unsigned num_blocks = 2;
  device_array<kernels::stored_rows<HeadDim>> states(2 * num_blocks);
  device_array<unsigned> counter(std::vector<unsigned>(1));
  kernels::attention_problem<T> p;
  p.q = {q.data(), 0, c.num_heads * HeadDim, HeadDim};
  p.k = {k.data(), 0, c.num_kv_heads * HeadDim, HeadDim};
  p.v = {v.data(), 0, c.num_kv_heads * HeadDim, HeadDim};
  p.out = {out.data(), 0, c.num_heads * HeadDim, HeadDim};
  p.batch = 1, p.q_len = c.q_len, p.kv_len = c.kv_len, p.num_heads = c.num_heads, p.num_kv_heads = c.num_kv_heads, p.causal = c.causal;
  p.softmax_scale = HeadDim == 64 ? 0.125 : 0.08838834764831845;
  kernels::attend_prefill<HeadDim>(p, {states.data(), counter.data()}, num_blocks, nullptr);
  std::vector<std::uint32_t> words;
  for (const T x : out.download()) words.push_back(x.bits);
  return words;
}

template <class T, int HeadDim>
void answer_all(records& all, const char* type) {
  for (const problem_case& c : cases)
    all[std::string(type) + " d" + std::to_string(HeadDim) + " q" + std::to_string(c.q_len) + " kv" + std::to_string(c.kv_len)] =
        answer<T, HeadDim>(c);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 2) {
      std::fprintf(stderr, "usage: parity OUT\n");
      return 2;
    }
    records all;
    answer_all<f16, 64>(all, "f16");
    answer_all<f16, 128>(all, "f16");
    answer_all<bf16, 64>(all, "bf16");
    answer_all<bf16, 128>(all, "bf16");
    write_records(argv[1], all);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "parity: %s\n", e.what());
    return 1;
  }
}

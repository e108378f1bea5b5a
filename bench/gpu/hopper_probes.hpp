// Probes, as in probes.hpp, of what only sm_90a has: tiles copied of tensors, products of warpgroups, the barriers that order them, clusters of
// blocks; and mma of tf32.
#pragma once
#include <bench/gpu/probes.hpp>
#include <kernels/simt/cluster.hpp>
#include <kernels/simt/warp.hpp>
#include <kernels/simt/wgmma.hpp>

#include <array>
#include <cstddef>

namespace rapt_bench {

constexpr int tile_lines = 24;  // of 64 elements
struct one_tile {
  alignas(simt::swizzle_bytes) std::uint16_t elements[tile_lines * 64];
  simt::phase_barrier barrier;
};

/// The words of shared memory after a tile was copied there, block by block, from `first` of each.
template <int Rank>
RAPT_KERNEL(64, 1)
copy_tiles(const RAPT_GRID_CONSTANT simt::tensor_map map, const int (*first)[5], std::uint32_t* out) {
  auto& s = simt::shared<one_tile>();
  auto* const words = reinterpret_cast<std::uint32_t*>(s.elements);
  if (simt::thread_idx() == 0) {
    simt::init_barrier(s.barrier, 1);
    simt::fence_barrier_init();
  }
  simt::sync_threads();
  if (simt::thread_idx() < 32 && simt::is_elected()) {
    const int* const at = first[simt::block_idx().x];
    simt::arrive_expecting(s.barrier, sizeof s.elements);
    if constexpr (Rank == 2) simt::copy_tile(s.elements, map, s.barrier, at[0], at[1]);
    if constexpr (Rank == 3) simt::copy_tile(s.elements, map, s.barrier, at[0], at[1], at[2]);
    if constexpr (Rank == 4) simt::copy_tile(s.elements, map, s.barrier, at[0], at[1], at[2], at[3]);
    if constexpr (Rank == 5) simt::copy_tile(s.elements, map, s.barrier, at[0], at[1], at[2], at[3], at[4]);
  }
  simt::wait(s.barrier, 0);
  for (unsigned i = simt::thread_idx(); i < tile_lines * 32; i += 64) out[simt::block_idx().x * tile_lines * 32 + i] = words[i];
}

/// A tensor of `Rank` dimensions without gaps, whose box has tile_lines lines in all, and coordinates inside, at the edges and beyond.
template <int Rank>
struct tile_case {
  rapt::runtime::tensor_layout layout;
  std::vector<std::uint16_t> elements;
  std::vector<std::array<int, 5>> first;

  tile_case() {
    static_assert(Rank >= 2 && Rank <= 5);
    constexpr int extents[5] = {104, 37, 5, 3, 4}, boxes[4][4] = {{24, 1, 1, 1}, {8, 3, 1, 1}, {6, 2, 2, 1}, {3, 2, 2, 2}};
    layout.rank = Rank;
    std::int64_t size = 1;
    for (int d = 0; d < Rank; ++d) {
      layout.extents[d] = extents[d];
      size *= extents[d];
      if (d + 1 < Rank) layout.strides[d] = size, layout.box[d + 1] = boxes[Rank - 2][d];
    }
    generator random(Rank);
    elements.resize(static_cast<std::size_t>(size));
    for (auto& x : elements) x = static_cast<std::uint16_t>(random.bits());
    for (int n = 0; n < 24; ++n) {
      std::array<int, 5> at{};
      for (int d = 0; d < Rank; ++d) at[static_cast<std::size_t>(d)] = n == 0 ? 0 : random.between(-layout.box[d], extents[d] + 2);
      // The innermost one in whole 16 bytes.
      at[0] = at[0] / 8 * 8;
      first.push_back(at);
    }
  }
};

template <int Rank>
std::vector<std::uint32_t> copied_tiles(const tile_case<Rank>& c) {
  device_array<std::uint16_t> elements(c.elements);
  device_array<std::array<int, 5>> first(c.first);
  device_array<std::uint32_t> out(c.first.size() * tile_lines * 32);
  auto layout = c.layout;
  layout.data = elements.data();
  simt::tensor_map map;
  rapt::raise_if(rapt::runtime::describe_tensor(layout, map));
  simt::launch<one_tile>(copy_tiles<Rank>, {static_cast<unsigned>(c.first.size())}, 64, nullptr, map, reinterpret_cast<const int(*)[5]>(first.data()),
                         out.data());
  return out.download();
}

/// acc = c + a b, for b in both of its layouts: b[n][k], and its transposed in groups of 64 columns.
template <class T, int N>
struct wgmma_case {
  T a[64][64], b[N][64], b_transposed[(N + 63) / 64][64][64];
  float c[64][N];
};
template <class T, int N>
struct wgmma_storage {
  alignas(simt::swizzle_bytes) T a[64 * 64];
  alignas(simt::swizzle_bytes) T b[N * 64];
  alignas(simt::swizzle_bytes) T b_transposed[(N + 63) / 64 * 64 * 64];
  simt::phase_barrier barrier;
};
/// Both products, the second after the first on the same accumulators; a from shared memory, then from registers.
template <class T, int N>
RAPT_KERNEL(128, 1)
multiply_tiles(const RAPT_GRID_CONSTANT simt::tensor_map a_map, const RAPT_GRID_CONSTANT simt::tensor_map b_map,
               const RAPT_GRID_CONSTANT simt::tensor_map transposed_map, const wgmma_case<T, N>* cases, float* out) {
  auto& s = simt::shared<wgmma_storage<T, N>>();
  const auto block = static_cast<int>(simt::block_idx().x);
  const unsigned thread = simt::thread_idx(), lane = thread % 32, first_row = thread / 32 * 16 + lane / 4;
  if (thread == 0) {
    simt::init_barrier(s.barrier, 1);
    simt::fence_barrier_init();
  }
  simt::sync_threads();
  if (thread < 32 && simt::is_elected()) {
    simt::arrive_expecting(s.barrier, sizeof s.a + sizeof s.b + sizeof s.b_transposed);
    simt::copy_tile(s.a, a_map, s.barrier, 0, 0, block);
    simt::copy_tile(s.b, b_map, s.barrier, 0, 0, block);
    for (int group = 0; group < (N + 63) / 64; ++group)
      simt::copy_tile(s.b_transposed + group * 64 * 64, transposed_map, s.barrier, 0, group * 64, block);
  }
  const wgmma_case<T, N>& in = cases[block];
  const auto each = [&](float(&acc)[N / 2], auto f) {
    RAPT_UNROLL for (int i = 0; i < N / 2; ++i)
        f(acc[i], first_row + static_cast<unsigned>(i % 4 / 2 * 8), static_cast<unsigned>(i / 4 * 8 + i % 2) + lane % 4 * 2);
  };
  simt::mma_a a[4];
  for (unsigned k = 0; k < 4; ++k)
    for (unsigned i = 0; i < 4; ++i) {
      const T* const pair = &in.a[first_row + i % 2 * 8][k * 16 + i / 2 * 8 + lane % 4 * 2];
      a[k].registers[i] = pair[0].bits | static_cast<std::uint32_t>(pair[1].bits) << 16;
    }
  float acc[N / 2];
  each(acc, [&](float& x, unsigned row, unsigned column) { x = in.c[row][column]; });
  simt::wait(s.barrier, 0);
  simt::fence_products();
  RAPT_UNROLL for (int k = 0; k < 4; ++k)
      simt::multiply_shared<T, N>(acc, simt::describe_matrix(s.a + k * 16), simt::describe_matrix(s.b + k * 16), true);
  simt::commit_products();
  simt::wait_for_products<0>(acc);
  float* const of_block = out + block * 2 * 64 * N;
  each(acc, [&](float x, unsigned row, unsigned column) { of_block[row * N + column] = x; });
  simt::fence_products();
  RAPT_UNROLL for (int k = 0; k < 4; ++k)
      simt::multiply_registers<T, N>(acc, a[k], simt::describe_matrix(s.b_transposed + k * 16 * 64, 64 * 128), k > 0);
  simt::commit_products();
  simt::wait_for_products<0>(acc);
  each(acc, [&](float x, unsigned row, unsigned column) { of_block[(64 + row) * N + column] = x; });
}

template <class T, int N>
std::vector<wgmma_case<T, N>> random_products(kind k, int count) {
  generator random(2000 + static_cast<std::uint64_t>(k));
  std::vector<wgmma_case<T, N>> cases(static_cast<std::size_t>(count));
  for (auto& c : cases) {
    for (auto& row : c.a)
      for (T& x : row) x = random_element<T>(k, random);
    for (int n = 0; n < (N + 63) / 64 * 64; ++n)
      for (int i = 0; i < 64; ++i) {
        const T x = random_element<T>(k, random);
        if (n < N) c.b[n][i] = x;
        c.b_transposed[n / 64][i][n % 64] = x;
      }
    for (auto& row : c.c)
      for (float& x : row) x = random_addend<T>(k, random);
  }
  return cases;
}

/// Per case [2][64][N]: c + a b by one product of four, then a b by the other.
template <class T, int N>
std::vector<float> products_of(const std::vector<wgmma_case<T, N>>& cases) {
  using one = wgmma_case<T, N>;
  device_array<one> in(cases);
  device_array<float> out(cases.size() * 2 * 64 * N);
  const auto map_of = [&](std::size_t offset, int lines, int box) {
    rapt::runtime::tensor_layout t{reinterpret_cast<const std::byte*>(in.data()) + offset,
                                   3,
                                   {64, lines, static_cast<std::int64_t>(cases.size())},
                                   {64, static_cast<std::int64_t>(sizeof(one) / 2)},
                                   {64, box, 1}};
    simt::tensor_map map;
    rapt::raise_if(rapt::runtime::describe_tensor(t, map));
    return map;
  };
  simt::launch<wgmma_storage<T, N>>(multiply_tiles<T, N>, {static_cast<unsigned>(cases.size())}, 128, nullptr, map_of(offsetof(one, a), 64, 64),
                                    map_of(offsetof(one, b), N, N), map_of(offsetof(one, b_transposed), (N + 63) / 64 * 64, 64), in.data(),
                                    out.data());
  return out.download();
}
template <class T, int N>
std::vector<std::uint32_t> product_bits(kind k, int count) {
  std::vector<std::uint32_t> words;
  for (const float x : products_of(random_products<T, N>(k, count))) words.push_back(bits(x));
  return words;
}

/// What two halves of a block hand each other in turn, by named barriers: a sum that is wrong where one runs ahead.
struct turns_storage {
  std::uint32_t value;
};
RAPT_KERNEL(128, 1) take_turns(std::uint32_t* out) {
  auto& s = simt::shared<turns_storage>();
  const unsigned half = simt::thread_idx() / 64;
  if (simt::thread_idx() == 0) s.value = 1;
  simt::sync_threads();
  if (half == 1) simt::arrive_named<1>(128);
  for (unsigned turn = 0; turn < 10; ++turn) {
    if (half == 0)
      simt::sync_named<1>(128);
    else
      simt::sync_named<2>(128);
    if (simt::thread_idx() % 64 == turn) s.value = s.value * (half == 0 ? 3 : 5) + turn;
    if (half == 0)
      simt::arrive_named<2>(128);
    else
      simt::arrive_named<1>(128);
  }
  if (half == 0) simt::sync_named<1>(128);
  const bool any = simt::any_named<3>(128, simt::thread_idx() == 77), none = simt::any_named<3>(128, false);
  out[simt::thread_idx()] = s.value + (any ? 1000 : 0) + (none ? 2000 : 0);
}

/// Registers of one warp's mma of tf32.
struct tf32_case {
  simt::mma_a_tf32 a[32];
  simt::mma_b_tf32 b[32];
  simt::mma_c c[32];
};
RAPT_KERNEL(32, 1) multiply_tf32(const tf32_case* cases, simt::mma_c* out) {
  const tf32_case& in = cases[simt::block_idx().x];
  const unsigned lane = simt::lane_idx();
  simt::mma_c c = in.c[lane];
  simt::multiply_add_tf32(c, in.a[lane], in.b[lane]);
  out[simt::block_idx().x * 32 + lane] = c;
}
/// Floats with all their 23 bits of fraction, of exponents within `spread` of 0; integers where that is 0.
inline std::vector<tf32_case> random_tf32(int spread, int count) {
  generator random(3000 + static_cast<std::uint64_t>(spread));
  const auto element = [&] { return spread == 0 ? static_cast<float>(random.between(-64, 64)) : scaled(random, -spread, spread); };
  std::vector<tf32_case> cases(static_cast<std::size_t>(count));
  for (auto& c : cases)
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (auto& x : c.a[lane].registers) x = bits(element());
      for (auto& x : c.b[lane].registers) x = bits(element());
      for (auto& x : c.c[lane].elements) x = element();
    }
  return cases;
}
inline std::vector<std::uint32_t> tf32_bits(const std::vector<tf32_case>& cases) {
  device_array<tf32_case> in(cases);
  device_array<simt::mma_c> out(cases.size() * 32);
  simt::launch<simt::no_storage>(multiply_tf32, {static_cast<unsigned>(cases.size())}, 32, nullptr, in.data(), out.data());
  std::vector<std::uint32_t> words;
  for (const simt::mma_c& c : out.download())
    for (const float x : c.elements) words.push_back(bits(x));
  return words;
}

/// Blocks of a cluster hand each other words, each to its next and then to the one before, and note what they have got.
constexpr unsigned blocks_of_cluster = 8;
struct handed_on {
  std::uint32_t first[64], second[64];
};
RAPT_KERNEL(64, 1) hand_on(std::uint32_t* out) {
  auto& s = simt::shared<handed_on>();
  const unsigned rank = simt::cluster_rank(), thread = simt::thread_idx();
  simt::sync_cluster();
  simt::of_block(s, (rank + 1) % blocks_of_cluster).first[thread] = rank * 64 + thread;
  simt::arrive_cluster();
  simt::wait_cluster();
  simt::of_block(s.second[63 - thread], (rank + blocks_of_cluster - 1) % blocks_of_cluster) = s.first[thread] * 3;
  simt::sync_cluster();
  out[simt::block_idx().x * 64 + thread] = s.second[thread] + 1000 * simt::of_block(s, rank ^ 1).first[thread];
  simt::sync_cluster();
}
inline std::vector<std::uint32_t> handed_words() {
  device_array<std::uint32_t> out(3 * blocks_of_cluster * 64);
  simt::launch_clusters<handed_on>(hand_on, blocks_of_cluster, {3 * blocks_of_cluster}, 64, nullptr, out.data());
  return out.download();
}

inline records run_hopper_probes() {
  records all;
  all["tiles of 2 dimensions"] = copied_tiles(tile_case<2>());
  all["tiles of 3 dimensions"] = copied_tiles(tile_case<3>());
  all["tiles of 4 dimensions"] = copied_tiles(tile_case<4>());
  all["tiles of 5 dimensions"] = copied_tiles(tile_case<5>());
  device_array<std::uint32_t> turns(128);
  simt::launch<turns_storage>(take_turns, {1}, 128, nullptr, turns.data());
  all["turns"] = turns.download();
  all["blocks of a cluster"] = handed_words();
  for (int k = 0; k < num_kinds; ++k) {
    const auto of = static_cast<kind>(k);
    all[std::string("wgmma f16 ") + kind_names[k]] = product_bits<f16, 64>(of, 2);
    all[std::string("wgmma bf16 ") + kind_names[k]] = product_bits<bf16, 64>(of, 2);
  }
  all["wgmma f16, 80 columns"] = product_bits<f16, 80>(kind::normal, 1);
  all["wgmma bf16, 96 columns"] = product_bits<bf16, 96>(kind::normal, 1);
  all["wgmma f16, 112 columns"] = product_bits<f16, 112>(kind::normal, 1);
  all["wgmma bf16, 128 columns"] = product_bits<bf16, 128>(kind::normal, 1);
  all["wgmma f16, 176 columns"] = product_bits<f16, 176>(kind::normal, 1);
  all["wgmma bf16, 192 columns"] = product_bits<bf16, 192>(kind::normal, 1);
  all["wgmma f16, 256 columns"] = product_bits<f16, 256>(kind::normal, 1);
  for (const int spread : {0, 2, 12, 40}) all["mma tf32, exponents within " + std::to_string(spread)] = tf32_bits(random_tf32(spread, 100));
  return all;
}

}  // namespace rapt_bench

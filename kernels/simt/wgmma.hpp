// wgmma.m64nNk16: a warpgroup, four warps from a multiple of four on, multiplies 16-bit matrices and sums in float, asynchronously. sm_90a.
//
// Between the issue of a product and the wait for its group nobody may touch its accumulators, change its registers of A or overwrite its shared
// memory. The emulator computes a warp's quarter when that warp waits, from what is in shared memory then; until then accumulators hold a poison, and
// what has changed one of them, or registers of A, is an error.
#pragma once
#include <kernels/simt/mma.hpp>
#include <kernels/simt/tensor_copy.hpp>

#include <type_traits>
#ifdef __CUDACC__
#include <kernels/simt/wgmma_ptx.hpp>
#else
#include <kernels/simt/fibre.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <memory>
#include <utility>
#endif

namespace rapt {
inline namespace v0 {
namespace simt {

constexpr unsigned warpgroup_size = 128;

/// A matrix in shared memory, in rows of 64 elements as copy_tile leaves them: which kind is a matter of the instruction.
struct matrix_descriptor {
  std::uint64_t bits;
};
/// From the address of the first element. `group_bytes`: between 64 rows, or columns, and the next 64 where a line of shared memory runs along them
/// (B of multiply_registers); of no meaning where it runs along k. Eight lines are 1024 bytes apart from the next eight.
RAPT_DEVICE matrix_descriptor describe_matrix(const void* first, std::uint32_t group_bytes = 16) {
  return {static_cast<std::uint64_t>(shared_address(first) >> 4 & 0x3fffu) | static_cast<std::uint64_t>(group_bytes >> 4 & 0x3fffu) << 16 |
          static_cast<std::uint64_t>(swizzle_bytes >> 4) << 32 | std::uint64_t{1} << 62};
}

#ifndef __CUDACC__
namespace emulator {

/// What accumulators hold while they are in flight: a signalling NaN, which arithmetic makes quiet.
inline constexpr std::uint32_t in_flight = 0x7fbadbadu;

struct wgmma_operands {
  float* acc;
  const mma_a* a;  ///< null: from shared memory
  matrix_descriptor a_matrix, b_matrix;
  bool adds;
};

/// Element k of row i of a matrix whose lines run along k, or else along its rows.
template <class T>
T matrix_element(matrix_descriptor m, bool along_k, unsigned i, unsigned k) {
  const auto field = [&](int shift) { return static_cast<std::uint32_t>(m.bits >> shift & 0x3fff) << 4; };
  if (m.bits >> 62 != 1) fail("wgmma", "the descriptor does not exchange chunks by 128 bytes");
  const std::uint32_t along = along_k ? i / 8 * field(32) + i % 8 * 128 + k * 2 : i / 64 * field(16) + k / 8 * field(32) + k % 8 * 128 + i % 64 * 2;
  T x;
  std::memcpy(&x.bits, shared_at(swizzled(field(0) + along), 2, 2, "wgmma"), 2);
  return x;
}

/// A warp's accumulators while products on them are in flight.
struct accumulators {
  std::array<float*, warp_size> at;
  std::array<std::array<float, 128>, warp_size> values;  ///< after the products that are done
  std::size_t count;
  unsigned num_products = 0;

  accumulators(const warp_operands& w, std::size_t n) : count(n) {
    for (unsigned l = 0; l < warp_size; ++l) {
      at[l] = static_cast<const wgmma_operands*>(w.in[l])->acc;
      for (std::size_t i = 0; i < count; ++i) values[l][i] = std::exchange(at[l][i], std::bit_cast<float>(in_flight));
    }
  }
  void check() const {
    for (const float* acc : at)
      for (std::size_t i = 0; i < count; ++i)
        if (std::bit_cast<std::uint32_t>(acc[i]) != in_flight) fail("wgmma", "accumulators have changed in flight");
  }
  /// One product is done; after the last one they may be read.
  void land() {
    check();
    if (--num_products != 0) return;
    for (unsigned l = 0; l < warp_size; ++l) std::copy_n(values[l].begin(), count, at[l]);
  }
};
/// Those in flight, by the address of the first lane's: a product that is issued on them goes on with their values. Nothing that threads of a device
/// would share: ThreadSanitizer does not look.
class accumulators_in_flight {
 public:
  static std::shared_ptr<accumulators> find(const float* first) {
    const unseen u;
    const auto it = all().find(first);
    return it == all().end() ? nullptr : it->second.lock();
  }
  static void add(const float* first, const std::shared_ptr<accumulators>& acc) {
    const unseen u;
    all()[first] = acc;
  }
  static void remove(const float* first) {
    const unseen u;
    all().erase(first);
  }

 private:
  static std::map<const float*, std::weak_ptr<accumulators>>& all() {
    thread_local std::map<const float*, std::weak_ptr<accumulators>> map;
    return map;
  }
};

/// A warp's quarter: 16 rows of A and of the accumulators, of which lane l has rows l / 4 and l / 4 + 8.
template <class T, int N>
struct wgmma_quarter {
  std::array<wgmma_operands, warp_size> lanes;
  std::array<mma_a, warp_size> a;  ///< as it was issued
  std::shared_ptr<accumulators> acc;
  unsigned first_row;

  explicit wgmma_quarter(const warp_operands& w) : first_row(thread_idx() % warpgroup_size / warp_size * 16) {
    for (unsigned l = 0; l < warp_size; ++l) {
      lanes[l] = *static_cast<const wgmma_operands*>(w.in[l]);
      if (lanes[l].a != nullptr) a[l] = *lanes[l].a;
    }
    acc = accumulators_in_flight::find(lanes[0].acc);
    if (acc == nullptr) accumulators_in_flight::add(lanes[0].acc, acc = std::make_shared<accumulators>(w, N / 2));
    acc->check();
    ++acc->num_products;
  }

  void compute() {
    T rows[16][16], columns[N][16];
    const matrix_descriptor a_matrix = lanes[0].a_matrix, b_matrix = lanes[0].b_matrix;
    const bool shared = lanes[0].a == nullptr;
    for (unsigned l = 0; l < warp_size; ++l)
      if (!shared && std::memcmp(&a[l], lanes[l].a, sizeof(mma_a)) != 0) fail("wgmma", "registers of A have changed in flight");
    for (unsigned row = 0; row < 16; ++row)
      for (unsigned k = 0; k < 16; ++k) {
        if (shared)
          rows[row][k] = matrix_element<T>(a_matrix, true, first_row + row, k);
        else
          rows[row][k].bits = static_cast<std::uint16_t>(a[row % 8 * 4 + k % 8 / 2].registers[row / 8 + k / 8 * 2] >> 16 * (k % 2));
      }
    for (unsigned column = 0; column < N; ++column)
      for (unsigned k = 0; k < 16; ++k) columns[column][k] = matrix_element<T>(b_matrix, shared, column, k);
    for (unsigned row = 0; row < 16; ++row)
      for (unsigned column = 0; column < N; ++column) {
        const unsigned lane = row % 8 * 4 + column % 8 / 2, i = column / 8 * 4 + row / 8 * 2 + column % 2;
        float& x = acc->values[lane][i];
        x = multiply_add_16(hopper, rows[row], columns[column], lanes[0].adds ? x : 0.0f);
      }
    acc->land();
    if (acc->num_products == 0) accumulators_in_flight::remove(lanes[0].acc);
  }
};

template <class T, int N>
void issue_wgmma(const wgmma_operands& in) {
  meet_warp(all_lanes, "wgmma", &in, nullptr, [](const warp_operands& w) {
    const auto quarter = std::make_shared<wgmma_quarter<T, N>>(w);
    const wgmma_operands& o = quarter->lanes[0];
    issue_product(o.a_matrix.bits, o.b_matrix.bits, [quarter] { quarter->compute(); });
  });
}
}  // namespace emulator
#endif

/// Before the first product, and before one whose registers anything else has touched since.
RAPT_DEVICE void fence_products() {
#ifdef __CUDACC__
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  emulator::meet_warp(all_lanes, "wgmma.fence", nullptr, nullptr, [](const emulator::warp_operands&) { emulator::fence_products(); });
#endif
}
/// Makes one group of the products that the warpgroup has issued since the last.
RAPT_DEVICE void commit_products() {
#ifdef __CUDACC__
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  emulator::meet_warp(all_lanes, "wgmma.commit_group", nullptr, nullptr, [](const emulator::warp_operands&) { emulator::commit_products(); });
#endif
}
/// Waits until at most the newest `Groups` groups are in flight; the operands of the others in shared memory may be overwritten.
template <int Groups>
RAPT_DEVICE void wait_for_operands() {
#ifdef __CUDACC__
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Groups) : "memory");
#else
  emulator::meet_warp(all_lanes, "wgmma.wait_group", nullptr, nullptr, [](const emulator::warp_operands&) { emulator::wait_for_products(Groups); });
#endif
}
/// The same; `acc`, of the others, may be read.
template <int Groups, int Count>
RAPT_DEVICE void wait_for_products([[maybe_unused]] float (&acc)[Count]) {
  wait_for_operands<Groups>();
#ifdef __CUDACC__
  // So that no use of them moves above the wait.
  RAPT_UNROLL for (float& x : acc) asm volatile("" : "+f"(x)::"memory");
#endif
}

/// The columns that a product may have here; a multiple of 8 up to 256 is possible.
constexpr bool is_wgmma_width(int n) { return n == 64 || n == 80 || n == 96 || n == 112 || n == 128 || n == 176 || n == 192 || n == 256; }

/// acc = a * b, plus acc where it `adds`: rows [64, 16] of a and columns [16, N] of b, the lines of both along k. Element i of lane l of warp w is
/// (w * 16 + l / 4 + i % 4 / 2 * 8, i / 4 * 8 + l % 4 * 2 + i % 2). T is f16 or bf16.
template <class T, int N>
RAPT_DEVICE void multiply_shared(float (&acc)[N / 2], matrix_descriptor a, matrix_descriptor b, bool adds) {
  static_assert((std::is_same_v<T, f16> || std::is_same_v<T, bf16>)&&is_wgmma_width(N));
#ifdef __CUDACC__
#define RAPT_WGMMA(n, eights, ...)                      \
  if constexpr (N == n && std::is_same_v<T, f16>)       \
    RAPT_WGMMA_SHARED(n, eights, "f16", __VA_ARGS__);   \
  else if constexpr (N == n && std::is_same_v<T, bf16>) \
  RAPT_WGMMA_SHARED(n, eights, "bf16", __VA_ARGS__)
  RAPT_WGMMA(64, 4, "32", "33", "34");
  RAPT_WGMMA(80, 5, "40", "41", "42");
  RAPT_WGMMA(96, 6, "48", "49", "50");
  RAPT_WGMMA(112, 7, "56", "57", "58");
  RAPT_WGMMA(128, 8, "64", "65", "66");
  RAPT_WGMMA(176, 11, "88", "89", "90");
  RAPT_WGMMA(192, 12, "96", "97", "98");
  RAPT_WGMMA(256, 16, "128", "129", "130");
#undef RAPT_WGMMA
#else
  emulator::issue_wgmma<T, N>({acc, nullptr, a, b, adds});
#endif
}

/// The same with a warp's 16 rows of a in its registers, and the lines of b along its columns: 16 lines, for 64 columns.
template <class T, int N>
RAPT_DEVICE void multiply_registers(float (&acc)[N / 2], const mma_a& a, matrix_descriptor b, bool adds) {
  static_assert((std::is_same_v<T, f16> || std::is_same_v<T, bf16>)&&is_wgmma_width(N));
#ifdef __CUDACC__
#define RAPT_WGMMA(n, eights, ...)                       \
  if constexpr (N == n && std::is_same_v<T, f16>)        \
    RAPT_WGMMA_REGISTERS(n, eights, "f16", __VA_ARGS__); \
  else if constexpr (N == n && std::is_same_v<T, bf16>)  \
  RAPT_WGMMA_REGISTERS(n, eights, "bf16", __VA_ARGS__)
  RAPT_WGMMA(64, 4, "32", "33", "34", "35", "36", "37");
  RAPT_WGMMA(80, 5, "40", "41", "42", "43", "44", "45");
  RAPT_WGMMA(96, 6, "48", "49", "50", "51", "52", "53");
  RAPT_WGMMA(112, 7, "56", "57", "58", "59", "60", "61");
  RAPT_WGMMA(128, 8, "64", "65", "66", "67", "68", "69");
  RAPT_WGMMA(176, 11, "88", "89", "90", "91", "92", "93");
  RAPT_WGMMA(192, 12, "96", "97", "98", "99", "100", "101");
  RAPT_WGMMA(256, 16, "128", "129", "130", "131", "132", "133");
#undef RAPT_WGMMA
#else
  emulator::issue_wgmma<T, N>({acc, &a, {0}, b, adds});
#endif
}

/// The registers that each thread of the warpgroup has from here on: less than at the launch, or more, once others have given theirs up. A multiple
/// of 8 within 24 to 240. The kernel's bounds name one block on a multiprocessor.
template <int Registers>
RAPT_DEVICE void give_up_registers() {
  static_assert(Registers >= 24 && Registers <= 240 && Registers % 8 == 0);
#ifdef __CUDACC__
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
#else
  sync_warp();
#endif
}
template <int Registers>
RAPT_DEVICE void take_registers() {
  static_assert(Registers >= 24 && Registers <= 240 && Registers % 8 == 0);
#ifdef __CUDACC__
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
#else
  sync_warp();
#endif
}

}  // namespace simt
}  // namespace v0
}  // namespace rapt

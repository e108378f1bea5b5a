// What the host knows and kernels read - lengths, page tables, positions -, written to the device's memory by a launch that carries it as its
// parameter: in the stream's order, without a copy, and without memory of the host that would have to stay.
//
// Bound: a launch, which carries up to 3.6 KiB, or up to 31.7 where there is more. Test: tests/kernels/write_parameters_test.cpp.
#pragma once
#include <kernels/simt/simt.hpp>
#include <rapt/core/index.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Words of 4 bytes for several places.
template <int MaxWords>
struct parameter_words {
  static constexpr int max_words = MaxWords, max_places = 16;

  std::uint32_t* places[max_places];
  int first[max_places + 1];  ///< place i gets words [first[i], first[i + 1])
  int num_places;
  std::uint32_t words[max_words];  ///< the last member
};
using few_parameter_words = parameter_words<928>;
using many_parameter_words = parameter_words<8128>;
static_assert(sizeof(few_parameter_words) <= 4096 && sizeof(many_parameter_words) <= 32764, "a launch's parameters");

constexpr int write_parameters_threads = 256;

/// One block.
template <class Words>
RAPT_KERNEL(write_parameters_threads, 1)
write_parameters(const Words p) {
  for (int i = 0; i < p.num_places; ++i)
    for (int word = p.first[i] + static_cast<int>(simt::thread_idx()); word < p.first[i + 1]; word += write_parameters_threads)
      p.places[i][word - p.first[i]] = p.words[word];
}

/// Gathers what is to be written, and launches when a launch is full. Nothing is there before flush.
class parameter_writer {
 public:
  /// `bytes`, a multiple of 4, to `to` in the device's memory, aligned to 4. Throws cuda_error where a launch is refused.
  void write(void* to, const void* from, index_t bytes, simt::stream stream) {
    index_t done = 0;
    while (done < bytes) {
      if (next_.num_places == many_parameter_words::max_places || used() == many_parameter_words::max_words) flush(stream);
      const index_t count = std::min<index_t>((bytes - done) / 4, many_parameter_words::max_words - used());
      std::memcpy(next_.words + used(), static_cast<const std::byte*>(from) + done, static_cast<std::size_t>(count * 4));
      next_.places[next_.num_places] = reinterpret_cast<std::uint32_t*>(static_cast<std::byte*>(to) + done);
      next_.first[next_.num_places + 1] = used() + static_cast<int>(count);
      ++next_.num_places;
      done += count * 4;
    }
  }
  /// Launches what is left.
  void flush(simt::stream stream) {
    if (next_.num_places == 0) return;
    if (used() <= few_parameter_words::max_words) {
      few_parameter_words few;
      std::memcpy(&few, &next_, offsetof(many_parameter_words, words) + static_cast<std::size_t>(used()) * 4);
      simt::launch<simt::no_storage>(write_parameters<few_parameter_words>, {1}, write_parameters_threads, stream, few);
    } else {
      simt::launch<simt::no_storage>(write_parameters<many_parameter_words>, {1}, write_parameters_threads, stream, next_);
    }
    next_.num_places = 0;
  }

 private:
  int used() const { return next_.num_places == 0 ? 0 : next_.first[next_.num_places]; }
  many_parameter_words next_{};
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt

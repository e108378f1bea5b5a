// What the host knows and kernels read - lengths, page tables, positions -, written to the device's memory by a launch that carries it as its
// parameter: in the stream's order, without a copy, and without memory of the host that would have to stay.
//
// Bound: a launch, since a parameter has 4 KiB. Test: tests/kernels/write_parameters_test.cpp.
#pragma once
#include <kernels/simt/simt.hpp>
#include <rapt/core/index.hpp>

#include <algorithm>
#include <cstring>

namespace rapt {
inline namespace v0 {
namespace kernels {

/// Words of 4 bytes for several places.
struct parameter_words {
  static constexpr int max_words = 928, max_places = 16;

  std::uint32_t* places[max_places];
  int first[max_places + 1];  ///< place i gets words [first[i], first[i + 1])
  int num_places;
  std::uint32_t words[max_words];
};
static_assert(sizeof(parameter_words) <= 4096, "a launch's parameters");

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
      if (next_.num_places == parameter_words::max_places || used() == parameter_words::max_words) flush(stream);
      const index_t count = std::min<index_t>((bytes - done) / 4, parameter_words::max_words - used());
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
    simt::launch<simt::no_storage>(write_parameters<parameter_words>, {1}, write_parameters_threads, stream, next_);
    next_.num_places = 0;
  }

 private:
  int used() const { return next_.num_places == 0 ? 0 : next_.first[next_.num_places]; }
  parameter_words next_{};
};

}  // namespace kernels
}  // namespace v0
}  // namespace rapt

// Cosines and sines of the rotary embedding of a call's rows: found on the device once for the layers of a step.
#pragma once
#include <cuda/attended.hpp>
#include <kernels/angles.hpp>

namespace rapt {
inline namespace v0 {
namespace cuda {

/// [rows, rope.dim / 2] in the accumulator's type A, with the CPU's bits. Flushes what was sent before. Throws cuda_error.
template <class A>
const kernels::angle_of<A>* angles_of(launches& l, const rope_params& rope, const sequence_rows* rows, index_t num_sequences) {
  kernels::angles_problem<A> p;
  std::vector<kernels::rotated_rows> sequences;
  for (index_t i = 0; i < num_sequences; ++i) {
    const sequence_rows& s = rows[i];
    sequences.push_back({static_cast<int>(s.first_row), static_cast<int>(s.num_rows), s.first_position});
    p.num_rows = std::max(p.num_rows, static_cast<int>(s.first_row + s.num_rows));
  }
  const std::vector<index_t> positions = explicit_positions(rows, num_sequences);
  const std::vector<double> frequencies(rope.inverse_frequencies, rope.inverse_frequencies + rope.dim / 2);

  // Known by all that they are made from.
  kept_angles& kept = l.internals().angles;
  std::vector<std::byte> made_from;
  const auto add = [&](const auto& array) {
    const auto bytes = std::as_bytes(std::span(array));
    const std::size_t count = bytes.size();
    const auto count_bytes = std::as_bytes(std::span(&count, 1));
    made_from.insert(made_from.end(), count_bytes.begin(), count_bytes.end());
    made_from.insert(made_from.end(), bytes.begin(), bytes.end());
  };
  add(sequences), add(positions), add(frequencies);
  add(std::vector<double>{rope.attention_factor, sizeof(A)});
  const auto angles = [&] { return reinterpret_cast<kernels::angle_of<A>*>(kept.memory.data()); };
  if (kept.made_from == made_from) return angles();

  p.num_sequences = static_cast<int>(num_sequences), p.num_pairs = static_cast<int>(rope.dim / 2);
  p.sequences = l.send(sequences), p.positions = l.send(positions), p.inverse_frequencies = l.send(frequencies);
  p.attention_factor = rope.attention_factor;
  const std::size_t bytes = sizeof(kernels::angle_of<A>) * static_cast<std::size_t>(p.num_rows) * static_cast<std::size_t>(p.num_pairs);
  kept.made_from.clear();
  if (kept.memory.bytes() < bytes) kept.memory = l.internals().queue.allocate(std::max(bytes, 2 * kept.memory.bytes()));
  p.angles = angles();
  l.flush();
  kernels::launch_angles(p, l.stream());
  kept.made_from = std::move(made_from);
  return p.angles;
}

}  // namespace cuda
}  // namespace v0
}  // namespace rapt

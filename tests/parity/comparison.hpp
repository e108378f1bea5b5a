// How far a result is from the truth, and how far it may be: the bounds of fixtures/README.md.
#pragma once
#include <parity/case_file.hpp>

#include <span>

namespace parity {

/// The one of the two that rounds more: f64, f32, f16, bf16 in that order.
dtype coarser(dtype a, dtype b);
/// Distance from 1 to the next number: 2^-52, 2^-23, 2^-10, 2^-7.
double epsilon_of(dtype type);

struct comparison {
  std::string tensor_name;
  double max_error = 0;  ///< over entries that are finite in both; infinite where a NaN or an infinity does not match
  double bound = 0;
  double max_expected = 0;           ///< over finite entries
  std::optional<double> peer_error;  ///< PyTorch's own, where the file has it and it is finite where the truth is
  std::size_t worst = 0;             ///< flat index of the entry that is furthest off
  double got = 0, expected = 0;      ///< there
  std::vector<index_t> shape;
  bool passed = false;

  /// PyTorch's error is 0 or not known: nothing.
  std::optional<double> ratio() const;
  /// "y0[1, 4, 7]: got 0.5, expected 0.25, error 2.5e-01, bound 1e-06"
  std::string describe() const;
};

/// `got` in activations T and cache dtype C against expected.NAME and peer.NAME.*.
comparison compare(const std::string& expectation, std::span<const double> got, const tensor& expected, const tensor* peer, dtype t, dtype c);

}  // namespace parity

// Which keys a query sees, and what is added to its scores: small values that compose (everything given is ANDed).
#pragma once
#include <rapt/core/params.hpp>
#include <rapt/core/tensor_view.hpp>

#include <array>
#include <optional>
#include <span>

namespace rapt {
inline namespace v0 {

/// key visible iff q_pos - left <= k_pos <= q_pos + right, inclusive; an absent side does not bound. Causal is right = 0; a Hugging Face
/// `sliding_window = W` is left = W - 1.
struct window {
  std::optional<index_t> left = std::nullopt, right = std::nullopt;
  friend bool operator==(const window&, const window&) = default;
};

/// A mask tensor, host or device memory as the call's operands.
///
/// bool [batch | 1, heads | 1, rows | 1, keys]: true = visible. For an append or a step the keys are the call's own new rows: [batch | 1, 1, len,
/// len] (cached keys stay visible), or [rows, rows] over packed rows, of which entries between different sequences are not read. float or double
/// (double for T = double) of the first shape: added to the scores; -inf hides, +inf and NaN make the row NaN.
class attention_mask {
 public:
  attention_mask() = default;
  template <class T, int Rank, class Space>
  requires((Rank == 4 || Rank == 2) && (std::same_as<std::remove_const_t<T>, bool> || std::same_as<std::remove_const_t<T>, float> ||
                                        std::same_as<std::remove_const_t<T>, double>)) attention_mask(const tensor_view<T, Rank, Space>& mask)
      : data_(mask.data()), type_(dtype_of<T>), rank_(Rank), present_(true) {
    for (std::size_t i = 0; i < Rank; ++i) extents_[4 - Rank + i] = mask.extents()[i], strides_[4 - Rank + i] = mask.strides()[i];
  }

  bool present() const { return present_; }
  const void* data() const { return data_; }
  dtype type() const { return type_; }
  int rank() const { return rank_; }
  /// Padded in front with extents of 1 and strides of 0 where rank is 2.
  const std::array<index_t, 4>& extents() const { return extents_; }

  /// For kernels; extents of 1 broadcast.
  mask_operand params() const {
    if (!present_) return {};
    const auto stride = [&](std::size_t i) { return extents_[i] == 1 ? index_t{0} : strides_[i]; };
    return {type_ == dtype::boolean ? mask_kind::boolean : mask_kind::additive, data_, stride(0), stride(1), stride(2), strides_[3]};
  }

 private:
  const void* data_ = nullptr;
  dtype type_ = dtype::boolean;
  int rank_ = 0;
  bool present_ = false;
  std::array<index_t, 4> extents_{1, 1, 1, 1}, strides_{};
};

/// Dropout of probabilities, for training: which probabilities fall is a function of seed, offset + sequence, head, query index and key index alone
/// (Philox 4x32-10), so that it can be reproduced however the work is cut.
struct dropout_state {
  std::uint64_t seed = 0, offset = 0;
};

}  // namespace v0
}  // namespace rapt

// A pointer with extents and strides. The memory space is part of the type, so that reading device memory on the host does not compile.
#pragma once
#include <rapt/core/dtype.hpp>
#include <rapt/core/error.hpp>

#include <array>
#include <concepts>
#include <string>

namespace rapt {
inline namespace v0 {

struct host_space {
  static constexpr bool host_readable = true;
};
/// Memory of a CUDA device.
struct device_space {
  static constexpr bool host_readable = false;
};

/// Non-owning view of `Rank` dimensions; extents and strides count elements. Copy it freely.
template <class T, int Rank, class Space = host_space>
class tensor_view {
 public:
  using element_type = T;
  using space = Space;
  static constexpr int rank = Rank;
  using extents_type = std::array<index_t, static_cast<std::size_t>(Rank)>;

  constexpr tensor_view() = default;
  constexpr tensor_view(T* data, const extents_type& extents, const extents_type& strides) : data_(data), extents_(extents), strides_(strides) {}
  /// Contiguous, the last dimension fastest.
  constexpr tensor_view(T* data, const extents_type& extents) : data_(data), extents_(extents) {
    index_t stride = 1;
    for (int i = Rank - 1; i >= 0; --i) {
      strides_[at(i)] = stride;
      if (!multiply_fits(stride, extents_[at(i)], stride)) raise(errc::shape, "tensor_view: the product of the extents exceeds 2^63 - 1 elements");
    }
  }
  /// A view of mutable elements reads as a view of const ones.
  template <class U>
  requires(std::same_as<const U, T> && !std::same_as<U, T>) constexpr tensor_view(const tensor_view<U, Rank, Space>& other)
      : data_(other.data()), extents_(other.extents()), strides_(other.strides()) {}

  /// The same elements with other strides, in elements: one for each dimension.
  template <std::convertible_to<index_t>... Stride>
  requires(sizeof...(Stride) == Rank) constexpr tensor_view strided(Stride... strides) const {
    return {data_, extents_, {static_cast<index_t>(strides)...}};
  }

  constexpr T* data() const { return data_; }
  constexpr const extents_type& extents() const { return extents_; }
  constexpr const extents_type& strides() const { return strides_; }
  constexpr index_t extent(int dim) const { return extents_[at(dim)]; }
  constexpr index_t stride(int dim) const { return strides_[at(dim)]; }
  /// Number of elements.
  constexpr index_t size() const {
    index_t n = 1;
    for (const index_t extent : extents_) n *= extent;
    return n;
  }

  template <std::convertible_to<index_t>... Index>
  requires(sizeof...(Index) == Rank && Space::host_readable) constexpr T& operator()(Index... index) const {
    const extents_type idx{static_cast<index_t>(index)...};
    index_t offset = 0;
    for (int i = 0; i < Rank; ++i) offset += idx[at(i)] * strides_[at(i)];
    return data_[offset];
  }

 private:
  static constexpr std::size_t at(int dim) { return static_cast<std::size_t>(dim); }
  T* data_ = nullptr;
  extents_type extents_{};
  extents_type strides_{};
};

/// A contiguous view of host memory: view(p, batch, len, dim).
template <class T, std::convertible_to<index_t>... Extent>
constexpr tensor_view<T, static_cast<int>(sizeof...(Extent))> view(T* data, Extent... extents) {
  return {data, {static_cast<index_t>(extents)...}};
}

/// [a, b, ..., len, dim] as [a * b * ..., len, dim]. Throws shape_error naming the two dimensions whose strides do not merge.
template <class T, int Rank, class Space>
requires(Rank >= 3) tensor_view<T, 3, Space> flatten_leading(const tensor_view<T, Rank, Space>& x) {
  index_t batch = x.extent(Rank - 3);
  const index_t batch_stride = x.stride(Rank - 3);
  for (int i = Rank - 4; i >= 0; --i) {
    if (x.extent(i) > 1 && batch > 0 && x.stride(i) != batch * batch_stride)
      raise(errc::shape, "flatten_leading: dimensions " + std::to_string(i) + " and " + std::to_string(i + 1) + " do not merge: stride " +
                             std::to_string(x.stride(i)) + " came, " + std::to_string(batch * batch_stride) + " is needed");
    batch *= x.extent(i);
  }
  return {x.data(), {batch, x.extent(Rank - 2), x.extent(Rank - 1)}, {batch_stride, x.stride(Rank - 2), x.stride(Rank - 1)}};
}

}  // namespace v0
}  // namespace rapt

// Tensors in memory as a step wants them: any element type, any strides.
#pragma once
#include <parity/case_file.hpp>

#include <rapt/core/tensor_view.hpp>

#include <vector>

namespace parity {

template <class T>
constexpr double widened(T x) {
  return static_cast<double>(static_cast<rapt::accumulator_t<T>>(x));
}

/// Elements of T with extents and strides, contiguous where no strides are given.
template <class T>
class host_array {
 public:
  host_array(std::vector<index_t> shape, const std::vector<index_t>* strides) : shape_(std::move(shape)) {
    if (strides && strides->size() != shape_.size())
      throw refusal("strides: " + std::to_string(strides->size()) + " came for a tensor of rank " + std::to_string(shape_.size()));
    index_t stride = 1, last = 0, size = 1;
    strides_.resize(shape_.size());
    for (std::size_t i = shape_.size(); i-- > 0;) {
      strides_[i] = strides ? (*strides)[i] : stride;
      if (strides_[i] < 0) throw refusal("strides: " + std::to_string(strides_[i]) + " came; 0 or more is needed");
      stride *= shape_[i], size *= shape_[i];
      last += (shape_[i] - 1) * strides_[i];
    }
    size_ = size;
    memory_.resize(size == 0 ? 1 : static_cast<std::size_t>(last + 1));
  }

  index_t rank() const { return static_cast<index_t>(shape_.size()); }
  const std::vector<index_t>& shape() const { return shape_; }
  index_t extent_from_end(std::size_t i) const { return i < shape_.size() ? shape_[shape_.size() - 1 - i] : 1; }

  /// Calls f(element, flat index) in row-major order.
  template <class F>
  void for_each(F f) {
    std::vector<index_t> at(shape_.size(), 0);
    for (index_t flat = 0; flat < size_; ++flat) {
      index_t offset = 0;
      for (std::size_t i = 0; i < at.size(); ++i) offset += at[i] * strides_[i];
      f(memory_[static_cast<std::size_t>(offset)], static_cast<std::size_t>(flat));
      for (std::size_t i = at.size(); i-- > 0 && ++at[i] == shape_[i];) at[i] = 0;
    }
  }
  /// As a view of `data`: the last Rank dimensions as they are, those before them flattened into one; extents of 1 in front where there are fewer.
  template <int Rank, class Space>
  rapt::tensor_view<T, Rank, Space> view_at(T* data) const {
    constexpr auto wanted = static_cast<std::size_t>(Rank);
    typename rapt::tensor_view<T, Rank>::extents_type extents, strides{};
    extents.fill(1);
    const std::size_t merged = shape_.size() > wanted ? shape_.size() - wanted : 0, missing = wanted > shape_.size() ? wanted - shape_.size() : 0;
    for (std::size_t i = missing; i < wanted; ++i) extents[i] = shape_[merged + i - missing], strides[i] = strides_[merged + i - missing];
    for (std::size_t i = merged; i-- > 0;) {
      if (strides_[i] != extents[0] * strides[0] && shape_[i] > 1 && size_ > 0)
        throw refusal("strides: the leading extents do not merge into one batch");
      extents[0] *= shape_[i];
    }
    return {data, extents, strides};
  }
  std::vector<T>& memory() { return memory_; }
  const std::vector<T>& memory() const { return memory_; }

 private:
  std::vector<index_t> shape_, strides_;
  index_t size_ = 0;
  std::vector<T> memory_;
};

/// The values rounded once to T.
template <class T>
host_array<T> array_of(const tensor& from, const std::vector<index_t>* strides = nullptr) {
  if (!rapt::is_floating(from.type)) throw refusal("a tensor of a floating dtype is needed where " + std::string(rapt::name_of(from.type)) + " came");
  host_array<T> a(from.shape, strides);
  a.for_each([&](T& to, std::size_t i) { to = static_cast<T>(from.values[i]); });
  return a;
}

}  // namespace parity

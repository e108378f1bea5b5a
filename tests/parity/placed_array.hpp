// Arrays where a backend's calls find them, and outputs that notice a write outside of their elements.
#pragma once
#include <parity/host_array.hpp>
#include <support/placement.hpp>

#include <algorithm>
#include <cstring>

namespace parity {

/// An input of a call.
template <class T, class Backend>
class placed_array {
 public:
  placed_array(typename Backend::context& ctx, host_array<T> values) : values_(std::move(values)), place_(ctx) {}
  template <int Rank>
  rapt::tensor_view<T, Rank, typename Backend::space> view() {
    return values_.template view_at<Rank, typename Backend::space>(reinterpret_cast<T*>(place_.put(bytes())));
  }
  index_t rank() const { return values_.rank(); }
  const std::vector<index_t>& shape() const { return values_.shape(); }
  index_t extent_from_end(std::size_t i) const { return values_.extent_from_end(i); }
  host_array<T>& values() { return values_; }
  void fetch() { place_.fetch(bytes()); }

 private:
  std::span<std::byte> bytes() { return std::as_writable_bytes(std::span(values_.memory())); }
  host_array<T> values_;
  rapt_test::placement<Backend> place_;
};

/// An output: filled with a pattern, so that gaps between strides and outputs of a failed call can be seen to be untouched.
template <class T, class Backend>
class output_array {
 public:
  output_array(typename Backend::context& ctx, std::vector<index_t> shape, const std::vector<index_t>* strides = nullptr)
      : array_(ctx, filled(std::move(shape), strides)) {}
  template <int Rank>
  rapt::tensor_view<T, Rank, typename Backend::space> view() {
    return array_.template view<Rank>();
  }
  const std::vector<index_t>& shape() const { return array_.shape(); }
  /// Of a call that is over, as far as the backend's stream is.
  bool untouched() {
    array_.fetch();
    return is_pattern();
  }
  /// The elements; afterwards gaps_untouched() looks at what lies between them.
  std::vector<double> take() {
    array_.fetch();
    std::vector<double> values;
    array_.values().for_each([&](T& element, std::size_t) {
      values.push_back(widened(element));
      std::memset(static_cast<void*>(&element), pattern, sizeof(T));
    });
    return values;
  }
  bool gaps_untouched() { return is_pattern(); }

 private:
  static constexpr int pattern = 0xa5;
  static host_array<T> filled(std::vector<index_t> shape, const std::vector<index_t>* strides) {
    host_array<T> a(std::move(shape), strides);
    std::memset(static_cast<void*>(a.memory().data()), pattern, a.memory().size() * sizeof(T));
    return a;
  }
  bool is_pattern() {
    const auto bytes = std::as_bytes(std::span(array_.values().memory()));
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{pattern}; });
  }
  placed_array<T, Backend> array_;
};

}  // namespace parity

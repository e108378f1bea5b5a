// What describe_tensor refuses, on every device.
#include <kernels/runtime/tensor_map.hpp>

#include <string>

namespace rapt {
inline namespace v0 {
namespace runtime {

failure check_layout(const tensor_layout& t) {
  const auto refused = [](const std::string& what) { return failure{errc::shape, "describe_tensor: " + what}; };
  const auto is = [](const char* name, int d, std::int64_t got, const char* needed) {
    return std::string(name) + " " + std::to_string(d) + " is " + std::to_string(got) + "; " + needed + " is needed";
  };
  if (t.rank < 2 || t.rank > 5) return refused("rank is " + std::to_string(t.rank) + "; 2 to 5 is needed");
  if (t.data == nullptr || reinterpret_cast<std::uintptr_t>(t.data) % 16 != 0) return refused("data is null or not aligned to 16 bytes");
  if (t.box[0] != 64) return refused(is("box", 0, t.box[0], "64"));
  for (int d = 0; d < t.rank; ++d) {
    if (t.extents[d] < 1 || t.extents[d] >= std::int64_t{1} << 32) return refused(is("extent", d, t.extents[d], "1 to 2^32 - 1"));
    if (t.box[d] < 1 || t.box[d] > 256) return refused(is("box", d, t.box[d], "1 to 256"));
  }
  for (int d = 0; d + 1 < t.rank; ++d)
    if (t.strides[d] < 8 || t.strides[d] % 8 != 0 || t.strides[d] >= std::int64_t{1} << 39)
      return refused(is("stride", d + 1, t.strides[d], "a positive multiple of 8 below 2^39"));
  return {};
}

}  // namespace runtime
}  // namespace v0
}  // namespace rapt

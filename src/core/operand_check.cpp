#include <rapt/core/operand_check.hpp>

#include <algorithm>
#include <array>

namespace rapt {
inline namespace v0 {
namespace {

failure shape(argument what, const std::string& rest) { return {errc::shape, std::string(what.function) + ": " + what.name + " " + rest}; }

struct dimension {
  index_t extent, stride;
};
std::array<dimension, 4> dimensions(const operand& o) {
  return {{{o.batch, o.batch_stride}, {o.len, o.len_stride}, {o.heads, o.head_stride}, {o.dim, o.dim_stride}}};
}
bool is_empty(const operand& o) { return o.batch == 0 || o.len == 0 || o.heads == 0 || o.dim == 0; }

/// True of nearly every operand, none of whose sizes can overflow then.
bool is_small(const operand& o) {
  const auto fits = [](index_t all, int bits) { return static_cast<std::uint64_t>(all) >> bits == 0; };
  return fits(o.batch | o.len | o.heads | o.dim, 15) && fits(o.batch_stride | o.len_stride | o.head_stride | o.dim_stride, 40);
}

/// Bytes from data to one past the last element; false where that does not fit.
bool span_bytes(const operand& o, index_t& bytes) {
  if (is_small(o)) {
    const index_t last = (o.batch - 1) * o.batch_stride + (o.len - 1) * o.len_stride + (o.heads - 1) * o.head_stride + (o.dim - 1) * o.dim_stride;
    bytes = (last + 1) * size_of(o.type);
    return true;
  }
  index_t last = 0;
  for (const dimension d : dimensions(o)) {
    index_t reach = 0;
    if (!multiply_fits(std::max<index_t>(d.extent - 1, 0), d.stride, reach) || __builtin_add_overflow(last, reach, &last)) return false;
  }
  return !__builtin_add_overflow(last, index_t{1}, &last) && multiply_fits(last, size_of(o.type), bytes);
}

/// True where both step through memory alike and their rows keep to different columns: slices of one buffer.
bool disjoint_columns(const operand& a, const operand& b, index_t distance_bytes) {
  const index_t size = size_of(a.type);
  if (a.type != b.type || a.len_stride != b.len_stride || a.len_stride == 0 || distance_bytes % size != 0) return false;
  if ((a.batch > 1 && a.batch_stride % a.len_stride != 0) || (b.batch > 1 && b.batch_stride % b.len_stride != 0)) return false;
  const auto width = [](const operand& o) { return (o.heads - 1) * o.head_stride + (o.dim - 1) * o.dim_stride + 1; };
  const index_t row = a.len_stride, distance = distance_bytes / size % row, offset = distance < 0 ? distance + row : distance;
  return offset >= width(a) && offset + width(b) <= row;  // b starts `offset` columns after a
}

/// What is wrong with the first extent or stride that is not as it has to be.
[[gnu::noinline]] failure wrong_dimension(argument what, const operand& o, const operand_shape& needed) {
  struct {
    const char* name;
    index_t extent, stride, needed;
  } const dims[] = {{"batch", o.batch, o.batch_stride, needed.batch},
                    {"len", o.len, o.len_stride, needed.len},
                    {"heads", o.heads, o.head_stride, needed.heads},
                    {"dim", o.dim, o.dim_stride, needed.dim}};
  for (const auto& d : dims) {
    const std::string came = std::string("has extent ") + std::to_string(d.extent) + " (" + d.name + ")";
    if (d.extent < 0) return shape(what, came + "; extents may not be negative");
    if (d.needed >= 0 && d.extent != d.needed) return shape(what, came + "; " + std::to_string(d.needed) + " is needed");
    if (d.stride < 0) return shape(what, std::string("has stride ") + std::to_string(d.stride) + " (" + d.name + "); strides may not be negative");
  }
  return {};
}
}  // namespace

failure check_input(argument what, const operand& o, const operand_shape& needed) {
  const auto fits = [](index_t extent, index_t stride, index_t wanted) { return extent >= 0 && stride >= 0 && (wanted < 0 || extent == wanted); };
  if (!(fits(o.batch, o.batch_stride, needed.batch) && fits(o.len, o.len_stride, needed.len) && fits(o.heads, o.head_stride, needed.heads) &&
        fits(o.dim, o.dim_stride, needed.dim)))
    return wrong_dimension(what, o, needed);
  if (is_empty(o)) return {};
  if (o.data == nullptr)
    return shape(what, "is null; " + std::to_string(o.batch) + " x " + std::to_string(o.len) + " x " + std::to_string(o.heads) + " x " +
                           std::to_string(o.dim) + " elements are needed");
  if (is_small(o)) return {};
  index_t count = 0, bytes = 0;
  if (!multiply_fits(o.batch, o.len, count) || !multiply_fits(count, o.heads, count) || !multiply_fits(count, o.dim, count))
    return shape(what, "has more than 2^63 - 1 elements");
  if (!span_bytes(o, bytes)) return shape(what, "spans more than 2^63 - 1 bytes");
  return {};
}

failure check_output(argument what, const operand& o, const operand_shape& needed) {
  if (failure found = check_input(what, o, needed)) return found;
  if (is_empty(o)) return {};
  dimension dims[4], *end = dims;  // in the order of their strides, which is nearly always this one
  for (const dimension d : {dimension{o.dim, o.dim_stride}, {o.heads, o.head_stride}, {o.len, o.len_stride}, {o.batch, o.batch_stride}}) {
    if (d.extent == 1) continue;
    dimension* at = end++;
    for (; at != dims && d.stride < at[-1].stride; --at) *at = at[-1];
    *at = d;
  }
  index_t reach = 0;  // the last element of the dimensions so far
  for (const dimension* d = dims; d != end; ++d) {
    if (d->stride <= reach)
      return shape(what, "has stride " + std::to_string(d->stride) + " over " + std::to_string(d->extent) + " elements; a stride above " +
                             std::to_string(reach) + " is needed, or elements of an output share an address");
    reach += (d->extent - 1) * d->stride;
  }
  return {};
}

bool same_elements(const operand& a, const operand& b) {
  if (a.data != b.data || a.type != b.type) return false;
  const auto da = dimensions(a), db = dimensions(b);
  for (std::size_t i = 0; i < da.size(); ++i)
    if (da[i].extent != db[i].extent || (da[i].extent > 1 && da[i].stride != db[i].stride)) return false;
  return true;
}

failure check_disjoint(argument out_name, const operand& out, const char* in_name, const operand& in) {
  if (out.data == nullptr || in.data == nullptr || is_empty(out) || is_empty(in)) return {};
  index_t out_bytes = 0, in_bytes = 0;
  span_bytes(out, out_bytes), span_bytes(in, in_bytes);
  const auto out_begin = reinterpret_cast<std::intptr_t>(out.data), in_begin = reinterpret_cast<std::intptr_t>(in.data);
  if (out_begin + out_bytes <= in_begin || in_begin + in_bytes <= out_begin) return {};
  if (disjoint_columns(out, in, in_begin - out_begin)) return {};
  return shape(out_name, std::string("overlaps ") + in_name + "; separate memory is needed");
}

failure check_kv_lens(const char* function, std::span<const index_t> lens, index_t batch, index_t kv_len) {
  if (lens.empty()) return {};
  const argument what{function, "kv_lens"};
  if (static_cast<index_t>(lens.size()) != batch)
    return shape(what, "has " + std::to_string(lens.size()) + " entries; one for each of " + std::to_string(batch) + " sequences is needed");
  for (std::size_t i = 0; i < lens.size(); ++i)
    if (lens[i] < 0 || lens[i] > kv_len)
      return shape(what, "[" + std::to_string(i) + "] is " + std::to_string(lens[i]) + "; 0 to " + std::to_string(kv_len) + " is needed");
  return {};
}

failure check_positions(argument what, std::span<const index_t> positions, std::initializer_list<index_t> counts) {
  if (positions.empty()) return {};
  const auto count = static_cast<index_t>(positions.size());
  if (std::find(counts.begin(), counts.end(), count) == counts.end()) {
    std::string needed;
    for (const index_t c : counts) needed += (needed.empty() ? "" : " or ") + std::to_string(c);
    return shape(what, "has " + std::to_string(count) + " entries; " + needed + " is needed");
  }
  for (std::size_t i = 0; i < positions.size(); ++i)
    if (positions[i] < 0 || positions[i] > max_position)
      return shape(what, "[" + std::to_string(i) + "] is " + std::to_string(positions[i]) + "; explicit positions are 0 to 2^62");
  return {};
}

}  // namespace v0
}  // namespace rapt

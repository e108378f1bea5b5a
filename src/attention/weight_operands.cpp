#include <rapt/attention/module_weights.hpp>

#include <core/float_environment.hpp>

namespace rapt {
inline namespace v0 {
namespace {

/// The leading `num_dims` dimensions of w, cut into num_parts: part `part` as heads x dim.
struct leading_part {
  index_t heads = 1, head_stride = 0, dim = 1, dim_stride = 0, offset = 0;
};
leading_part part_of(const weight_view& w, int num_dims, index_t part, index_t num_parts) {
  leading_part p;
  int first = 0;
  if (num_dims == 3 || (num_dims == 2 && num_parts > 1 && w.extent(0) == num_parts)) {  // [parts, ...]
    p.offset = part * w.stride(0);
    first = 1;
  }
  const int left = num_dims - first;
  const index_t split = first == 0 ? num_parts : 1;  // the parts still to be cut from the first of the dimensions left
  if (left == 2) p.heads = w.extent(first) / split, p.head_stride = w.stride(first);
  if (left >= 1) p.dim = w.extent(num_dims - 1) / (left == 1 ? split : 1), p.dim_stride = w.stride(num_dims - 1);
  if (first == 0) p.offset = part * (left == 2 ? p.heads * p.head_stride : p.dim * p.dim_stride);
  return p;
}

operand at_offset(const weight_view& w, index_t offset) {
  operand o;
  o.data = const_cast<std::byte*>(static_cast<const std::byte*>(w.data()) + offset * size_of(w.type()));
  o.type = w.type();
  return o;
}
}  // namespace

operand columns_of(const weight_view& w, index_t part, index_t num_parts) {
  const int last = w.rank() - 1;
  const leading_part p = part_of(w, last, part, num_parts);
  operand o = at_offset(w, p.offset);
  o.len = w.extent(last), o.len_stride = w.stride(last);
  o.heads = p.heads, o.head_stride = p.head_stride, o.dim = p.dim, o.dim_stride = p.dim_stride;
  return o;
}

operand rows_of(const weight_view& w_out) {
  operand o = at_offset(w_out, 0);
  const int last = w_out.rank() - 1;
  o.dim = w_out.extent(last), o.dim_stride = w_out.stride(last);
  o.len = last >= 1 ? w_out.extent(last - 1) : 1, o.len_stride = last >= 1 ? w_out.stride(last - 1) : 0;
  if (last >= 2) o.batch = w_out.extent(last - 2), o.batch_stride = w_out.stride(last - 2);
  return o;
}

operand entries_of(const weight_view& v, index_t part, index_t num_parts) {
  const leading_part p = part_of(v, v.rank(), part, num_parts);
  operand o = at_offset(v, p.offset);
  o.len = 1;
  o.heads = p.heads, o.head_stride = p.head_stride, o.dim = p.dim, o.dim_stride = p.dim_stride;
  return o;
}

std::vector<double> sinks_of(const weight_view& sinks, dtype accumulator) {
  std::vector<double> values;
  if (!sinks.present()) return values;
  const float_environment environment;
  const operand o = entries_of(sinks, 0, 1);
  for (index_t i = 0; i < o.heads * o.dim; ++i) {
    const index_t offset = i / o.dim * o.head_stride + i % o.dim * o.dim_stride;
    double x = 0;
    switch (o.type) {
      case dtype::f64:
        x = static_cast<const double*>(o.data)[offset];
        break;
      case dtype::f32:
        x = static_cast<double>(static_cast<const float*>(o.data)[offset]);
        break;
      case dtype::bf16:
        x = static_cast<double>(static_cast<float>(static_cast<const bf16*>(o.data)[offset]));
        break;
      case dtype::f16:
        x = static_cast<double>(static_cast<float>(static_cast<const f16*>(o.data)[offset]));
        break;
      default:
        break;  // check() lets only floating types through
    }
    values.push_back(accumulator == dtype::f64 ? x : static_cast<double>(static_cast<float>(x)));
  }
  return values;
}

}  // namespace v0
}  // namespace rapt

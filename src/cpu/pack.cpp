// Weights into the tiles' order and back: [ceil(columns / 16)][depth][16]. Elements keep their bits where source and packed type agree; f64 to f32
// rounds once, wider types are exact.
#include <core/elements.hpp>
#include <cpu/context_impl.hpp>

namespace rapt {
inline namespace v0 {
namespace cpu {
namespace {

/// Calls f(packed element, source element) for each element of source, columns first .. first + heads * dim.
template <class Packed, class Source, class F>
void each_element(context& ctx, const pack_params& p, const F& f) {
  Packed* const packed = static_cast<Packed*>(const_cast<void*>(p.to.data));
  Source* const source = static_cast<Source*>(p.source.data);
  const index_t num_columns = p.source.heads * p.source.dim, depth = p.to.depth;
  const index_t units = ceil_div(num_columns, lane_group);
  for_each_unit(ctx, no_scratch(), workers_for(ctx, units, num_columns * depth * 8), units, [&](no_scratch, index_t unit) {
    for (index_t i = unit * lane_group; i < std::min(num_columns, (unit + 1) * lane_group); ++i) {
      const index_t column = p.first_column + i;
      Packed* const to = packed + column / lane_group * lane_group * depth + column % lane_group;
      Source* const from = source + i / p.source.dim * p.source.head_stride + i % p.source.dim * p.source.dim_stride;
      const operand& s = p.source;
      for (index_t k = 0; k < depth; ++k) f(to[k * lane_group], from[k / s.len * s.batch_stride + k % s.len * s.len_stride]);
    }
  });
}

}  // namespace

void backend::pack(context& ctx, const pack_params& params) noexcept {
  const float_environment environment;
  with_element(params.to.type, [&](auto packed) {
    using Packed = decltype(packed);
    with_element(params.source.type, [&](auto source) {
      using Source = decltype(source);
      each_element<Packed, const Source>(ctx, params, [](Packed& to, const Source& from) { to = converted<Packed>(from); });
    });
    // Columns that no output owns are multiplied too: defined, and never a NaN that would cost time.
    const packed_matrix& to = params.to;
    if (params.first_column + params.source.heads * params.source.dim != to.columns) return;
    Packed* const data = static_cast<Packed*>(const_cast<void*>(to.data));
    for (index_t c = to.columns; c < round_up(to.columns, lane_group); ++c)
      for (index_t k = 0; k < to.depth; ++k) data[c / lane_group * lane_group * to.depth + k * lane_group + c % lane_group] = Packed{};
  });
}

void backend::unpack(context& ctx, const pack_params& params) noexcept {
  const float_environment environment;
  with_element(params.to.type, [&](auto packed) {
    using Packed = decltype(packed);
    with_element(params.source.type, [&](auto source) {
      using Source = decltype(source);
      each_element<Packed, Source>(ctx, params, [](const Packed& from, Source& to) { to = converted<Source>(from); });
    });
  });
}

}  // namespace cpu
}  // namespace v0
}  // namespace rapt

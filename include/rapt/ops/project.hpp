// Projections: a weight matrix packed once for the kernels, and the product with it.
#pragma once
#include <rapt/core/backend.hpp>
#include <rapt/core/operand_check.hpp>

namespace rapt {
inline namespace v0 {

/// The element type that weights of type `stored` are packed in: kept, but for double (rounded once to float where the accumulator is float), for
/// double accumulation (widened) and where products take operands of the activations' type (rounded to it).
constexpr dtype packed_type(dtype stored, dtype activations, std::string_view numerics) {
  if (takes_rounded_operands(numerics)) return activations;
  if (activations == dtype::f64) return dtype::f64;
  return stored == dtype::f64 ? dtype::f32 : stored;
}

/// A matrix [depth, columns] and its bias in the order that kernels read, in memory of the backend.
template <class Backend>
class packed_weights {
 public:
  packed_weights() = default;
  /// Room for a matrix; fill it column by column with pack() before use.
  packed_weights(typename Backend::context& ctx, index_t depth, index_t columns, dtype type, bool with_bias) {
    matrix_.type = type, matrix_.depth = depth, matrix_.columns = columns;
    const index_t bias_bytes = with_bias ? round_up(columns, lane_group) * size_of(type == dtype::f64 ? dtype::f64 : dtype::f32) : 0;
    const index_t matrix_bytes = round_up(matrix_.elements() * size_of(type), workspace::alignment);
    memory_ = Backend::allocate(ctx, static_cast<std::size_t>(matrix_bytes + bias_bytes));
    matrix_.data = memory_.data();
    if (with_bias) matrix_.bias = memory_.data() + matrix_bytes;
  }

  /// Columns first_column.. from source [1, depth, heads, dim] (columns in the order of heads, dim), any floating type and strides.
  void pack(typename Backend::context& ctx, const operand& source, index_t first_column) { Backend::pack(ctx, {source, matrix_, first_column}); }
  /// Bias entries first_column.. from source [1, 1, heads, dim].
  void pack_bias(typename Backend::context& ctx, const operand& source, index_t first_column) {
    packed_matrix bias = bias_matrix();
    Backend::pack(ctx, {source, bias, first_column});
  }
  /// The stored elements back: exact. `to` has the packed type.
  void unpack(typename Backend::context& ctx, const operand& to, index_t first_column) const { Backend::unpack(ctx, {to, matrix_, first_column}); }
  void unpack_bias(typename Backend::context& ctx, const operand& to, index_t first_column) const {
    Backend::unpack(ctx, {to, bias_matrix(), first_column});
  }

  const packed_matrix& matrix() const { return matrix_; }
  bool has_bias() const { return matrix_.bias != nullptr; }
  std::size_t bytes() const { return memory_.bytes(); }

 private:
  /// A bias is a matrix of depth 1.
  packed_matrix bias_matrix() const { return {matrix_.bias, matrix_.type == dtype::f64 ? dtype::f64 : dtype::f32, 1, matrix_.columns, nullptr}; }
  buffer memory_;
  packed_matrix matrix_;
};

/// Packs weights [out_dim, in_dim] (the layout of torch.nn.Linear) of any floating dtype for activations of type T; bias [out_dim] or empty. Throws
/// shape_error.
template <activation T, class Context, class W, class Space>
packed_weights<backend_of<Context>> pack_linear(Context& ctx, const tensor_view<W, 2, Space>& weights,
                                                std::type_identity_t<tensor_view<const std::remove_const_t<W>, 1, Space>> bias = {}) {
  constexpr dtype activations = dtype_of<T>;
  // Element (k, c) of the product's matrix is weights(c, k).
  operand source = operand_of(weights);
  raise_if(check_input({"pack_linear", "weights"}, source, {}));
  source.dim = weights.extent(0), source.dim_stride = weights.stride(0);
  source.len = weights.extent(1), source.len_stride = weights.stride(1);
  packed_weights<backend_of<Context>> packed(ctx, source.len, source.dim,
                                             packed_type(dtype_of<W>, activations, ctx.numerics({activations, activations})), bias.data() != nullptr);
  packed.pack(ctx, source, 0);
  if (bias.data() != nullptr) {
    const operand b = operand_of(bias);
    raise_if(check_input({"pack_linear", "bias"}, b, {1, 1, 1, source.dim}));
    packed.pack_bias(ctx, b, 0);
  }
  return packed;
}

namespace detail {
template <class Context>
void run_project(Context& ctx, const operand& x, const packed_matrix& weights, const operand& y) {
  const dtype accumulator = accumulator_of(y.type);
  raise_if(check_input({"project", "x"}, x, {.dim = weights.depth}));
  raise_if(check_output({"project", "y"}, y, {x.batch, x.len, 1, weights.columns}));
  raise_if(check_disjoint({"project", "y"}, y, "x", x));
  if ((weights.type == dtype::f64) != (accumulator == dtype::f64))
    raise(errc::shape, "project: weights are packed for " + std::string(name_of(weights.type == dtype::f64 ? dtype::f64 : dtype::f32)) +
                           " accumulation; y is " + std::string(name_of(y.type)));
  if (x.rows() == 0) return;
  const project_params::target target{weights, y};
  project_params params;
  params.accumulator = accumulator, params.x = x, params.targets = {&target, 1};
  params.tensor_cores = uses_tensor_cores(ctx.numerics({y.type, y.type}));
  run_in_workspace(ctx, [&](workspace& scratch) { backend_of<Context>::project(ctx, params, scratch); });
}
}  // namespace detail

/// y = x * weights + bias, each output a chain of fused multiply-adds over blocks of 256 inputs, rounded once to T.
/// x [rows, in_dim], y [rows, out_dim]; y may not overlap x. Throws shape_error before anything is written.
template <class Context, class T, class Space>
void project(Context& ctx, std::type_identity_t<tensor_view<const T, 2, Space>> x, const packed_weights<backend_of<Context>>& weights,
             tensor_view<T, 2, Space> y) {
  detail::run_project(ctx, operand_of(x), weights.matrix(), operand_of(y));
}

}  // namespace v0
}  // namespace rapt

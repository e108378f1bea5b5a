#include <rapt/attention/forward_call.hpp>
#include <rapt/ops/score_check.hpp>

namespace rapt {
inline namespace v0 {
namespace {
constexpr const char* function = "forward";

failure check_new_row_mask(const forward_call& call, source_kind kind, const attention_mask& mask) {
  if (mask.type() != dtype::boolean)
    return {errc::shape, "forward: mask has dtype " + std::string(name_of(mask.type())) + "; with " + std::string(name_of(kind)) + " bool is needed"};
  if (mask.rank() == 2) return check_mask(function, mask, {1, 1, call.x.rows(), call.x.rows()}, dtype::f32);
  if (call.packed && kind == source_kind::step) return {errc::shape, "forward: mask has rank 4; packed rows of a step take [rows, rows]"};
  return check_mask(function, mask, {call.x.batch, 1, call.x.len, call.x.len}, dtype::f32);
}
}  // namespace

failure check_forward_call(const module_traits& module, const forward_call& call, source_kind kind, const operand& x_kv, index_t kv_len,
                           const forward_options& options) {
  const attention_config& c = *module.config;
  const dtype accumulator = accumulator_of(module.activations);
  const bool has_x_kv = kind == source_kind::cross || kind == source_kind::store, streams = kind == source_kind::append || kind == source_kind::step;
  const operand &x = call.x, &y = call.y;

  if (failure f = check_input({function, "x"}, x, {.heads = 1, .dim = c.model_dim})) return f;
  if (kind != source_kind::stored && !module.has_kv_weights)
    return {errc::config, "forward: " + std::string(name_of(kind)) +
                              " projects keys and values; the module has no weights for them (only stored(kv) can be called)"};
  if (has_x_kv)
    if (failure f = check_input({function, "x_kv"}, x_kv, {.batch = x.batch, .heads = 1, .dim = c.model_dim})) return f;
  if (failure f = check_output({function, "y"}, y, {x.batch, x.len, 1, c.output_dim})) return f;
  if (!same_elements(x, y))
    if (failure f = check_disjoint({function, "y"}, y, "x (y may be exactly x)", x)) return f;
  if (has_x_kv && !(same_elements(x, y) && same_elements(x, x_kv)))
    if (failure f = check_disjoint({function, "y"}, y, "x_kv", x_kv)) return f;

  if (options.residual && c.output_dim != c.model_dim)
    return {errc::config, "forward: residual adds x of width " + std::to_string(c.model_dim) + "; output_dim is " + std::to_string(c.output_dim)};
  if (options.num_chunks < 1) return {errc::config, "forward: num_chunks is " + std::to_string(options.num_chunks) + "; at least 1 is needed"};
  if (options.dropout && c.dropout_p > 0 && kind != source_kind::self && kind != source_kind::cross)
    return {errc::config, "forward: dropout is for training; " + std::string(name_of(kind)) + " keeps keys and values"};

  if (streams && !options.kv_lens.empty())
    return {errc::shape, "forward: kv_lens is given with " + std::string(name_of(kind)) + "; it hides keys of a call without a cache only"};
  if (failure f = check_kv_lens(function, options.kv_lens, x.batch, kv_len)) return f;
  if (options.mask.present()) {
    if (options.mask.rank() == 2 && !streams && !call.packed)
      return {errc::shape, "forward: mask has rank 2; that is for packed rows, [batch | 1, heads | 1, len | 1, kv_len] is needed"};
    if (failure f = streams ? check_new_row_mask(call, kind, options.mask)
                            : check_mask(function, options.mask, {x.batch, c.num_heads, x.len, kv_len}, accumulator))
      return f;
  }
  if (kind == source_kind::step && !options.positions.empty())
    return {errc::shape, "forward: positions are given with a step; begin_step takes them"};
  if (failure f = check_positions({function, "positions"}, options.positions, {x.len, x.batch * x.len})) return f;

  if (options.lse.present()) {
    const operand& lse = options.lse.get();
    if (lse.type != accumulator)
      return {errc::shape, "forward: lse has dtype " + std::string(name_of(lse.type)) + "; " + std::string(name_of(accumulator)) + " is needed"};
    if (failure f = check_output({function, "lse"}, lse, {x.batch, x.len, c.num_heads, 1})) return f;
    if (failure f = check_disjoint({function, "lse"}, lse, "x", x)) return f;
    if (failure f = check_disjoint({function, "lse"}, lse, "y", y)) return f;
    if (has_x_kv)
      if (failure f = check_disjoint({function, "lse"}, lse, "x_kv", x_kv)) return f;
  }
  return {};
}

failure check_outside(const operand& y, const lse_output& lse, const std::byte* memory, std::size_t bytes) {
  operand held;
  held.data = const_cast<std::byte*>(memory), held.type = dtype::u8;
  held.len = 1, held.dim = static_cast<index_t>(bytes);
  if (failure f = check_disjoint({function, "y"}, y, "the memory of keys and values", held)) return f;
  return lse.present() ? check_disjoint({function, "lse"}, lse.get(), "the memory of keys and values", held) : failure{};
}

failure check_kv_config(const char* holder, const attention_config& held, const attention_config& module) {
  const auto differs = [&](const char* field, const std::string& came, const std::string& needed) {
    return failure{errc::config, "forward: " + std::string(holder) + " has " + field + " " + came + "; the module's is " + needed};
  };
  if (held.num_kv_heads != module.num_kv_heads)
    return differs("num_kv_heads", std::to_string(held.num_kv_heads), std::to_string(module.num_kv_heads));
  if (held.head_dim != module.head_dim) return differs("head_dim", std::to_string(held.head_dim), std::to_string(module.head_dim));
  if (held.value_dim != module.value_dim) return differs("value_dim", std::to_string(held.value_dim), std::to_string(module.value_dim));
  if (held.numerics != module.numerics) return differs("numerics", held.numerics, module.numerics);
  if (held.kv_dtype != module.kv_dtype) return differs("kv_dtype", std::string(name_of(*held.kv_dtype)), std::string(name_of(*module.kv_dtype)));
  return {};
}

}  // namespace v0
}  // namespace rapt

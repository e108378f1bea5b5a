#include <rapt/attention/planner.hpp>
#include <rapt/ops/project.hpp>

#include <cstdio>

namespace rapt {
inline namespace v0 {
namespace detail {
namespace {
index_t keys_of(const forward_shape& shape) { return shape.kv_len == 0 ? shape.q_len : shape.kv_len; }
}  // namespace

void check_shape(const forward_shape& s) {
  const auto wrong = [](const char* field, index_t came, const char* needed) {
    raise(errc::config, std::string("forward_shape: ") + field + " is " + std::to_string(came) + "; " + needed + " is needed");
  };
  if (s.batch < 1) wrong("batch", s.batch, "at least 1");
  if (s.q_len < 1) wrong("q_len", s.q_len, "at least 1");
  if (s.num_chunks < 1) wrong("num_chunks", s.num_chunks, "at least 1");
  if (s.page_len < lane_group || s.page_len % lane_group != 0) wrong("page_len", s.page_len, "a multiple of 16");
  const bool own_rows = s.source == source_kind::self || s.source == source_kind::append || s.source == source_kind::step;
  if (s.kv_len < 0 || (own_rows && s.kv_len != 0 && s.kv_len < s.q_len)) wrong("kv_len", s.kv_len, "0, or at least the call's own rows,");
  if (!is_floating(s.weights)) raise(errc::config, "forward_shape: weights is " + std::string(name_of(s.weights)) + "; a floating dtype is needed");
}

forward_module plan_module(const attention_config& c, dtype activations, dtype weights) {
  forward_module m;
  m.config = c;
  m.activations = activations;
  const dtype type = packed_type(weights, activations, c.numerics);
  m.q = {nullptr, type, c.model_dim, c.num_heads * c.head_dim, nullptr};
  m.k = {nullptr, type, c.model_dim, c.num_kv_heads * c.head_dim, nullptr};
  m.v = {nullptr, type, c.model_dim, c.num_kv_heads * c.value_dim, nullptr};
  m.out = {nullptr, type, c.num_heads * c.value_dim, c.output_dim, nullptr};
  static const double one = 1;
  if (c.qk_norm) m.q_norm = m.k_norm = {&one, c.qk_norm->eps};
  if (c.rope) m.rope = make_rope_table(*c.rope, c.head_dim);
  if (c.alibi) m.alibi = alibi_slopes(c.num_heads);
  return m;
}

std::vector<sequence_rows> plan_step_rows(const forward_shape& shape) {
  std::vector<sequence_rows> rows(static_cast<std::size_t>(shape.batch));
  for (std::size_t b = 0; b < rows.size(); ++b) {
    sequence_rows& r = rows[b];
    r.first_row = static_cast<index_t>(b) * shape.q_len, r.num_rows = shape.q_len;
    r.kv_len = keys_of(shape) - shape.q_len;
    r.first_position = r.kv_len;
    r.visible_len = keys_of(shape);
  }
  return rows;
}

explanation explain_bytes(const forward_module& m, const forward_shape& shape) {
  const attention_config& c = m.config;
  explanation e;
  e.weight_bytes = static_cast<std::size_t>((m.q.elements() + m.k.elements() + m.v.elements() + m.out.elements()) * size_of(m.q.type));
  const index_t heads = shape.first_head_only ? 1 : c.num_kv_heads;
  e.kv_bytes_per_token = static_cast<std::size_t>(heads * (c.head_dim + c.value_dim) * size_of(*c.kv_dtype));
  index_t keys = keys_of(shape);
  if (c.window.left) keys = std::min(keys, *c.window.left + shape.q_len);
  e.kv_bytes_read = static_cast<std::size_t>(shape.batch * keys) * e.kv_bytes_per_token;
  return e;
}
}  // namespace detail

std::string explanation::text() const {
  const auto mebibytes = [](std::size_t bytes) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
    return std::string(text);
  };
  return "backend    " + backend + ", " + instruction_set + ", " + std::to_string(num_workers) + " threads, numerics " + numerics + "\n" +
         "attention  " + attention_kernel + "\n" + "memory     weights " + mebibytes(weight_bytes) + ", workspace " + mebibytes(workspace_bytes) +
         ", keys and values " + std::to_string(kv_bytes_per_token) + " bytes a token and layer, " + mebibytes(kv_bytes_read) + " read by this call\n";
}

}  // namespace v0
}  // namespace rapt

// Where a forward's keys and values come from: one argument, so that combinations which make no sense can not be written.
#pragma once
#include <rapt/attention/kv_cache.hpp>
#include <rapt/attention/projected_kv.hpp>

namespace rapt {
inline namespace v0 {

/// Keys and values are projected from x itself.
struct self_kv {};

struct head_options {
  bool first_head_only = false;
};

template <class T, class Space>
struct cross_source {
  operand x_kv;
  bool first_head_only;
};
/// Keys and values are projected from x_kv [batch, kv_len, model_dim] or packed rows [kv_len, model_dim] of one sequence.
/// first_head_only: only KV head 0 is projected and serves all query heads.
template <class T, int Rank, class Space>
requires(Rank == 2 || Rank == 3) cross_source<std::remove_const_t<T>, Space> cross(const tensor_view<T, Rank, Space>& x_kv, head_options heads = {}) {
  return {operand_of(x_kv), heads.first_head_only};
}

template <class T, class Backend>
struct store_source {
  basic_projected_kv<Backend>* kv;
  operand x_kv;
  bool first_head_only;
};
/// As cross, and the keys and values of this call replace what `kv` holds. first_head_only changes what is stored (KV head 0, which serves all query
/// heads in later calls), not this call's output. x_kv may be x.
template <class Backend, class T, int Rank>
requires(Rank == 2 || Rank == 3) store_source<std::remove_const_t<T>, Backend> store(basic_projected_kv<Backend>& kv,
                                                                                     const tensor_view<T, Rank, typename Backend::space>& x_kv,
                                                                                     head_options heads = {}) {
  return {&kv, operand_of(x_kv), heads.first_head_only};
}

template <class Backend>
struct stored_source {
  const basic_projected_kv<Backend>* kv;
};
/// Keys and values that were stored before, or given as static ones.
template <class Backend>
stored_source<Backend> stored(const basic_projected_kv<Backend>& kv) {
  return {&kv};
}

template <class Backend>
struct append_source {
  basic_kv_cache<Backend>* cache;
  const basic_sequence<Backend>* sequence;
};
/// x's rows are appended to one sequence of a cache of one layer: begin_step, forward and commit in one.
template <class Backend>
append_source<Backend> append(basic_kv_cache<Backend>& cache, const basic_sequence<Backend>& sequence) {
  return {&cache, &sequence};
}

enum class source_kind : std::uint8_t { self, cross, store, stored, append, step };
constexpr std::string_view name_of(source_kind kind) {
  constexpr std::string_view names[] = {"self_kv", "cross", "store", "stored", "append", "step"};
  return names[static_cast<int>(kind)];
}

/// Any of the above, for a module of activations T; made implicitly.
template <class T, class Backend>
class kv_source {
 public:
  kv_source(self_kv) : kind(source_kind::self) {}
  kv_source(const cross_source<T, typename Backend::space>& s) : kind(source_kind::cross), x_kv(s.x_kv), first_head_only(s.first_head_only) {}
  kv_source(const store_source<T, Backend>& s) : kind(source_kind::store), x_kv(s.x_kv), first_head_only(s.first_head_only), projected(s.kv) {}
  kv_source(const stored_source<Backend>& s) : kind(source_kind::stored), projected(const_cast<basic_projected_kv<Backend>*>(s.kv)) {}
  kv_source(const append_source<Backend>& s) : kind(source_kind::append), cache(s.cache), appended(s.sequence) {}
  kv_source(const step_layer<Backend>& s) : kind(source_kind::step), step(s.step), layer(s.layer) {}

  source_kind kind;
  operand x_kv = {};                                 ///< cross, store
  bool first_head_only = false;                      ///< cross, store
  basic_projected_kv<Backend>* projected = nullptr;  ///< store; stored, which only reads it
  basic_kv_cache<Backend>* cache = nullptr;          ///< append
  const basic_sequence<Backend>* appended = nullptr;
  basic_step<Backend>* step = nullptr;  ///< step
  index_t layer = 0;
};

}  // namespace v0
}  // namespace rapt

// The state machine of a replay: one overload of run() for each op.
#pragma once
#include <parity/module_state.hpp>
#include <parity/replay_base.hpp>

#include <rapt/attention/config_json.hpp>

#include <numeric>

namespace parity {

template <class T, class Backend>
class replayer : replay_base<T, Backend> {
  using base = replay_base<T, Backend>;
  using base::case_, base::ctx_, base::kv_dtype_, base::number_;
  using base::check, base::fail, base::guarded, base::integers_of, base::mask_of, base::run, base::strides_of, base::where;
  using typename base::accumulator, typename base::mask_memory, typename base::context;
  template <class U>
  using input_array = placed_array<U, Backend>;
  template <class U>
  using output = output_array<U, Backend>;
  template <class U, int Rank>
  using view = rapt::tensor_view<U, Rank, typename Backend::space>;
  using module_type = rapt::multi_head_attention<T, Backend>;
  using sequence = rapt::basic_sequence<Backend>;
  using projected_kv = rapt::basic_projected_kv<Backend>;

 public:
  replayer(const case_file& c, context& ctx, dtype kv_dtype, replay_result& result) : base(c, ctx, kv_dtype, result) {}

  void run() {
    try {
      if (case_.has_module()) make_module();
    } catch (const std::exception& e) { return fail("construction", e.what()); }
    for (number_ = 0; number_ < case_.steps.size(); ++number_) {
      const step& s = case_.steps[number_];
      try {
        std::visit([&](const auto& call) { s.error ? run_refused(call, *s.error) : run(call); }, s.call);
      } catch (const std::exception& e) {
        return fail(where(), e.what());  // what the module holds now is not known: later steps would say nothing
      }
    }
  }

 private:
  // -- construction ---------------------------------------------------------------------------------------------------------------------
  void make_module() {
    rapt::attention_config config = case_.config;
    config.kv_dtype = kv_dtype_;
    const weight_set<T> weights(case_, case_.weights);
    state_.module.emplace(ctx_, config, weights.views());
    const cache_room room = case_.room();
    state_.limits.max_tokens = room.tokens, state_.limits.max_sequences = room.sequences, state_.limits.page_len = case_.page_len;
  }
  void run(const construct_step& s) {
    rapt::attention_config config = rapt::config_from_json(s.config_json);
    config.kv_dtype = kv_dtype_;
    const weight_set<T> weights(case_, s.weights);
    module_type(ctx_, config, weights.views());
  }
  // -- calls --------------------------------------------------------------------------------------------------------------------------
  void run(const forward_step& s) {
    require_module();
    input_array<T> x = this->template placed<T>(case_.input(s.x), strides_of(s.strides, "x"));
    if (x.rank() < 2) throw refusal("x has rank " + std::to_string(x.rank()) + "; 2 or more is needed");
    const index_t len = x.extent_from_end(1);
    const bool packed = s.sequences || x.rank() == 2;
    const index_t batch = std::accumulate(x.shape().begin(), x.shape().end() - 2, index_t{1}, std::multiplies<>());

    std::vector<index_t> y_shape = x.shape();
    y_shape.back() = config().output_dim;
    output<T> y(ctx_, y_shape, strides_of(s.strides, "expect"));
    output<accumulator> lse(ctx_, packed ? std::vector<index_t>{config().num_heads, len} : std::vector<index_t>{batch, config().num_heads, len});

    rapt::forward_options o;
    o.residual = s.add_input;
    if (s.peak_mem_factor) o.num_chunks = *s.peak_mem_factor;
    const std::vector<index_t> kv_lens = integers_of(s.kv_lens), positions = integers_of(s.positions);
    o.kv_lens = kv_lens;
    o.positions = positions;
    const mask_memory mask = mask_of(s.mask, s.mask_kind);
    o.mask = mask.mask;
    // Outputs of a call that must fail are there to be seen untouched.
    if (s.expect_lse || case_.steps[number_].error)
      o.lse = packed ? rapt::lse_output(lse.template view<2>()) : rapt::lse_output(lse.template view<3>());

    std::optional<input_array<T>> x_kv;
    if (s.x_kv) x_kv.emplace(this->template placed<T>(case_.input(*s.x_kv), strides_of(s.strides, "x_kv")));
    guarded(y, lse, [&] {
      if (packed)
        forward<2>(s, x, x_kv, y, o);
      else
        forward<3>(s, x, x_kv, y, o);
    });
    check(s.expect, y, kv_dtype_);
    if (s.expect_lse) check(s.expect_lse, lse, kv_dtype_);
  }

  template <int Rank>
  void forward(const forward_step& s, input_array<T>& x, std::optional<input_array<T>>& x_kv, output<T>& y, const rapt::forward_options& o) {
    const view<const T, Rank> rows = x.template view<Rank>();
    const view<T, Rank> out = y.template view<Rank>();
    const module_type& module = *state_.module;
    const auto no_call = [&](const char* what) { throw refusal(std::string("rapt has no call for ") + what); };
    if (s.reuse_first_head_kv && s.cache != cache_use::use && (s.cache != cache_use::none || !x_kv))
      no_call("reuse_first_head_kv but with none and x_kv, or with use");
    if (x_kv && (s.cache == cache_use::append || s.cache == cache_use::use)) no_call("x_kv with append or use");
    switch (s.cache) {
      case cache_use::none:
        if (x_kv) return module.forward(ctx_, rows, rapt::cross(x_kv->template view<Rank>(), {.first_head_only = s.reuse_first_head_kv}), out, o);
        if (state_.given) return module.forward(ctx_, rows, rapt::stored(*state_.given), out, o);
        return module.forward(ctx_, rows, rapt::self_kv{}, out, o);
      case cache_use::replace: {
        const view<const T, Rank> kv_rows = x_kv ? view<const T, Rank>(x_kv->template view<Rank>()) : rows;
        return module.forward(ctx_, rows, rapt::store(stored(), kv_rows, {.first_head_only = s.only_cache_first_head_kv}), out, o);
      }
      case cache_use::use:
        return module.forward(ctx_, rows, rapt::stored(stored()), out, o);
      case cache_use::append:
        return append<Rank>(s, rows, out, o);
    }
  }

  template <int Rank>
  void append(const forward_step& s, const view<const T, Rank>& x, const view<T, Rank>& y, rapt::forward_options o) {
    const index_t batch = Rank == 2 ? 1 : x.extent(0), len = x.extent(Rank - 2);
    std::vector<std::pair<index_t, index_t>> rows;
    if (s.sequences)
      rows = *s.sequences;
    else if (!state_.sequences.empty())  // those that there are: a batch of another size is the call's error
      for (const auto& [id, sequence] : state_.sequences) rows.push_back({id, len});
    else
      for (index_t b = 0; b < batch; ++b) rows.push_back({b, len});

    rapt::basic_kv_cache<Backend>& cache = state_.growing(ctx_);
    std::map<index_t, sequence> fresh;  // leave the cache where the call fails
    const auto sequence_of = [&](index_t id) -> sequence& {
      const auto found = state_.sequences.find(id);
      if (found != state_.sequences.end()) return found->second;
      if (!fresh.contains(id)) fresh[id] = cache.add_sequence();
      return fresh[id];
    };
    if (rows.size() == 1) {
      state_.module->forward(ctx_, x, rapt::append(cache, sequence_of(rows[0].first)), y, o);
    } else {
      const std::span<const index_t> positions = std::exchange(o.positions, {});
      std::vector<rapt::step_entry<Backend>> entries;
      std::size_t row = 0;
      for (const auto& [id, count] : rows) {
        entries.push_back({sequence_of(id), count, {}});
        if (positions.empty()) continue;
        if (row + static_cast<std::size_t>(count) > positions.size()) throw refusal("positions: one for each appended row is needed");
        entries.back().positions = positions.subspan(row, static_cast<std::size_t>(count));
        row += static_cast<std::size_t>(count);
      }
      rapt::basic_step<Backend> step = cache.begin_step(entries);
      state_.module->forward(ctx_, x, step.layer(0), y, o);
      step.commit();
    }
    state_.sequences.merge(fresh);
  }

  // -- state ----------------------------------------------------------------------------------------------------------------------------
  void run(const expect_cache_step& s) {
    require_module();
    using kv_rows = typename module_state<T, Backend>::kv_rows;
    std::vector<kv_rows> parts;
    if (s.sequence)
      parts.push_back(state_.rows_of(ctx_, state_.at(*s.sequence)));
    else if (state_.stored && !state_.stored->empty())
      parts.push_back(state_.rows_of(ctx_, *state_.stored));
    else
      for (const auto& [id, sequence] : state_.sequences) parts.push_back(state_.rows_of(ctx_, sequence));
    if (parts.empty()) throw refusal("nothing is cached");
    std::vector<double> k, v;
    for (const kv_rows& rows : parts) {
      if (rows.len != parts[0].len) throw refusal("sequences of different lengths are compared one by one");
      const std::vector<double> all = rows.values();
      k.insert(k.end(), all.begin(), all.begin() + rows.k_elements());
      v.insert(v.end(), all.begin() + rows.k_elements(), all.end());
    }
    const kv_rows& one = parts[0];
    const index_t batch = one.batch * static_cast<index_t>(parts.size());
    if (!s.kv) {
      check(*s.k, k, {batch, one.len, one.heads, one.head_dim}, kv_dtype_);
      return check(*s.v, v, {batch, one.len, one.heads, one.value_dim}, kv_dtype_);
    }
    if (one.head_dim != one.value_dim) throw refusal("kv needs head_dim == value_dim; k and v are compared apart where not");
    std::vector<double> kv;
    const auto row = static_cast<std::ptrdiff_t>(one.heads * one.head_dim);
    for (std::ptrdiff_t i = 0; i < batch * one.len; ++i)
      for (const std::vector<double>* from : {&k, &v}) kv.insert(kv.end(), from->begin() + i * row, from->begin() + (i + 1) * row);
    check(*s.kv, kv, {batch, one.len, 2, one.heads, one.head_dim}, kv_dtype_);
  }

  void run(const truncate_step& s) {
    require_module();
    if (s.sequence) return state_.at(*s.sequence).truncate(s.kv_len);
    if (state_.sequences.empty()) return state_.growing(ctx_).add_sequence().truncate(s.kv_len);  // of nothing there are 0 tokens
    std::vector<sequence*> all;
    for (auto& [id, one] : state_.sequences) all.push_back(&one);
    // The shortest first: where one is too short nothing has been cut yet.
    std::sort(all.begin(), all.end(), [](const auto* a, const auto* b) { return a->kv_len() < b->kv_len(); });
    for (sequence* one : all) one->truncate(s.kv_len);
  }
  void run(const clear_cache_step& s) {
    require_module();
    if (s.sequence) {
      state_.at(*s.sequence);
      state_.sequences.erase(*s.sequence);
      return;
    }
    if (state_.stored) state_.stored->clear();
    state_.sequences.clear();
  }
  void run(const save_load_step&) {
    require_module();
    state_.save_and_load(ctx_);
  }
  void run(const fork_step& s) {
    require_module();
    if (state_.sequences.contains(s.to)) throw refusal("fork: there is a sequence " + std::to_string(s.to) + " already");
    sequence copy = state_.at(s.from).fork();
    state_.sequences[s.to] = std::move(copy);
  }
  void run(const set_static_kv_step& s) {
    require_module();
    input_array<T> k = this->template placed<T>(case_.input(s.k)), v = this->template placed<T>(case_.input(s.v));
    if (k.rank() != 4 || v.rank() != 4) throw refusal("k and v of rank 4 are needed");
    const auto kv = k.template view<4>(), vv = v.template view<4>();
    state_.given = projected_kv::from(ctx_, config(), kv, vv);
  }

  /// expect_error: the call throws that type, and leaves no trace.
  template <class Call>
  void run_refused(const Call& call, const std::string& error) {
    const std::vector<std::byte> before = state_.snapshot(ctx_);
    try {
      run(call);
    } catch (const rapt::error& e) {
      if (type_of(e.code()) != error) fail(where(), "threw " + type_of(e.code()) + " (" + e.what() + "); " + error + " was expected");
      if (state_.snapshot(ctx_) != before) fail(where(), "threw, and changed what the module keeps");
      return;
    }
    fail(where(), "threw nothing; " + error + " was expected");
  }
  static std::string type_of(rapt::errc code) {
    switch (code) {
      case rapt::errc::config:
        return "config_error";
      case rapt::errc::shape:
        return "shape_error";
      case rapt::errc::range:
        return "range_error";
      case rapt::errc::state:
        return "state_error";
      case rapt::errc::capacity:
        return "capacity_error";
      default:
        return "an error of another type";
    }
  }

  const rapt::attention_config& config() const { return state_.module->config(); }
  void require_module() const {
    if (!state_.module) throw refusal("a case without w_out has no module");
  }
  projected_kv& stored() {
    if (!state_.stored) state_.stored.emplace(ctx_, config());
    return *state_.stored;
  }
  module_state<T, Backend> state_;
};

}  // namespace parity

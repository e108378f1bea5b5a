// What every op of a replay needs: the case's inputs as the library takes them, the comparison of what comes out; and the ops without a module.
#pragma once
#include <parity/placed_array.hpp>
#include <parity/replay.hpp>

#include <rapt/rapt.hpp>

#include <memory>

namespace parity {

template <class T, class Backend>
class replay_base {
 public:
  using accumulator = rapt::accumulator_t<T>;
  using context = typename Backend::context;
  template <class U>
  using input_array = placed_array<U, Backend>;
  template <class U>
  using output = output_array<U, Backend>;
  template <class U, int Rank>
  using view = rapt::tensor_view<U, Rank, typename Backend::space>;

 protected:
  replay_base(const case_file& c, context& ctx, dtype kv_dtype, replay_result& result) : case_(c), ctx_(ctx), kv_dtype_(kv_dtype), result_(result) {}

  // -- inputs -----------------------------------------------------------------------------------------------------------------------------
  static const std::vector<index_t>* strides_of(const stride_map& all, const char* field) {
    const auto found = all.find(field);
    return found == all.end() ? nullptr : &found->second;
  }
  /// The values rounded once to U, where calls find them.
  template <class U>
  input_array<U> placed(const tensor& from, const std::vector<index_t>* strides = nullptr) const {
    return {ctx_, array_of<U>(from, strides)};
  }
  std::vector<index_t> integers_of(const name& input) const {
    if (!input) return {};
    const tensor& t = case_.input(*input);
    if (t.type != dtype::i64) throw refusal("inputs." + *input + " is " + std::string(rapt::name_of(t.type)) + "; i64 is needed");
    return t.integers;
  }

  struct mask_memory {
    std::optional<input_array<std::uint8_t>> truths;
    std::optional<input_array<accumulator>> added;
    rapt::attention_mask mask;
  };
  mask_memory mask_of(const name& input, const name& kind) const {
    mask_memory m;
    if (!input) return m;
    const tensor& t = case_.input(*input);
    if ((t.type == dtype::boolean) != (*kind == "bool"))
      throw refusal("inputs." + *input + " is " + std::string(rapt::name_of(t.type)) + "; mask_kind is " + *kind);
    if (t.shape.size() != 4 && t.shape.size() != 2) throw refusal("inputs." + *input + ": a mask has rank 4, or 2 over packed rows");
    const auto take = [&](auto* data) {
      using element = const std::remove_pointer_t<decltype(data)>;
      if (t.shape.size() == 4)
        m.mask = view<element, 4>(data, {t.shape[0], t.shape[1], t.shape[2], t.shape[3]});
      else
        m.mask = view<element, 2>(data, {t.shape[0], t.shape[1]});
    };
    if (t.type == dtype::boolean) {
      host_array<std::uint8_t> truths(t.shape, nullptr);
      truths.for_each([&](std::uint8_t& to, std::size_t i) { to = t.truths[i] != 0; });
      m.truths.emplace(ctx_, std::move(truths));
      take(reinterpret_cast<bool*>(m.truths->template view<1>().data()));
    } else {
      m.added.emplace(placed<accumulator>(t));
      take(m.added->template view<1>().data());
    }
    return m;
  }

  // -- outputs ----------------------------------------------------------------------------------------------------------------------------
  /// Runs a call; where it throws, its outputs must be as they were.
  template <class F>
  void guarded(output<T>& y, output<accumulator>& lse, F call) {
    try {
      call();
    } catch (const rapt::error&) {
      if (!y.untouched() || !lse.untouched()) fail(where(), "threw after it had written to an output");
      throw;
    }
  }

  template <class U>
  void check(const name& expectation, output<U>& result, dtype kv_dtype) {
    if (!expectation) return;
    const std::vector<double> values = result.take();
    check(*expectation, values, result.shape(), kv_dtype);
    if (!result.gaps_untouched()) fail(where(), *expectation + ": memory between the output's strides was written");
  }
  void check(const std::string& expectation, const std::vector<double>& values, std::vector<index_t> shape, dtype kv_dtype) {
    const tensor& expected = case_.at("expected." + expectation);
    // lse of unbatched rows may come with or without its extent of 1.
    const auto without_ones = [](std::vector<index_t> s) {
      while (!s.empty() && s.front() == 1) s.erase(s.begin());
      return s;
    };
    if (without_ones(shape) != without_ones(expected.shape))
      return fail(where(), "expected." + expectation + " has another shape than the call's result");
    const dtype d = coarser(rapt::dtype_of<T>, kv_dtype);
    const comparison found =
        compare(expectation, values, expected, case_.find("peer." + expectation + "." + std::string(rapt::name_of(d))), rapt::dtype_of<T>, kv_dtype);
    if (!found.passed) fail(where(), found.describe());
    result_.comparisons.push_back(found);
  }

  std::string where() const { return "step " + std::to_string(number_) + " (" + case_.steps[number_].op + ")"; }
  void fail(const std::string& place, const std::string& what) { result_.failures.push_back(place + ": " + what); }

  // -- attention alone: no module ------------------------------------------------------------------------------------------------------------
  void run(const attend_step& s) {
    input_array<T> q = placed<T>(case_.input(s.q), strides_of(s.strides, "q")), k = placed<T>(case_.input(s.k), strides_of(s.strides, "k")),
                   v = placed<T>(case_.input(s.v), strides_of(s.strides, "v"));
    if (q.rank() != 4 || k.rank() != 4 || v.rank() != 4) throw refusal("q, k and v of rank 4 are needed");
    const index_t batch = q.shape()[0], len = q.shape()[1], heads = q.shape()[2];
    output<T> out(ctx_, {batch, len, heads, v.shape()[3]}, strides_of(s.strides, "expect"));
    output<accumulator> lse(ctx_, {batch, heads, len});

    const rapt::attention_config& c = case_.config;
    rapt::attend_options o;
    o.softmax_scale = c.softmax_scale, o.causal = c.causal, o.window = c.window, o.softcap = c.softcap;
    const std::vector<double> slopes = c.alibi ? rapt::alibi_slopes(heads) : std::vector<double>();
    o.alibi_slopes = slopes;
    std::vector<double> sinks;
    if (const tensor* given = case_.find("weights.sinks");
        given && std::find(case_.weights.begin(), case_.weights.end(), "sinks") != case_.weights.end())
      for (const double sink : given->values) sinks.push_back(widened(static_cast<T>(sink)));
    o.sink_logits = sinks;
    const std::vector<index_t> kv_lens = integers_of(s.kv_lens), positions = integers_of(s.positions);
    o.kv_lens = kv_lens;
    o.q_positions = positions;
    const mask_memory mask = mask_of(s.mask, s.mask_kind);
    o.mask = mask.mask;
    guarded(out, lse, [&] {
      const auto qv = q.template view<4>(), kv = k.template view<4>(), vv = v.template view<4>(), ov = out.template view<4>();
      if (s.expect_lse || case_.steps[number_].error)
        rapt::attend(ctx_, qv, kv, vv, ov, lse.template view<3>(), o);
      else
        rapt::attend(ctx_, qv, kv, vv, ov, o);
    });
    check(s.expect, out, rapt::dtype_of<T>);
    if (s.expect_lse) check(s.expect_lse, lse, rapt::dtype_of<T>);
  }

  void run(const merge_step& s) {
    std::vector<input_array<T>> outs;
    std::vector<input_array<accumulator>> lses;
    for (const std::string& part : s.out) outs.push_back(placed<T>(case_.input(part)));
    for (const std::string& part : s.lse) lses.push_back(placed<accumulator>(case_.input(part)));
    output<T> out(ctx_, outs[0].shape());
    output<accumulator> lse(ctx_, lses[0].shape());
    const auto ov = out.template view<4>();
    const auto lv = lse.template view<3>();
    using partial = rapt::partial_attention<T, typename Backend::space>;
    std::vector<partial> parts;
    for (std::size_t i = 0; i < outs.size(); ++i) parts.push_back({outs[i].template view<4>(), lses[i].template view<3>()});
    guarded(out, lse, [&] {
      // A single part is merged with an empty one.
      input_array<T> none(ctx_, host_array<T>(outs[0].shape(), nullptr));
      input_array<accumulator> no_lse(ctx_, host_array<accumulator>(lses[0].shape(), nullptr));
      no_lse.values().for_each([](accumulator& x, std::size_t) { x = -std::numeric_limits<accumulator>::infinity(); });
      const partial empty{none.template view<4>(), no_lse.template view<3>()};
      rapt::merge(ctx_, parts[0], parts.size() > 1 ? parts[1] : empty, ov, lv);
      for (std::size_t i = 2; i < parts.size(); ++i) rapt::merge(ctx_, {ov, lv}, parts[i], ov, lv);
    });
    check(s.expect, out, rapt::dtype_of<T>);
    check(s.expect_lse, lse, rapt::dtype_of<T>);
  }

  const case_file& case_;
  context& ctx_;
  dtype kv_dtype_;
  replay_result& result_;
  std::size_t number_ = 0;
};

}  // namespace parity

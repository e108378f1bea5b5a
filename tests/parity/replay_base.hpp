// What every op of a replay needs: the case's inputs as the library takes them, and the comparison of what comes out.
#pragma once
#include <parity/host_array.hpp>
#include <parity/replay.hpp>

#include <rapt/ops/mask.hpp>

#include <memory>

namespace parity {

template <class T>
class replay_base {
 public:
  using accumulator = rapt::accumulator_t<T>;

 protected:
  replay_base(const case_file& c, rapt::cpu::context& ctx, dtype kv_dtype, replay_result& result) : case_(c), ctx_(ctx), kv_dtype_(kv_dtype), result_(result) {}

  // -- inputs -----------------------------------------------------------------------------------------------------------------------------
  static const std::vector<index_t>* strides_of(const stride_map& all, const char* field) {
    const auto found = all.find(field);
    return found == all.end() ? nullptr : &found->second;
  }
  std::vector<index_t> integers_of(const name& input) const {
    if (!input) return {};
    const tensor& t = case_.input(*input);
    if (t.type != dtype::i64) throw refusal("inputs." + *input + " is " + std::string(rapt::name_of(t.type)) + "; i64 is needed");
    return t.integers;
  }

  struct mask_memory {
    std::unique_ptr<bool[]> truths;
    std::optional<host_array<accumulator>> added;
    rapt::attention_mask view;
  };
  mask_memory mask_of(const name& input, const name& kind) const {
    mask_memory m;
    if (!input) return m;
    const tensor& t = case_.input(*input);
    if ((t.type == dtype::boolean) != (*kind == "bool")) throw refusal("inputs." + *input + " is " + std::string(rapt::name_of(t.type)) + "; mask_kind is " + *kind);
    if (t.shape.size() != 4 && t.shape.size() != 2) throw refusal("inputs." + *input + ": a mask has rank 4, or 2 over packed rows");
    const auto take = [&](auto* data) {
      using element = const std::remove_pointer_t<decltype(data)>;
      if (t.shape.size() == 4) m.view = rapt::tensor_view<element, 4>(data, {t.shape[0], t.shape[1], t.shape[2], t.shape[3]});
      else m.view = rapt::tensor_view<element, 2>(data, {t.shape[0], t.shape[1]});
    };
    if (t.type == dtype::boolean) {
      m.truths = std::make_unique<bool[]>(t.truths.size() + 1);
      for (std::size_t i = 0; i < t.truths.size(); ++i) m.truths[i] = t.truths[i] != 0;
      take(m.truths.get());
    } else {
      m.added.emplace(array_of<accumulator>(t));
      take(m.added->memory().data());
    }
    return m;
  }

  // -- outputs ----------------------------------------------------------------------------------------------------------------------------
  /// Runs a call; where it throws, its outputs must be as they were.
  template <class F>
  void guarded(const output_array<T>& y, const output_array<accumulator>& lse, F call) {
    try {
      call();
    } catch (const rapt::error&) {
      if (!y.untouched() || !lse.untouched()) fail(where(), "threw after it had written to an output");
      throw;
    }
  }

  template <class U>
  void check(const name& expectation, output_array<U>& output, dtype kv_dtype) {
    if (!expectation) return;
    const std::vector<double> values = output.take();
    check(*expectation, values, output.shape(), kv_dtype);
    if (!output.gaps_untouched()) fail(where(), *expectation + ": memory between the output's strides was written");
  }
  void check(const std::string& expectation, const std::vector<double>& values, std::vector<index_t> shape, dtype kv_dtype) {
    const tensor& expected = case_.at("expected." + expectation);
    // lse of unbatched rows may come with or without its extent of 1.
    const auto without_ones = [](std::vector<index_t> s) {
      while (!s.empty() && s.front() == 1) s.erase(s.begin());
      return s;
    };
    if (without_ones(shape) != without_ones(expected.shape)) return fail(where(), "expected." + expectation + " has another shape than the call's result");
    const dtype d = coarser(rapt::dtype_of<T>, kv_dtype);
    const comparison found = compare(expectation, values, expected, case_.find("peer." + expectation + "." + std::string(rapt::name_of(d))), rapt::dtype_of<T>, kv_dtype);
    if (!found.passed) fail(where(), found.describe());
    result_.comparisons.push_back(found);
  }

  std::string where() const { return "step " + std::to_string(number_) + " (" + case_.steps[number_].op + ")"; }
  void fail(const std::string& place, const std::string& what) { result_.failures.push_back(place + ": " + what); }

  const case_file& case_;
  rapt::cpu::context& ctx_;
  dtype kv_dtype_;
  replay_result& result_;
  std::size_t number_ = 0;
};

}  // namespace parity

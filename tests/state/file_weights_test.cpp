// Weights under the names of other programs.
#include <rapt/state/file_weights.hpp>
#include <rapt/state/safetensors.hpp>
#include <support/safetensors_bytes.hpp>
#include <support/unchanged.hpp>

#include <numeric>
#include <random>

namespace {

using namespace rapt_test;
using rapt::index_t, rapt::weight_view;
#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

/// A file of F32 tensors whose elements count up, each from where the one before ended.
class counting_file {
 public:
  counting_file& add(const std::string& name, std::vector<index_t> shape, const char* type = "F32") {
    index_t size = 1;
    std::string extents;
    for (const index_t extent : shape) size *= extent, extents += (extents.empty() ? "" : ",") + std::to_string(extent);
    const std::size_t begin = data_.size();
    for (index_t i = 0; i < size; ++i) {
      const auto x = static_cast<float>(count_++);
      data_.append(reinterpret_cast<const char*>(&x), 4);
    }
    header_ +=
        (header_.empty() ? "\"" : ",\"") + name + "\":" + tensor_text(type, extents, std::to_string(begin) + "," + std::to_string(data_.size()));
    return *this;
  }
  /// Shifts what follows to an odd byte.
  counting_file& add_byte() {
    header_ += ",\"byte\":" + tensor_text("U8", "1", std::to_string(data_.size()) + "," + std::to_string(data_.size() + 1));
    data_ += 'x';
    return *this;
  }
  rapt::safetensors::file open() {
    write_file(directory_ / "model", file_bytes("{" + header_ + "}", data_));
    return rapt::safetensors::open(directory_ / "model");
  }

 private:
  temporary_directory directory_;
  std::string header_, data_;
  int count_ = 0;
};

float at(const weight_view& w, std::initializer_list<index_t> indices) {
  index_t offset = 0;
  int dim = 0;
  for (const index_t i : indices) offset += i * w.stride(dim++);
  return static_cast<const float*>(w.data())[offset];
}

TEST(file_weights, hugging_face) {
  counting_file model;
  model.add("m.q_proj.weight", {6, 4}).add("m.k_proj.weight", {2, 4}).add("m.v_proj.weight", {2, 4}).add("m.o_proj.weight", {4, 6});
  const auto plain = model.open();
  const rapt::attention_weights w = rapt::hugging_face_weights(plain, "m.");
  EXPECT_EQ(at(w.w_q, {1, 2}), 6);
  EXPECT_EQ(at(w.w_k, {0, 0}), 24);
  EXPECT_EQ(at(w.w_v, {1, 3}), 39);
  EXPECT_EQ(w.w_out.shape(), "[6, 4]");
  EXPECT_EQ(at(w.w_out, {5, 1}), 40 + 1 * 6 + 5);  // o_proj [out, in] transposed
  for (const weight_view& absent : {w.w_qkv, w.w_kv, w.b_q, w.b_k, w.b_v, w.b_out, w.q_norm, w.k_norm, w.sink_logits}) EXPECT_FALSE(absent.present());
  const rapt::attention_config config{.model_dim = 4, .num_heads = 3, .num_kv_heads = 1, .head_dim = 2};
  EXPECT_EQ(rapt::check(w, rapt::resolve(config)).message, "");

  model.add("m.q_proj.bias", {6})
      .add("m.k_proj.bias", {2})
      .add("m.v_proj.bias", {2})
      .add("m.o_proj.bias", {4})
      .add("m.q_norm.weight", {2})
      .add("m.k_norm.weight", {2})
      .add("m.sinks", {3});
  const auto full = model.open();
  const rapt::attention_weights b = rapt::hugging_face_weights(full, "m.");
  EXPECT_EQ(at(b.b_q, {0}), 64);
  EXPECT_EQ(at(b.b_k, {1}), 71);
  EXPECT_EQ(at(b.b_v, {0}), 72);
  EXPECT_EQ(at(b.b_out, {3}), 77);
  EXPECT_EQ(at(b.q_norm, {0}), 78);
  EXPECT_EQ(at(b.k_norm, {0}), 80);
  EXPECT_EQ(at(b.sink_logits, {2}), 84);
  EXPECT_SAYS(expect_refused<rapt::format_error>({}, [&] { rapt::hugging_face_weights(full, "n."); }), "no tensor 'n.q_proj.weight'");
}

TEST(file_weights, torch_with_one_and_with_three_input_matrices) {
  counting_file fused, split;
  fused.add("a.in_proj_weight", {12, 4}).add("a.in_proj_bias", {12}).add("a.out_proj.weight", {4, 4}).add("a.out_proj.bias", {4});
  const auto fused_file = fused.open();
  const rapt::attention_weights w = rapt::torch_weights(fused_file, "a.");
  EXPECT_EQ(at(w.w_qkv, {11, 3}), 47);
  EXPECT_EQ(at(w.b_qkv, {11}), 59);
  EXPECT_EQ(at(w.w_out, {3, 1}), 60 + 1 * 4 + 3);
  EXPECT_EQ(at(w.b_out, {0}), 76);
  split.add("a.q_proj_weight", {4, 4})
      .add("a.k_proj_weight", {4, 4})
      .add("a.v_proj_weight", {4, 4})
      .add("a.in_proj_bias", {12})
      .add("a.out_proj.weight", {4, 4});
  const auto split_file = split.open();
  const rapt::attention_weights s = rapt::torch_weights(split_file, "a.");
  EXPECT_EQ(at(s.w_k, {0, 0}), 16);
  EXPECT_EQ(at(s.b_q, {0}), 48);
  EXPECT_EQ(at(s.b_k, {0}), 52);
  EXPECT_EQ(at(s.b_v, {3}), 59);
  const rapt::attention_config config = rapt::resolve({.model_dim = 4, .num_heads = 2});
  EXPECT_EQ(rapt::check(w, config).message, "");
  EXPECT_EQ(rapt::check(s, config).message, "");
  counting_file wrong;
  wrong.add("a.q_proj_weight", {4, 4})
      .add("a.k_proj_weight", {4, 4})
      .add("a.v_proj_weight", {4, 4})
      .add("a.in_proj_bias", {11})
      .add("a.out_proj.weight", {4, 4});
  const auto wrong_file = wrong.open();
  EXPECT_SAYS(expect_refused<rapt::config_error>({}, [&] { rapt::torch_weights(wrong_file, "a."); }), "[12] is needed");
  const auto with_bias_k = fused.add("a.bias_k", {1, 1, 4}).open();
  EXPECT_SAYS(expect_refused<rapt::config_error>({}, [&] { rapt::torch_weights(with_bias_k, "a."); }), "a.bias_k");
}

TEST(file_weights, tabpfn) {
  counting_file model;
  model.add("l._w_q", {1, 4, 2, 3}).add("l._w_kv", {2, 1, 2, 3}).add("l._w_out", {4, 2, 3}).add("f._w_qkv", {3, 4, 2, 3}).add("f._w_out", {4, 2, 3});
  const auto file = model.open();
  const rapt::attention_weights w = rapt::tabpfn_weights(file, "l."), f = rapt::tabpfn_weights(file, "f.");
  EXPECT_EQ(rapt::check(w, rapt::resolve({.model_dim = 3, .num_heads = 4, .num_kv_heads = 1, .head_dim = 2})).message, "");
  EXPECT_EQ(rapt::check(f, rapt::resolve({.model_dim = 3, .num_heads = 4, .head_dim = 2})).message, "");
  EXPECT_EQ(at(w.w_kv, {1, 0, 1, 2}), 24 + 11);
  EXPECT_EQ(at(f.w_out, {3, 1, 2}), 24 + 12 + 24 + 72 + 23);
  EXPECT_FALSE(f.w_q.present());
  EXPECT_SAYS(expect_refused<rapt::format_error>({}, [&] { rapt::tabpfn_weights(file, "x."); }), "no tensor 'x._w_out'");
}

TEST(file_weights, what_can_not_be_a_parameter_is_named) {
  counting_file model;
  model.add("i", {2}, "I32").add("five", {1, 1, 1, 1, 2}).add("scalar", {}).add_byte().add("odd", {2});
  const auto file = model.open();
  EXPECT_SAYS(expect_refused<rapt::config_error>({}, [&] { rapt::weight_of(file, "i"); }), "'i' is I32 [2]");
  EXPECT_SAYS(expect_refused<rapt::config_error>({}, [&] { rapt::weight_of(file, "five"); }), "rank 1 to 4");
  EXPECT_SAYS(expect_refused<rapt::config_error>({}, [&] { rapt::weight_of(file, "scalar"); }), "rank 1 to 4");
  EXPECT_SAYS(expect_refused<rapt::config_error>({}, [&] { rapt::optional_weight_of(file, "odd"); }), "not aligned");
  EXPECT_FALSE(rapt::optional_weight_of(file, "none").present());
}

}  // namespace

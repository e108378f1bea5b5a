// torch.nn.Linear on rapt's packed projections: weights stay in the file's dtype, and a row's bits do not depend on how many rows are computed.
#pragma once
#include <rapt/rapt.hpp>
#include <string>
#include <vector>

#include <common/elementwise.hpp>

namespace common {

/// A parameter of any dtype as floats.
inline std::vector<float> floats(const rapt::safetensors::tensor& t) {
  std::vector<float> out;
  if (t.type == rapt::dtype::f16) {
    for (const rapt::f16 value : t.copy<rapt::f16>()) out.push_back(static_cast<float>(value));
  } else if (t.type == rapt::dtype::bf16) {
    for (const rapt::bf16 value : t.copy<rapt::bf16>()) out.push_back(static_cast<float>(value));
  } else {
    out = t.copy<float>();
  }
  return out;
}

class linear {
 public:
  /// Tensor name.weight [out_dim, in_dim] and, where the file has it, name.bias [out_dim].
  linear(rapt::cpu::context& ctx, const rapt::safetensors::file& file, const std::string& name) {
    const rapt::safetensors::tensor weight = file.at(name + ".weight");
    if (weight.type == rapt::dtype::f16)
      pack<rapt::f16>(ctx, file, weight, name);
    else if (weight.type == rapt::dtype::bf16)
      pack<rapt::bf16>(ctx, file, weight, name);
    else
      pack<float>(ctx, file, weight, name);
  }

  /// y [rows, out_dim] = x [rows, in_dim] * weight^T + bias.
  void operator()(rapt::cpu::context& ctx, const_rows x, rows y) const { rapt::project(ctx, x, weights_, y); }
  std::size_t bytes() const { return weights_.bytes(); }

 private:
  template <class W>
  void pack(rapt::cpu::context& ctx, const rapt::safetensors::file& file, const rapt::safetensors::tensor& weight, const std::string& name) {
    const auto bias = file.find(name + ".bias");
    weights_ = rapt::pack_linear<float>(ctx, weight.view<W, 2>(), bias ? bias->view<W, 1>() : rapt::tensor_view<const W, 1>());
  }
  rapt::packed_weights<rapt::cpu::backend> weights_;
};

}  // namespace common

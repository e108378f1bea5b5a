// matmul.hpp on the emulated device: what the library promises, in plain loops and with sums in double, so that nothing can rely on its bits.
#include <kernels/runtime/emulated.hpp>
#include <kernels/runtime/matmul.hpp>

#include <exception>

namespace rapt {
inline namespace v0 {
namespace runtime {
namespace {

template <class T, class Result>
void multiply(const matmul& m) {
  const auto wide = [](auto x) { return static_cast<double>(static_cast<float>(x)); };
  for (index_t r = 0; r < m.rows; ++r)
    for (index_t c = 0; c < m.out; ++c) {
      const T* const x = static_cast<const T*>(m.x) + r * m.x_stride;
      const T* const w = static_cast<const T*>(m.w) + c * m.w_stride;
      double sum = 0;
      for (index_t k = 0; k < m.in; ++k) sum += wide(x[k]) * wide(w[k]);
      if (m.bias != nullptr) sum += wide(static_cast<const Result*>(m.bias)[c]);
      if (m.residual != nullptr) sum += wide(static_cast<const Result*>(m.residual)[r * m.residual_stride + c]);
      static_cast<Result*>(m.y)[r * m.y_stride + c] = Result(static_cast<float>(sum));
    }
}

}  // namespace

struct matmul_library::impl {};

matmul_library::matmul_library() : impl_(std::make_unique<impl>()) {}
matmul_library::~matmul_library() = default;
matmul_library::matmul_library(matmul_library&&) noexcept = default;
matmul_library& matmul_library::operator=(matmul_library&&) noexcept = default;

// Some products it can not do, so that nothing can rely on it.
bool matmul_library::serves(const matmul& m) { return m.rows % 2 == 0; }
failure matmul_library::multiply(const matmul& m, void*, stream s) {
  try {
    emulated::launch(s, [&] {
      if (m.type == dtype::f16)
        m.result == dtype::f32 ? runtime::multiply<f16, float>(m) : runtime::multiply<f16, f16>(m);
      else
        m.result == dtype::f32 ? runtime::multiply<bf16, float>(m) : runtime::multiply<bf16, bf16>(m);
    });
  } catch (const std::exception& e) { return {errc::cuda, e.what()}; }
  return {};
}

}  // namespace runtime
}  // namespace v0
}  // namespace rapt

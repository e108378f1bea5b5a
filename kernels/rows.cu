// Append, gather and repeat, compiled for devices.
#include <kernels/append.hpp>
#include <kernels/gather.hpp>
#include <kernels/repeat.hpp>

namespace rapt {
inline namespace v0 {
namespace kernels {

template __global__ void repeat_units(const copy_unit<16>*, copy_unit<16>*, index_t, index_t, int);
template __global__ void repeat_units(const copy_unit<8>*, copy_unit<8>*, index_t, index_t, int);
template __global__ void repeat_units(const copy_unit<4>*, copy_unit<4>*, index_t, index_t, int);
template __global__ void repeat_units(const copy_unit<2>*, copy_unit<2>*, index_t, index_t, int);
template __global__ void repeat_units(const copy_unit<1>*, copy_unit<1>*, index_t, index_t, int);
template __global__ void gather_units(const copy_unit<16>*, copy_unit<16>*, const index_t*, index_t, index_t);
template __global__ void gather_units(const copy_unit<8>*, copy_unit<8>*, const index_t*, index_t, index_t);
template __global__ void gather_units(const copy_unit<4>*, copy_unit<4>*, const index_t*, index_t, index_t);
template __global__ void gather_units(const copy_unit<2>*, copy_unit<2>*, const index_t*, index_t, index_t);
template __global__ void gather_units(const copy_unit<1>*, copy_unit<1>*, const index_t*, index_t, index_t);
template __global__ void append<false, 4>(append_problem<float, f16>);
template __global__ void append<false, 8>(append_problem<float, f16>);
template __global__ void append<false, 16>(append_problem<float, f16>);
template __global__ void append<true, 4>(append_problem<float, f16>);
template __global__ void append<true, 8>(append_problem<float, f16>);
template __global__ void append<true, 16>(append_problem<float, f16>);
template __global__ void append_elements(append_problem<float, f16>);
template __global__ void append<false, 4>(append_problem<f16, f16>);
template __global__ void append<false, 8>(append_problem<f16, f16>);
template __global__ void append<false, 16>(append_problem<f16, f16>);
template __global__ void append<true, 4>(append_problem<f16, f16>);
template __global__ void append<true, 8>(append_problem<f16, f16>);
template __global__ void append<true, 16>(append_problem<f16, f16>);
template __global__ void append_elements(append_problem<f16, f16>);
template __global__ void append<false, 4>(append_problem<float, bf16>);
template __global__ void append<false, 8>(append_problem<float, bf16>);
template __global__ void append<false, 16>(append_problem<float, bf16>);
template __global__ void append<true, 4>(append_problem<float, bf16>);
template __global__ void append<true, 8>(append_problem<float, bf16>);
template __global__ void append<true, 16>(append_problem<float, bf16>);
template __global__ void append_elements(append_problem<float, bf16>);
template __global__ void append<false, 4>(append_problem<bf16, bf16>);
template __global__ void append<false, 8>(append_problem<bf16, bf16>);
template __global__ void append<false, 16>(append_problem<bf16, bf16>);
template __global__ void append<true, 4>(append_problem<bf16, bf16>);
template __global__ void append<true, 8>(append_problem<bf16, bf16>);
template __global__ void append<true, 16>(append_problem<bf16, bf16>);
template __global__ void append_elements(append_problem<bf16, bf16>);

}  // namespace kernels
}  // namespace v0
}  // namespace rapt

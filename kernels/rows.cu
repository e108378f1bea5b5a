// Append, and what copies rows, elements and parameters, compiled for devices.
#include <kernels/angles.hpp>
#include <kernels/append.hpp>
#include <kernels/copy_elements.hpp>
#include <kernels/gather.hpp>
#include <kernels/repeat.hpp>
#include <kernels/transfer.hpp>
#include <kernels/write_parameters.hpp>

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
template __global__ void find_angles(angles_problem<float>);
template __global__ void find_angles(angles_problem<double>);
template __global__ void write_parameters(const parameter_words);
template __global__ void copy_units<copy_unit<2>>(strided_elements, strided_elements, element_extents, index_t);
template __global__ void copy_units<copy_unit<4>>(strided_elements, strided_elements, element_extents, index_t);
template __global__ void copy_units<copy_unit<8>>(strided_elements, strided_elements, element_extents, index_t);
template __global__ void transfer_units<copy_unit<16>, true>(paged_rows, copy_unit<16>*, index_t, index_t);
template __global__ void transfer_units<copy_unit<16>, false>(paged_rows, copy_unit<16>*, index_t, index_t);
template __global__ void transfer_units<copy_unit<8>, true>(paged_rows, copy_unit<8>*, index_t, index_t);
template __global__ void transfer_units<copy_unit<8>, false>(paged_rows, copy_unit<8>*, index_t, index_t);
template __global__ void transfer_units<copy_unit<4>, true>(paged_rows, copy_unit<4>*, index_t, index_t);
template __global__ void transfer_units<copy_unit<4>, false>(paged_rows, copy_unit<4>*, index_t, index_t);
template __global__ void transfer_units<copy_unit<2>, true>(paged_rows, copy_unit<2>*, index_t, index_t);
template __global__ void transfer_units<copy_unit<2>, false>(paged_rows, copy_unit<2>*, index_t, index_t);
template __global__ void transfer_units<copy_unit<1>, true>(paged_rows, copy_unit<1>*, index_t, index_t);
template __global__ void transfer_units<copy_unit<1>, false>(paged_rows, copy_unit<1>*, index_t, index_t);
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

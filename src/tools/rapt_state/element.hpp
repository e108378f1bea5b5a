// Elements as text and shapes as text, for inspect and diff.
#pragma once
#include <rapt/state/safetensors.hpp>

#include <string>

namespace rapt_state {

/// The shortest text that reads back as the same element; hexadecimal bytes where rapt does not compute with the type. A NaN shows its bits.
std::string element_text(const rapt::safetensors::tensor& t, std::size_t idx);
/// Bytes of one element; 0 where the tensor has none.
std::size_t element_bytes(const rapt::safetensors::tensor& t);
/// "[3, 0, 17]" of the element `idx` of a row-major tensor.
std::string index_text(const rapt::safetensors::tensor& t, std::size_t idx);

}  // namespace rapt_state

#include <fuzz/targets.hpp>
#include <rapt/core/error.hpp>
#include <rapt/state/file_weights.hpp>

#include <numeric>

namespace rapt_fuzz {
namespace {

namespace safetensors = rapt::safetensors;

/// Touches every byte, so that a tensor beyond the file is seen.
std::size_t sum_of(bytes all) {
  return std::accumulate(all.begin(), all.end(), std::size_t{0}, [](std::size_t sum, std::byte b) { return sum + std::to_integer<std::size_t>(b); });
}

template <class Call>
void may_refuse(Call call) {
  try {
    call();
  } catch (const rapt::error&) {}
}

}  // namespace

void third_party(bytes input) {
  try {
    const safetensors::file file = safetensors::parse(input);
    std::size_t data_bytes = 0;
    for (const safetensors::tensor& t : file) {
      const auto* const first = t.bytes.data();
      expect(t.bytes.empty() || (first >= input.data() && first + t.bytes.size() <= input.data() + input.size()), "a tensor lies in the file");
      data_bytes += t.bytes.size();
      expect(sum_of(t.bytes) <= 255 * t.bytes.size(), "bytes can be read");
      expect(!t.describe().empty(), "a tensor can be described");
      may_refuse([&] { t.copy<float>(); });
      may_refuse([&] { t.view<double, 2>(); });
    }
    expect(data_bytes + 8 < input.size(), "tensors, length and header make up the file");
    if (const rapt::failure found = safetensors::validate_finite(file))
      expect(found.code == rapt::errc::format, "a format error names what is not finite");
    for (const std::string prefix : {"", "l."}) {
      may_refuse([&] { rapt::hugging_face_weights(file, prefix); });
      may_refuse([&] { rapt::torch_weights(file, prefix); });
      may_refuse([&] { rapt::tabpfn_weights(file, prefix); });
    }
    may_refuse([&] { rapt::state_weights(file); });
  } catch (const rapt::format_error&) {
  } catch (const rapt::checksum_error&) {
  } catch (const rapt::version_error&) {}
}

}  // namespace rapt_fuzz

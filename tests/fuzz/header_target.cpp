#include <fuzz/targets.hpp>
#include <rapt/core/error.hpp>

#include <set>

#include <state/header.hpp>

namespace rapt_fuzz {
namespace {

using rapt::safetensors::header_tensor;

void expect_consistent(const rapt::safetensors::header& index) {
  std::set<std::string, std::less<>> names;
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < index.num_tensors(); ++i) {
    const header_tensor t = index.tensor(i);
    expect(t.begin == end && t.end >= t.begin, "offsets are contiguous");
    end = t.end;
    expect(t.type != nullptr && t.rank >= 0 && t.rank <= rapt::safetensors::max_rank, "dtype and rank");
    unsigned __int128 elements = 1;
    for (int d = 0; d < t.rank; ++d) {
      expect(t.extents[d] >= 0, "extents are not negative");
      elements *= static_cast<unsigned __int128>(t.extents[d]);
      if (elements == 0) break;
      expect(elements >> 63 == 0, "the product fits");
    }
    expect(elements * t.type->bytes == t.end - t.begin, "dtype and shape give the bytes");
    expect(names.emplace(t.name).second, "names are unique");
    const auto found = index.find(t.name);
    expect(found && found->begin == t.begin && found->end == t.end && found->name == t.name, "tensors are found by their names");
  }
  expect(end == index.data_bytes(), "the last tensor ends the data");
  std::string_view previous;
  for (std::size_t i = 0; i < index.num_metadata(); ++i) {
    const auto [key, value] = index.metadata(i);
    expect(i == 0 || previous < key, "metadata keys ascend");
    expect(index.find_metadata(key) == value, "metadata is found by its keys");
    previous = key;
  }
}

}  // namespace

void header(bytes input) {
  if (input.empty()) return;  // header_length() refuses that
  try {
    expect_consistent(rapt::safetensors::header(input, "fuzz: "));
  } catch (const rapt::format_error&) {}
}

}  // namespace rapt_fuzz

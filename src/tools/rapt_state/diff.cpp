#include <algorithm>
#include <set>
#include <tools/rapt_state/commands.hpp>
#include <tools/rapt_state/element.hpp>
#include <tools/rapt_state/state_parts.hpp>

namespace rapt_state {
namespace {

using rapt::safetensors::file, rapt::safetensors::tensor;

std::set<std::string> tensor_names(const file& a) {
  std::set<std::string> names;
  for (const tensor& t : a)
    if (!a.is_rapt_state() || !is_pad(t.name)) names.emplace(t.name);
  return names;
}

/// Checksums follow from the tensors.
std::set<std::string> metadata_keys(const file& a) {
  std::set<std::string> keys;
  for (rapt::index_t i = 0; i < a.num_metadata(); ++i)
    if (const auto [key, value] = a.metadata(i); !a.is_rapt_state() || (!key.starts_with("xxh3.") && key != "rapt.header_xxh3")) keys.emplace(key);
  return keys;
}

/// "" where the tensors are equal bit by bit.
std::string difference_of(const tensor& a, const tensor& b) {
  if (a.describe() != b.describe()) return a.describe() + " and " + b.describe();
  const std::size_t size = element_bytes(a), count = size == 0 ? 0 : a.bytes.size() / size;
  std::size_t first = count, num_different = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (std::equal(a.bytes.begin() + i * size, a.bytes.begin() + (i + 1) * size, b.bytes.begin() + i * size)) continue;
    first = std::min(first, i);
    ++num_different;
  }
  if (num_different == 0) return {};
  return a.describe() + ": " + std::to_string(num_different) + " of " + std::to_string(count) + " elements differ, the first at " +
         index_text(a, first) + ": " + element_text(a, first) + " and " + element_text(b, first);
}

}  // namespace

bool compare(const std::string& path_a, const std::string& path_b, std::ostream& out) {
  const file a = open_file(path_a), b = open_file(path_b);
  bool same = true;
  const auto report = [&](const std::string& what) {
    same = false;
    out << printable(what) << '\n';
  };
  const auto each = [&](const std::string& what, const std::set<std::string>& in_a, const std::set<std::string>& in_b, auto compare_both) {
    std::set<std::string> all = in_a;
    all.insert(in_b.begin(), in_b.end());
    for (const std::string& name : all) {
      if (!in_a.contains(name) || !in_b.contains(name))
        report(what + name + ": only in " + (in_a.contains(name) ? path_a : path_b));
      else if (const std::string found = compare_both(name); !found.empty())
        report(what + name + ": " + found);
    }
  };
  each("metadata ", metadata_keys(a), metadata_keys(b), [&](const std::string& key) {
    const std::string_view left = *a.find_metadata(key), right = *b.find_metadata(key);
    return left == right ? std::string() : std::string(left) + " and " + std::string(right);
  });
  each("tensor ", tensor_names(a), tensor_names(b), [&](const std::string& name) { return difference_of(a.at(name), b.at(name)); });
  return same;
}

}  // namespace rapt_state

#include <fuzz/repair.hpp>
#include <rapt/core/error.hpp>
#include <support/reseal.hpp>

#include <state/header.hpp>

namespace rapt_fuzz {
namespace {

constexpr std::uint64_t max_data_bytes = 64 << 10;

std::string_view text_of(bytes of) { return {reinterpret_cast<const char*>(of.data()), of.size()}; }

/// Behind the bracket that closes the object at `begin`; the end where none does.
std::size_t end_of_object(std::string_view text, std::size_t begin) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return i + 1;
    }
  }
  return text.size();
}

void set_digits(std::string& head, const std::string& key, const std::string& digits) {
  const std::string before = "\"" + key + "\":\"";
  // Not find(): that calls memcmp, which libFuzzer listens to.
  const auto at = std::search(head.begin(), head.end(), before.begin(), before.end());
  const auto value =
      head.end() - at < static_cast<std::ptrdiff_t>(before.size() + digits.size()) ? head.end() : at + static_cast<std::ptrdiff_t>(before.size());
  if (value != head.end()) std::copy(digits.begin(), digits.end(), value);
}

}  // namespace

std::string repaired(bytes file) {
  const std::string_view text = text_of(file);
  if (text.size() < 10) return std::string(text);
  const std::size_t first_data = std::min(text.find_first_not_of(' ', end_of_object(text, 8)), text.size());
  return repaired(file.subspan(first_data), text);
}

std::string repaired(bytes new_data, std::string_view file) {
  std::string head(file.substr(0, end_of_object(file, 8))), data(text_of(new_data));
  while (head.size() % 64 != 0) head += ' ';
  for (std::size_t i = 0; i < 8; ++i) head[i] = static_cast<char>((head.size() - 8) >> (8 * i));
  try {
    const rapt::safetensors::header index(std::as_bytes(std::span(head)).subspan(8), "");
    if (index.data_bytes() <= max_data_bytes) data.resize(static_cast<std::size_t>(index.data_bytes()));
    for (std::size_t i = 0; i < index.num_tensors(); ++i) {
      const auto tensor = index.tensor(i);
      if (tensor.end <= data.size())
        set_digits(head, "xxh3." + std::string(tensor.name), rapt_test::hex16(XXH3_64bits(data.data() + tensor.begin, tensor.end - tensor.begin)));
    }
    set_digits(head, "rapt.header_xxh3", std::string(16, '0'));
    set_digits(head, "rapt.header_xxh3", rapt_test::hex16(XXH3_64bits(head.data(), head.size())));
  } catch (const rapt::format_error&) {}
  return head + data;
}

}  // namespace rapt_fuzz

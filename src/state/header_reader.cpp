// From the JSON text to header's arena. nlohmann's parser keeps its nesting on the heap and reports each event, so duplicates are seen and nothing is
// built that the file did not pay for.
#include <state/header.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>

namespace rapt {
inline namespace v0 {
namespace safetensors {
namespace {

struct census {
  std::size_t num_strings = 0, string_bytes = 0, num_digits = 0;
};

/// Refuses what the JSON parser would let pass (a byte order mark, NUL and what follows it) and counts what storage will be needed.
census check_bytes(std::span<const std::byte> text, const std::string& where) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (at(0) != '{') raise(errc::format, where + "the header does not begin with '{'");
  census counts;
  std::size_t last = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = at(i);
    if (c < 0x20 && c != '\t' && c != '\n' && c != '\r')
      raise(errc::format, where + "control character " + std::to_string(c) + " at byte " + std::to_string(i) + " of the header");
    if (c > ' ') last = i;
    if (in_string) {
      ++counts.string_bytes;
      if (c == '\\')
        ++i, ++counts.string_bytes, last = i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
      ++counts.num_strings;
    } else if (c >= '0' && c <= '9') {
      ++counts.num_digits;
    }
  }
  if (last >= text.size() || at(last) != '}') raise(errc::format, where + "the header does not end with '}'");
  return counts;
}

}  // namespace

class header::reader : public nlohmann::json_sax<nlohmann::json> {
 public:
  reader(header& to, const std::string& where, std::size_t text_bytes) : to_(to), where_(where), text_bytes_(text_bytes) {}

  bool null() override {
    if (place_ == place::top && metadata_next_) return true;  // the reference implementation takes null for no metadata
    return scalar("null");
  }
  bool boolean(bool) override { return scalar("a boolean"); }
  bool number_integer(number_integer_t) override { return scalar("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return scalar("a number that is no integer below 2^64"); }
  bool binary(binary_t&) override { return scalar("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == place::offsets) {
      if (num_offsets_ == 2) refuse("data_offsets has more than two numbers");
      offsets_[num_offsets_++] = value;
      return true;
    }
    if (place_ != place::shape) return scalar("a number");
    if (tensor_.rank == max_rank) refuse("the rank exceeds 8");
    if (value > static_cast<std::uint64_t>(std::numeric_limits<index_t>::max())) refuse("extent " + std::to_string(value) + " exceeds 2^63 - 1");
    tensor_.extents[tensor_.rank++] = static_cast<index_t>(value);
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == place::metadata) {
      if (to_.metadata_.size() == max_entries) raise(errc::format, where_ + "more than 1000000 metadata entries");
      to_.metadata_.push_back(next_entry());
      put_text(name_);
      put_text(value);
      return true;
    }
    if (place_ != place::tensor || field_ != field::dtype) return scalar("a string");
    tensor_.type = find_element_type(value);
    if (!tensor_.type) refuse("dtype " + in_quotes(value) + " is not one that can be read");
    return true;
  }

  bool start_object(std::size_t) override {
    enter();
    switch (place_) {
      case place::start:
        place_ = place::top;
        return true;
      case place::top:
        if (metadata_next_) {
          place_ = place::metadata;
        } else {
          if (to_.by_offset_.size() == max_entries) raise(errc::format, where_ + "more than 1000000 tensors");
          place_ = place::tensor;
          tensor_ = {};
          seen_ = 0;
        }
        return true;
      default:
        return nested("an object");
    }
  }

  bool key(string_t& name) override {
    if (place_ == place::top) {
      metadata_next_ = name == "__metadata__";
      if (metadata_next_ && std::exchange(seen_metadata_, true)) raise(errc::format, where_ + "__metadata__ comes twice");
      name_ = std::move(name);
    } else if (place_ == place::metadata) {
      name_ = std::move(name);
    } else if (place_ == place::tensor) {
      field_ = name == "dtype" ? field::dtype : name == "shape" ? field::shape : name == "data_offsets" ? field::data_offsets : field::unknown;
      const unsigned bit = 1u << static_cast<unsigned>(field_);
      if (field_ != field::unknown && (seen_ & bit)) refuse(name + " comes twice");
      seen_ |= bit;
    }
    return true;
  }

  bool end_object() override {
    --depth_;
    if (place_ == place::ignored) {
      if (--ignored_depth_ == 0) place_ = place::tensor;
    } else if (place_ == place::tensor) {
      add_tensor();
      place_ = place::top;
    } else if (place_ == place::metadata) {
      place_ = place::top;
    }
    return true;
  }

  bool start_array(std::size_t) override {
    enter();
    if (place_ == place::tensor && field_ == field::shape) {
      place_ = place::shape;
    } else if (place_ == place::tensor && field_ == field::data_offsets) {
      place_ = place::offsets;
      num_offsets_ = 0;
    } else {
      return nested("an array");
    }
    return true;
  }

  bool end_array() override {
    --depth_;
    if (place_ == place::ignored) {
      if (--ignored_depth_ == 0) place_ = place::tensor;
      return true;
    }
    if (place_ == place::offsets && num_offsets_ != 2) refuse("data_offsets has fewer than two numbers");
    place_ = place::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    raise(errc::format, where_ + "the header is not valid JSON at its byte " + std::to_string(std::min(position, text_bytes_)));
  }

 private:
  enum class place { start, top, metadata, tensor, shape, offsets, ignored };
  enum class field : unsigned { dtype, shape, data_offsets, unknown };

  [[noreturn]] void refuse(const std::string& what) const { raise(errc::format, where_ + "tensor " + in_quotes(name_) + ": " + what); }

  void enter() {
    if (++depth_ > max_depth) raise(errc::format, where_ + "the header is nested more than 127 deep");
  }

  bool scalar(const char* what) const {
    switch (place_) {
      case place::ignored:
        return true;
      case place::tensor:
        if (field_ == field::unknown) return true;
        refuse((field_ == field::dtype   ? "dtype must be a string; "
                : field_ == field::shape ? "shape must be an array; "
                                         : "data_offsets must be an array; ") +
               (what + std::string(" came")));
      case place::shape:
        refuse(std::string("an extent must be an integer in [0, 2^63); ") + what + " came");
      case place::offsets:
        refuse(std::string("an offset must be an integer in [0, 2^64); ") + what + " came");
      case place::metadata:
        raise(errc::format, where_ + "metadata key " + in_quotes(name_) + ": the value must be a string; " + what + " came");
      case place::top:
      case place::start:
        break;
    }
    refuse(std::string("an object was needed; ") + what + " came");
  }

  bool nested(const char* what) {
    if (place_ != place::ignored) scalar(what);  // returns only within an unknown field, which is skipped as the reference implementation does
    place_ = place::ignored;
    ++ignored_depth_;
    return true;
  }

  std::uint32_t next_entry() const { return static_cast<std::uint32_t>(to_.arena_.size()); }
  void put_number(std::uint64_t value) {
    for (; value >= 128; value >>= 7) to_.arena_ += static_cast<char>(value | 128u);
    to_.arena_ += static_cast<char>(value);
  }
  void put_text(const std::string& text) {
    put_number(text.size());
    to_.arena_ += text;
  }

  void add_tensor() {
    constexpr const char* names[] = {"dtype", "shape", "data_offsets"};
    for (unsigned i = 0; i < 3; ++i)
      if (!(seen_ & (1u << i))) refuse(std::string(names[i]) + " is missing");
    to_.by_offset_.push_back(next_entry());
    put_text(name_);
    put_number(static_cast<std::uint64_t>(tensor_.type - find_element_type("F64")));
    put_number(static_cast<std::uint64_t>(tensor_.rank));
    for (int i = 0; i < tensor_.rank; ++i) put_number(static_cast<std::uint64_t>(tensor_.extents[i]));
    put_number(offsets_[0]);
    put_number(offsets_[1]);
  }

  header& to_;
  const std::string& where_;
  std::size_t text_bytes_;
  place place_ = place::start;
  field field_ = field::unknown;
  std::size_t depth_ = 0, ignored_depth_ = 0;
  bool metadata_next_ = false, seen_metadata_ = false;
  unsigned seen_ = 0;
  std::string name_;
  header_tensor tensor_;
  std::uint64_t offsets_[2] = {};
  std::size_t num_offsets_ = 0;
};

header::header(std::span<const std::byte> text, const std::string& where) {
  const census counts = check_bytes(text, where);
  // A tensor takes at least five strings of text and a metadata entry two; one allocation each, and none grows.
  const auto most = [](std::size_t n) { return std::min<std::size_t>(n, max_entries); };
  arena_.reserve(std::min(counts.string_bytes + 2 * counts.num_strings + counts.num_digits, text.size()));
  by_offset_.reserve(most(counts.num_strings / 5));
  metadata_.reserve(most(counts.num_strings / 2));

  const char* begin = reinterpret_cast<const char*>(text.data());
  reader sax(*this, where, text.size());
  nlohmann::json::sax_parse(begin, begin + text.size(), &sax);
  finish(where);
}

}  // namespace safetensors
}  // namespace v0
}  // namespace rapt

#include <core/flat_json.hpp>
#include <rapt/core/error.hpp>

#include <nlohmann/json.hpp>

namespace rapt {
inline namespace v0 {
namespace detail {

// Trees of a single number or string: these do not allocate when they go.
std::string json_number(double x) { return nlohmann::json(x).dump(); }

bool json_string(std::string_view text, std::string& quoted) {
  try {
    quoted = nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) { return false; }
}

std::string json_object(const json_members& members) {
  std::string text = "{";
  for (const auto& [key, value] : members) text += (text.size() > 1 ? ",\"" : "\"") + key + "\":" + value;
  return text + "}";
}

class flat_json::reader : public nlohmann::json_sax<nlohmann::json> {
 public:
  reader(std::map<std::string, json_value>& to, const std::string& where) : to_(to), where_(where) {}

  bool null() override { return put({json_value::kind::null, false, 0, 0, "null"}); }
  bool boolean(bool x) override { return put({json_value::kind::boolean, x, 0, 0, x ? "true" : "false"}); }
  bool number_integer(number_integer_t x) override { return put({json_value::kind::integer, false, x, static_cast<double>(x), std::to_string(x)}); }
  bool number_unsigned(number_unsigned_t x) override {
    const bool fits = x <= INT64_MAX;
    return put({fits ? json_value::kind::integer : json_value::kind::number, false, fits ? static_cast<index_t>(x) : 0, static_cast<double>(x),
                std::to_string(x)});
  }
  bool number_float(number_float_t x, const string_t& text) override { return put({json_value::kind::number, false, 0, x, text}); }
  bool string(string_t& x) override { return put({json_value::kind::string, false, 0, 0, x}); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open({json_value::kind::object, false, 0, 0, "an object"}, -1); }
  bool start_array(std::size_t) override { return open({json_value::kind::array, false, 0, 0, "an array"}, 0); }
  bool end_object() override { return levels_.pop_back(), true; }
  bool end_array() override { return levels_.pop_back(), true; }
  bool key(string_t& name) override {
    levels_.back().key = name;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    raise(errc::format, where_ + "not JSON at byte " + std::to_string(position));
  }

 private:
  struct level {
    std::string prefix, key;
    index_t next;  ///< index of the next element of an array; -1: an object
  };
  std::string path() {
    level& top = levels_.back();
    return top.prefix + (top.next < 0 ? top.key : std::to_string(top.next++));
  }
  bool put(json_value value) {
    if (levels_.empty()) raise(errc::format, where_ + "an object is needed");
    const std::string at = path();
    if (!to_.emplace(at, std::move(value)).second) raise(errc::format, where_ + at.substr(0, 120) + " comes twice");
    return true;
  }
  bool open(json_value value, index_t next) {
    if (levels_.size() == 8) raise(errc::format, where_ + "nested more than 8 deep");
    if (levels_.empty()) {
      if (next == 0) raise(errc::format, where_ + "an object is needed");
      levels_.push_back({"", "", next});
      return true;
    }
    level inner{levels_.back().prefix + (levels_.back().next < 0 ? levels_.back().key : std::to_string(levels_.back().next)) + ".", "", next};
    put(std::move(value));
    levels_.push_back(std::move(inner));
    return true;
  }

  std::map<std::string, json_value>& to_;
  const std::string& where_;
  std::vector<level> levels_;
};

flat_json::flat_json(std::string_view text, const std::string& where) {
  constexpr std::size_t longest = 1 << 16;  // a config has about 500 bytes
  // The parser would skip a byte order mark and stop at a NUL.
  if (text.size() > longest || text.empty() || text[0] != '{' || text.find('\0') != std::string_view::npos)
    raise(errc::format, where + "a JSON object of at most 65536 bytes is needed");
  reader sax(values_, where);
  nlohmann::json::sax_parse(text.begin(), text.end(), &sax);
}

const json_value* flat_json::find(const std::string& path) {
  known_.insert(path);
  const auto found = values_.find(path);
  return found == values_.end() || found->second.is == json_value::kind::null ? nullptr : &found->second;
}

std::string flat_json::first_unknown() const {
  for (const auto& [path, value] : values_)
    if (!known_.count(path)) return path;
  return {};
}

}  // namespace detail
}  // namespace v0
}  // namespace rapt

// Small JSON texts without a tree: nlohmann's tree allocates in its destructor, so that lack of memory there ends the process.
#pragma once
#include <rapt/core/index.hpp>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rapt {
inline namespace v0 {
namespace detail {

/// Shortest text that reads back as the same double: "0.1", "100000.0", "1e-05".
std::string json_number(double x);
/// Quoted and escaped; false where the text is not UTF-8.
bool json_string(std::string_view text, std::string& quoted);

/// Keys and the texts of their values, in the order of the keys.
using json_members = std::vector<std::pair<std::string, std::string>>;
std::string json_object(const json_members& members);

struct json_value {
  enum class kind { null, boolean, integer, number, string, object, array } is = kind::null;
  bool truth = false;
  index_t integer = 0;
  double number = 0;  ///< of integers too
  std::string text;   ///< of strings, and for messages of everything else
};

/// An object taken apart: "rope.theta", "window.0", "rope" -> their values. Keys that were never asked for can be found at the end.
class flat_json {
 public:
  /// format_error beginning with `where` for what is no JSON object of at most 65536 bytes, nested at most 8 deep, without duplicate keys.
  flat_json(std::string_view text, const std::string& where);

  /// nullptr where the key is absent or null.
  const json_value* find(const std::string& path);
  /// The first path that find() was never called for; empty: none.
  std::string first_unknown() const;

 private:
  class reader;
  std::map<std::string, json_value> values_;
  std::set<std::string> known_;
};

}  // namespace detail
}  // namespace v0
}  // namespace rapt

// Reads one JSON object strictly: every member has the kind that is asked for, and members that nobody asked for are refused.
#pragma once
#include <parity/case_file.hpp>

#include <nlohmann/json.hpp>

#include <set>

namespace parity {

class object_reader {
 public:
  using json = nlohmann::json;

  /// `where` begins every message: "step 3 (forward)".
  object_reader(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) throw refusal(where_ + " is " + object.dump().substr(0, 80) + "; an object is needed");
  }

  const json& required(const std::string& key) {
    asked_.insert(key);
    const auto found = object_.find(key);
    if (found == object_.end()) throw refusal(where_ + " lacks the key '" + key + "'");
    return *found;
  }
  /// Nothing where the member is absent or null.
  const json* optional(const std::string& key) {
    asked_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  std::string text(const std::string& key) { return text_of(key, required(key)); }
  index_t integer(const std::string& key) { return integer_of(key, required(key)); }
  bool truth(const std::string& key) {
    const json* value = optional(key);
    if (!value) return false;
    if (!value->is_boolean()) refuse(key, *value, "true or false");
    return value->get<bool>();
  }
  name optional_text(const std::string& key) {
    const json* value = optional(key);
    return value ? name(text_of(key, *value)) : std::nullopt;
  }
  std::optional<index_t> optional_integer(const std::string& key) {
    const json* value = optional(key);
    return value ? std::optional(integer_of(key, *value)) : std::nullopt;
  }
  std::vector<std::string> texts(const std::string& key) {
    std::vector<std::string> all;
    for (const json& value : array_of(key, required(key))) all.push_back(text_of(key, value));
    return all;
  }
  std::vector<index_t> integers(const std::string& key) { return integers_of(key, required(key)); }

  void require_all_known() const {
    for (const auto& [key, value] : object_.items())
      if (!asked_.contains(key)) throw refusal(where_ + ": the key '" + key + "' is not known");
  }
  [[noreturn]] void refuse(const std::string& key, const json& came, const std::string& needed) const {
    throw refusal(where_ + ": '" + key + "' is " + came.dump().substr(0, 80) + "; " + needed + " is needed");
  }
  std::string text_of(const std::string& key, const json& value) const {
    if (!value.is_string()) refuse(key, value, "a string");
    return value.get<std::string>();
  }
  index_t integer_of(const std::string& key, const json& value) const {
    if (!value.is_number_integer()) refuse(key, value, "an integer");
    return value.get<index_t>();
  }
  const json& array_of(const std::string& key, const json& value) const {
    if (!value.is_array()) refuse(key, value, "an array");
    return value;
  }
  std::vector<index_t> integers_of(const std::string& key, const json& value) const {
    std::vector<index_t> all;
    for (const json& number : array_of(key, value)) all.push_back(integer_of(key, number));
    return all;
  }
  const std::string& where() const { return where_; }

 private:
  const json& object_;
  std::string where_;
  std::set<std::string> asked_;
};

}  // namespace parity

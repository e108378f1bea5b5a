// The steps of a case, from JSON.
#pragma once
#include <parity/case_file.hpp>

#include <nlohmann/json.hpp>

namespace parity {

/// `config` is the case's own, to which a construct step names differences. Throws refusal.
step read_step(const nlohmann::json& from, const nlohmann::json& config, std::size_t number);

/// What config_from_json reads: the members that describe weights ("bias", "sinks") are taken out. Throws refusal for keys that no case has.
std::string config_text(nlohmann::json config, const std::string& where);

}  // namespace parity

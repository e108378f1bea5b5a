// A config as JSON: in state files, in fingerprints and in parity cases.
#pragma once
#include <rapt/attention/config.hpp>

#include <string>
#include <string_view>

namespace rapt {
inline namespace v0 {

/// One line, keys sorted, every field but numerics; equal configs give equal text. Options that are off are null; of rope.scaling only the fields
/// that its kind reads, under Hugging Face's names.
RAPT_API std::string to_json(const attention_config& config);
/// The reverse; absent keys take their defaults. Throws format_error where the text is no JSON, config_error for keys that are not known (nor are
/// "bias" and "sinks", which describe weights), values of the wrong kind and "dynamic" scaling. Does not check().
RAPT_API attention_config config_from_json(std::string_view text);

}  // namespace v0
}  // namespace rapt

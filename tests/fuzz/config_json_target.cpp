#include <fuzz/targets.hpp>
#include <rapt/attention/config_json.hpp>
#include <rapt/core/error.hpp>

namespace rapt_fuzz {

void config_json(bytes input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  try {
    const rapt::attention_config config = rapt::config_from_json(text);
    const std::string written = rapt::to_json(config);
    expect(rapt::to_json(rapt::config_from_json(written)) == written, "a config that was written reads back as the same");
    expect(rapt::difference(config, config).empty(), "a config does not differ from itself");
    const rapt::failure found = rapt::check(config);
    try {
      const rapt::attention_config resolved = rapt::resolve(config);
      expect(!found, "resolve() throws what check() finds");
      expect(rapt::to_json(rapt::resolve(resolved)) == rapt::to_json(resolved), "a resolved config is resolved");
      expect(!rapt::check(resolved), "a resolved config can be checked");
    } catch (const rapt::config_error&) { expect(static_cast<bool>(found), "check() finds what resolve() throws"); }
  } catch (const rapt::format_error&) {
  } catch (const rapt::config_error&) {}
}

}  // namespace rapt_fuzz

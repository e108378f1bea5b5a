// What is done with one input of a fuzzer. A target returns where the input is refused as documented, or accepted and consistent; it throws finding
// otherwise. Crashes, hangs and what sanitizers see are findings as well. entry.cpp hands a target to libFuzzer, corpus_test.cpp replays the corpora.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

namespace rapt_fuzz {

struct finding : std::logic_error {
  using std::logic_error::logic_error;
};
inline void expect(bool holds, const std::string& what) {
  if (!holds) throw finding(what);
}

using bytes = std::span<const std::byte>;

/// The text of a header.
void header(bytes input);
/// A file as anybody's.
void third_party(bytes input);
/// A config as JSON.
void config_json(bytes input);
/// A state, as it is and repaired (repair.hpp), into every kind of receiver; what was loaded is saved again and compared.
void load_state(bytes input);
/// A state, repaired - or the data of a golden one, where no state can be made of it - and then a forward of the module or with the cache that came
/// out of it.
void load_forward(bytes input);
/// Inputs from which it computed an answer; the others only met the reader.
inline std::uint64_t num_answered = 0;

}  // namespace rapt_fuzz

// The CPU's instruction sets, with a context of one thread and one of two for each.
#include <parity/replay_on.hpp>
#include <support/cpu_placement.hpp>

namespace parity {

std::vector<target> targets(const std::vector<std::string>& wanted) {
  std::vector<target> all;
  for (const rapt::cpu::isa set : rapt::cpu::available_isas()) {
    const std::string name(rapt::cpu::name_of(set));
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
    auto contexts = std::make_shared<std::vector<rapt::cpu::context>>();
    for (const int threads : {1, 2}) contexts->emplace_back(rapt::cpu::context_options{.num_threads = threads, .instruction_set = set});
    all.push_back({name, [contexts](const case_file& c, dtype activations, dtype kv_dtype, int num_threads) {
                     return replay_on((*contexts)[static_cast<std::size_t>(num_threads - 1)], c, activations, kv_dtype);
                   }});
  }
  for (const std::string& name : wanted)
    if (std::none_of(all.begin(), all.end(), [&](const target& t) { return t.name == name; }))
      throw refusal("--isa " + name + ": this processor, or this build, has no such instruction set");
  return all;
}

}  // namespace parity

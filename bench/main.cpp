// rapt_bench: Google Benchmark's options, and --threads=N (default: all processors) and --small (only small shapes). Returns 1 where a bench could not
// verify its answer.
#include <support.hpp>

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace {

/// A field of /proc/cpuinfo.
std::string cpu_field(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key + "\t") || line.starts_with(key + " :")) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown";
}

/// Machines whose times can be compared: "amd-epyc-25-1-avx2-2-threads". Family and model stand beside a name that virtual machines cut short.
std::string machine_class() {
  const rapt::cpu::context& ctx = bench::context();
  const std::string text = cpu_field("model name") + " " + cpu_field("cpu family") + " " + cpu_field("model") + " " +
                           std::string(name_of(ctx.instruction_set())) + " " + std::to_string(ctx.num_workers()) + " threads";
  std::string name;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c))) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!name.empty() && name.back() != '-') name += '-';
  }
  return name;
}

/// Takes this program's own options out of argv; the rest is Google Benchmark's.
void take_options(int& argc, char** argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--small") == 0) bench::options().small = true;
    else if (std::strncmp(argv[i], "--threads=", 10) == 0) bench::options().num_threads = std::atoi(argv[i] + 10);
    else argv[kept++] = argv[i];
  }
  argc = kept;
}

}  // namespace

int main(int argc, char** argv) {
  take_options(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  bench::add_forward_benches();
  bench::add_heads_benches();
  bench::add_memory_benches();
  bench::add_decode_benches();
  bench::add_cache_benches();
  bench::add_state_benches();
  benchmark::AddCustomContext("machine_class", machine_class());
  benchmark::AddCustomContext("rapt_version", RAPT_VERSION_STRING);
  benchmark::AddCustomContext("rapt_numerics", std::string(bench::context().numerics()));
  if (benchmark::RunSpecifiedBenchmarks() == 0) {
    std::fprintf(stderr, "rapt_bench: no bench matches the filter\n");
    return 1;
  }
  benchmark::Shutdown();
  if (bench::num_failed() > 0) std::fprintf(stderr, "rapt_bench: wrong answers, see ERROR OCCURRED above\n");
  return bench::num_failed() > 0 ? 1 : 0;
}

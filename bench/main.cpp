// rapt_bench: Google Benchmark's options, and --threads=N (default: all processors) and --small (only small shapes). Returns 1 where a bench could
// not verify its answer. Says at the end how busy other programs kept the machine meanwhile.
#include <support.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <cctype>
#include <chrono>
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
    if (std::isalnum(static_cast<unsigned char>(c)))
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!name.empty() && name.back() != '-')
      name += '-';
  }
  return name;
}

/// Processor seconds that everything but this process has used since the machine started. The kernel counts them in ticks of 10 ms.
double seconds_of_others() {
  std::ifstream file("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, irq = 0, softirq = 0, steal = 0;
  file >> cpu >> user >> nice >> system >> idle >> waiting >> irq >> softirq >> steal;
  rusage own{};
  getrusage(RUSAGE_SELF, &own);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return (user + nice + system + irq + softirq + steal) / static_cast<double>(sysconf(_SC_CLK_TCK)) - seconds(own.ru_utime) - seconds(own.ru_stime);
}

/// Takes this program's own options out of argv; the rest is Google Benchmark's.
void take_options(int& argc, char** argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--small") == 0)
      bench::options().small = true;
    else if (std::strncmp(argv[i], "--threads=", 10) == 0)
      bench::options().num_threads = std::atoi(argv[i] + 10);
    else
      argv[kept++] = argv[i];
  }
  argc = kept;
}

}  // namespace

int main(int argc, char** argv) {
  take_options(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  bench::add_forward_benches();
  bench::add_attend_benches();
  bench::add_heads_benches();
  bench::add_memory_benches();
  bench::add_decode_benches();
  bench::add_cost_benches();
  bench::add_cache_benches();
  bench::add_state_benches();
  benchmark::AddCustomContext("machine_class", machine_class());
  benchmark::AddCustomContext("rapt_version", RAPT_VERSION_STRING);
  benchmark::AddCustomContext("rapt_numerics", std::string(bench::context().numerics()));
  const double others = seconds_of_others();
  const auto start = std::chrono::steady_clock::now();
  if (benchmark::RunSpecifiedBenchmarks() == 0) {
    std::fprintf(stderr, "rapt_bench: no bench matches the filter\n");
    return 1;
  }
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::fprintf(stderr, "rapt_bench: processors kept busy by others: %.2f\n", std::max(0.0, (seconds_of_others() - others) / elapsed));
  benchmark::Shutdown();
  if (bench::num_failed() > 0) std::fprintf(stderr, "rapt_bench: wrong answers, see ERROR OCCURRED above\n");
  return bench::num_failed() > 0 ? 1 : 0;
}

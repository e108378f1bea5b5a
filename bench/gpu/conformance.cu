// What every wrapper of kernels/simt/ gives: on a device where nvcc compiled this, in the emulator otherwise.
//
// usage: conformance OUT           writes the answers to OUT
//        conformance OUT --sweep S also those of exp2 over [-2, -1), as differences in ulp from the nearest float: 2^23 bytes
//        conformance A B           compares two such files
//        conformance --hashes A    prints a hash of each probe's answers, as JSON: what tests/kernels compares the emulator with
//
// For devices, RAPT_SM_90A says that it is compiled for sm_90a, whose instructions have probes of their own; the emulator has all.
#if !defined(__CUDACC__) || defined(RAPT_SM_90A)
#define RAPT_HOPPER_PROBES 1
#include <bench/gpu/hopper_probes.hpp>
#endif
#include <bench/gpu/probes.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>

namespace {

using namespace rapt_bench;

std::int64_t ordered(std::uint32_t bits) { return (bits & 0x80000000u) != 0 ? -static_cast<std::int64_t>(bits & 0x7fffffffu) : bits; }

int compare(const records& left, const records& right) {
  std::printf("%-48s %9s %9s %s\n", "probe", "words", "differ", "largest difference, in units of the last place");
  std::size_t differ_in_all = 0;
  for (const auto& [name, words] : left) {
    const auto other = right.find(name);
    if (other == right.end() || other->second.size() != words.size()) {
      std::printf("%-48s is not in both\n", name.c_str());
      ++differ_in_all;
      continue;
    }
    std::size_t differ = 0;
    std::int64_t largest = 0;
    for (std::size_t i = 0; i < words.size(); ++i) {
      differ += words[i] != other->second[i];
      largest = std::max(largest, std::abs(ordered(words[i]) - ordered(other->second[i])));
    }
    differ_in_all += differ;
    std::printf("%-48s %9zu %9zu %lld\n", name.c_str(), words.size(), differ, static_cast<long long>(largest));
  }
  return differ_in_all == 0 ? 0 : 1;
}

void print_hashes(const records& all) {
  const char* separator = "{";
  for (const auto& [name, words] : all) {
    std::printf("%s\n  \"%s\": \"%016llx\"", separator, name.c_str(), static_cast<unsigned long long>(hash(words)));
    separator = ",";
  }
  std::printf("\n}\n");
}

void write_sweep(const std::string& path) {
  const auto answers = exp2_sweep();
  std::vector<char> differences(answers.size());
  for (std::uint32_t i = 0; i < answers.size(); ++i) {
    const auto nearest = static_cast<float>(std::exp2(static_cast<double>(float_from(0xbf800000u + i))));
    differences[i] = static_cast<char>(ordered(answers[i]) - ordered(bits(nearest)));
  }
  std::ofstream file(path, std::ios::binary);
  file.write(differences.data(), static_cast<std::streamsize>(differences.size()));
  if (!file.flush()) throw std::runtime_error(path + " can not be written");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string first = argc > 1 ? argv[1] : "", second = argc > 2 ? argv[2] : "";
    if (argc < 2 || (second == "--sweep" && argc < 4)) {
      std::fprintf(stderr, "usage: conformance OUT [--sweep S] | conformance A B | conformance --hashes A\n");
      return 2;
    }
    if (first == "--hashes") return print_hashes(read_records(second)), 0;
    if (argc == 3) return compare(read_records(argv[1]), read_records(argv[2]));
    records all = run_probes();
#ifdef RAPT_HOPPER_PROBES
    all.merge(run_hopper_probes());
#endif
    write_records(argv[1], all);
    if (second == "--sweep") write_sweep(argv[3]);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "conformance: %s\n", e.what());
    return 1;
  }
}

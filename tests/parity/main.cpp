// rapt_parity DIR: replays every parity case under a folder and prints how far each result is from the truth. docs/parity.md explains the table.
#include <parity/report.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <filesystem>
#include <iostream>

namespace parity {
namespace {

struct arguments {
  std::string folder, json;
  std::vector<std::string> activations, kv, isas;
  bool quiet = false;
};

/// Under the folder, in the order of their paths. A single file is a folder of one.
std::vector<std::filesystem::path> case_paths(const std::filesystem::path& folder) {
  if (std::filesystem::is_regular_file(folder)) return {folder};
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == ".safetensors") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// The cache dtypes in which a case is replayed with activations T: its own, and those asked for.
std::vector<dtype> kv_dtypes_of(const case_file& c, dtype activations, const std::vector<std::string>& asked) {
  std::vector<dtype> all = c.kv_dtypes.empty() ? std::vector{activations} : c.kv_dtypes;
  if (c.has_module())
    for (const std::string& text : asked) all.push_back(dtype_named(text));
  std::vector<dtype> kept;
  for (const dtype type : all) {
    const bool possible = type != dtype::f64 || activations == dtype::f64;
    if (possible && std::find(kept.begin(), kept.end(), type) == kept.end()) kept.push_back(type);
  }
  return kept;
}

bool is_asked_for(const std::vector<std::string>& asked, dtype type) {
  return asked.empty() || std::find(asked.begin(), asked.end(), rapt::name_of(type)) != asked.end();
}

int run(const arguments& args) {
  report table(std::cout, args.quiet);
  const std::vector<target> all = targets(args.isas);
  for (const auto* texts : {&args.activations, &args.kv})
    for (const std::string& text : *texts) dtype_named(text);
  const std::vector<std::filesystem::path> paths = case_paths(args.folder);
  auto last_word = std::chrono::steady_clock::now();
  std::size_t turn = 0;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const std::string shown = std::filesystem::is_directory(args.folder)
                                  ? std::filesystem::relative(paths[i], args.folder).replace_extension().string()
                                  : paths[i].stem().string();
    if (const auto now = std::chrono::steady_clock::now(); now - last_word > std::chrono::seconds(10)) {
      last_word = now;
      std::cerr << "parity: case " << i + 1 << " of " << paths.size() << ", " << shown << std::endl;
    }
    std::optional<case_file> c;
    try {
      c = read_case(paths[i].string());
    } catch (const std::exception& e) {
      row r;
      r.case_name = shown, r.refused = true;
      r.result.failures.push_back(std::string("refused: ") + e.what());
      table.add(std::move(r));
      continue;
    }
    for (const dtype activations : c->dtypes) {
      if (!is_asked_for(args.activations, activations)) continue;
      for (const dtype kv_dtype : kv_dtypes_of(*c, activations, args.kv)) {
        ++turn;  // so that every instruction set sees both numbers of threads
        for (std::size_t isa = 0; isa < all.size(); ++isa) {
          row r;
          r.case_name = shown, r.isa = all[isa].name, r.activations = activations, r.kv_dtype = kv_dtype;
          r.num_threads = 1 + static_cast<int>((turn + isa) % 2);
          r.result = all[isa].replay(*c, activations, kv_dtype, r.num_threads);
          table.add(std::move(r));
        }
      }
    }
  }
  if (!args.json.empty()) table.write_json(args.json);
  return table.finish(static_cast<index_t>(paths.size()));
}

}  // namespace
}  // namespace parity

int main(int argc, char** argv) {
  parity::arguments args;
  CLI::App app("Replays parity cases (fixtures/README.md) and compares with their float64 truth.");
  app.add_option("folder", args.folder, "folder of *.safetensors, searched with its subfolders, or one file")->required()->check(CLI::ExistingPath);
  app.add_option("--activations", args.activations, "replay with these of a case's dtypes alone: f64, f32, f16, bf16")->delimiter(',');
  app.add_option("--kv", args.kv, "replay each module also with these cache dtypes: f64, f32, f16, bf16")->delimiter(',');
  app.add_option("--isa", args.isas, "instruction sets: portable, avx2, avx3, avx3_dl; default all that this processor has")->delimiter(',');
  app.add_option("--json", args.json, "write every comparison to this file");
  app.add_flag("--quiet", args.quiet, "print failures and the summary alone");
  CLI11_PARSE(app, argc, argv);
  try {
    return parity::run(args);
  } catch (const std::exception& e) {
    std::cerr << "rapt_parity: " << e.what() << "\n";
    return 1;
  }
}

// rapt-state: looks at state files from a shell (docs/rapt-state.1). Exit status 0: fine; 1: a bad file, a difference, an answer that could not be
// written; 2: a command line that is not understood. A bad file gives one line on stderr.
#include <CLI/CLI.hpp>

#include <iostream>
#include <tools/rapt_state/commands.hpp>

namespace {

constexpr int fine = 0, bad = 1, usage = 2;

int complain(const std::string& message) {
  std::cerr << "rapt-state: " << rapt_state::printable(message) << '\n';
  return bad;
}

/// All files are looked at, also behind a bad one.
int verify_all(const std::vector<std::string>& paths, bool must_be_state, bool quiet) {
  int status = fine;
  for (const std::string& path : paths) {
    try {
      const std::string checked = rapt_state::verify(path, must_be_state);
      if (!quiet) std::cout << rapt_state::printable(path) << ": " << checked << '\n';
    } catch (const std::exception& e) { status = complain(e.what()); }
  }
  return status;
}

int run(int argc, char** argv) {
  CLI::App app("Looks at state files of rapt, and at other safetensors files.", "rapt-state");
  app.footer("Exit status: 0 fine; 1 a bad file, or a difference; 2 wrong usage. See rapt-state(1).");
  app.set_version_flag("--version", RAPT_VERSION_STRING);
  app.require_subcommand(1);

  std::string first, second;
  std::vector<std::string> files;
  bool as_json = false, must_be_state = false, quiet = false;
  rapt_state::import_options options;

  CLI::App* const inspect = app.add_subcommand("inspect", "Tell what a file holds: kind, config, layers, sequences, tensors");
  inspect->add_option("FILE", first)->required();
  inspect->add_flag("--json", as_json, "One JSON object instead of text");

  CLI::App* const verify = app.add_subcommand("verify", "Check format, checksums and contents");
  verify->add_option("FILE", files)->required();
  verify->add_flag("--state", must_be_state, "Files without rapt's checksums are bad");
  verify->add_flag("-q,--quiet", quiet, "Say nothing of good files");

  CLI::App* const diff = app.add_subcommand("diff", "Name the tensors and metadata that differ, with the first difference of each");
  diff->add_option("A", first)->required();
  diff->add_option("B", second)->required();

  CLI::App* const exported = app.add_subcommand("export", "Write a state's tensors as a plain safetensors file");
  exported->add_option("STATE", first)->required();
  exported->add_option("FILE", second)->required();

  CLI::App* const imported = app.add_subcommand("import", "Write a state from a plain safetensors file");
  imported->add_option("FILE", first)->required();
  imported->add_option("STATE", second)->required();
  imported->add_option("--layout", options.layout, "Whose names the weights have")
      ->check(CLI::IsMember({"state", "hugging-face", "torch", "tabpfn"}))
      ->capture_default_str();
  imported->add_option("--prefix", options.prefix, "What stands before those names: model.layers.0.self_attn.");
  imported->add_option("--config", options.config, "The module's config as JSON (default: the file's metadata key `config`)");
  imported->add_option(
      "--numerics", options.numerics,
      "Order of operations that made the contents (default: the metadata key `numerics`; where there is none, cpu-v1 for weights and "
      "static keys and values, and nothing else is taken)");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? fine : usage; }

  int status = fine;
  if (*inspect) rapt_state::inspect(first, as_json, std::cout);
  if (*verify) status = verify_all(files, must_be_state, quiet);
  if (*diff && !rapt_state::compare(first, second, std::cout)) status = bad;
  if (*exported) rapt_state::export_plain(first, second);
  if (*imported) rapt_state::import_plain(first, second, options);
  if (!std::cout.flush()) return complain("standard output could not be written");
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) { return complain(e.what()); }
}

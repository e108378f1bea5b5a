#include <fuzz/loadable.hpp>
#include <fuzz/repair.hpp>
#include <rapt/cpu/context.hpp>

#include <filesystem>
#include <fstream>
#include <set>

namespace rapt_fuzz {
namespace {

/// Errors of a caller that a file can bring about: a config that the activations can not compute, weights without keys.
template <class Call>
bool computed(Call call) {
  try {
    call();
    return true;
  } catch (const rapt::config_error&) {
  } catch (const rapt::format_error&) {
  } catch (const rapt::state_error&) {
  } catch (const rapt::shape_error&) {}
  return false;
}

/// Whether any answer was computed.
template <class T>
bool forward_all(rapt::cpu::context& ctx, bytes file, const loadable& what) {
  bool any = false;
  rapt::multi_head_attention<T> module = [&] {
    if (what.has_weights) return rapt::load_module<T>(ctx, file);
    return rapt::multi_head_attention<T>(ctx, what.config, rapt::random_weights<T>(what.config, 1).views);
  }();
  const rapt::index_t width = module.config().model_dim, out = module.config().output_dim;
  std::vector<T> x(static_cast<std::size_t>(2 * width), T(0.5)), y(static_cast<std::size_t>(2 * out));
  const auto rows = [&](rapt::index_t count) { return rapt::view(static_cast<const T*>(x.data()), count, width); };
  const auto outputs = [&](rapt::index_t count) { return rapt::view(y.data(), count, out); };

  if (what.num_sequences > 0) {
    rapt::kv_cache cache(ctx, module.config(), what.limits());
    std::vector<rapt::sequence> all;
    if (accepted([&] { rapt::load_state(ctx, file, cache, all); })) {
      for (const rapt::sequence& s : all)
        any |= computed([&] {
          const rapt::index_t before = s.kv_len();
          rapt::step step = cache.begin_step({{s, 2}});
          for (rapt::index_t l = 0; l < what.num_layers; ++l) module.forward(ctx, rows(2), step.layer(l), outputs(2), {.accept_other_weights = true});
          step.commit();
          expect(s.kv_len() == before + 2, "a forward appends its rows");
        });
    }
  }
  for (const bool is_static : {false, true}) {
    if (!(is_static ? what.has_static : what.has_projected)) continue;
    rapt::projected_kv kv(ctx, module.config());
    if (!accepted_whole([&] { is_static ? rapt::load_static_kv(ctx, file, kv) : rapt::load_state(ctx, file, kv); }) || kv.batch() > 64) continue;
    any |= computed([&] {
      std::vector<T> many(static_cast<std::size_t>(kv.batch() * width), T(0.25)), answers(static_cast<std::size_t>(kv.batch() * out));
      module.forward(ctx, rapt::view(static_cast<const T*>(many.data()), kv.batch(), 1, width), rapt::stored(kv),
                     rapt::view(answers.data(), kv.batch(), 1, out), {.accept_other_weights = true});
    });
  }
  any |= computed([&] { module.forward(ctx, rows(2), rapt::self_kv{}, outputs(2)); });
  return any;
}

/// One of each kind.
const std::vector<std::string>& golden_files() {
  static const std::vector<std::string> all = [] {
    std::set<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(RAPT_SOURCE_DIR "/fixtures/golden")) paths.insert(entry.path());
    std::vector<std::string> files;
    for (const std::filesystem::path& path : paths) {
      std::ifstream from(path, std::ios::binary);
      files.emplace_back(std::istreambuf_iterator<char>(from), std::istreambuf_iterator<char>());
    }
    return files;
  }();
  return all;
}

}  // namespace

void load_forward(bytes input) {
  static rapt::cpu::context ctx({.num_threads = 1});
  std::string whole = repaired(input);
  const auto file = [&] { return std::as_bytes(std::span(whole)); };
  std::optional<loadable> what = loadable_of(file());
  // What is refused as a file is data for one that is not: most inputs are, and no answer would be computed from them. An eighth, because an answer
  // takes ten times as long as a refusal.
  const auto first = input.empty() ? std::size_t{1} : static_cast<std::size_t>(input[0]);
  if (!what && first % 8 == 0) {
    whole = repaired(input, golden_files()[first / 8 % golden_files().size()]);
    what = loadable_of(file());
  }
  if (!what) return;
  computed([&] {
    const bool any = *what->config.kv_dtype == rapt::dtype::f64 ? forward_all<double>(ctx, file(), *what) : forward_all<float>(ctx, file(), *what);
    num_answered += any ? 1 : 0;
  });
}

}  // namespace rapt_fuzz

// Writes text with SmolLM2-135M-Instruct: prompt, token by token, saved half-way, resumed by another process.
//
//   generate --prompt "Once upon a time" --tokens 64
//   generate --prompt "What is the capital of France?" --chat
//   generate --prompt "Once upon a time" --tokens 64 --save half.safetensors --save-after 32
//   generate --resume half.safetensors --tokens 32
//
// The text goes to stdout, everything about it to stderr.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "check.hpp"
#include "sampler.hpp"
#include "session.hpp"

namespace {

struct options {
  std::string models = ".models", prompt = "Once upon a time, there was a", kv_dtype = "f32", save, resume, check;
  int tokens = 64, threads = 2, save_after = 0;
  double temperature = 0;
  std::uint64_t seed = 1;
  bool chat = false, ids = false, logits_hash = false, explain = false;
};

rapt::dtype kv_dtype_of(const options& o) {
  return o.kv_dtype == "f16" ? rapt::dtype::f16 : o.kv_dtype == "bf16" ? rapt::dtype::bf16 : rapt::dtype::f32;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void print_ids(const char* what, std::span<const generate::token_id> ids) {
  std::fprintf(stderr, "%s", what);
  for (const auto id : ids) std::fprintf(stderr, " %d", id);
  std::fprintf(stderr, "\n");
}

void report_cache(const generate::session& text) {
  rapt::attention_config replicated = text.cache().config();
  replicated.num_kv_heads = replicated.num_heads;
  const double mb = 1e-6, used = double(text.kv_len()) / double(text.cache().capacity());
  std::fprintf(
      stderr, "cache: %lld tokens in 30 layers, %s, %.2f MB of %.2f MB; with keys and values replicated per query head it would be %.2f MB\n",
      static_cast<long long>(text.kv_len()), std::string(rapt::name_of(*text.cache().config().kv_dtype)).c_str(),
      mb * used * double(text.cache().bytes()), mb * double(text.cache().bytes()), mb * double(rapt::cache_bytes(replicated, text.cache().limits())));
}

int run(const options& o) {
  const rapt::thread_pool threads(o.threads);
  rapt::cpu::context ctx({.pool = threads.get()});
  const generate::tokenizer tokenizer(o.models + "/smollm2-135m-tokenizer.txt");
  generate::decoder model(ctx, threads.get(), o.models + "/smollm2-135m-f16.safetensors", kv_dtype_of(o));
  if (!o.check.empty()) return generate::check(ctx, model, tokenizer, o.check);

  const auto prompt = tokenizer.encode(o.chat ? generate::chat_prompt(o.prompt) : o.prompt);
  if (prompt.empty() && o.resume.empty()) throw std::runtime_error("the prompt is empty");
  std::size_t saved_len = 0;
  if (!o.resume.empty()) saved_len = generate::saved_ids(o.resume).size();
  const auto max_tokens = static_cast<rapt::index_t>(std::max(prompt.size(), saved_len)) + o.tokens;
  if (max_tokens > generate::decoder::max_positions)
    throw std::runtime_error(std::to_string(max_tokens) + " tokens were asked for; the model has " +
                             std::to_string(generate::decoder::max_positions) + " positions");
  generate::session text(ctx, model, max_tokens);
  generate::sampler sampler(o.temperature, o.seed);

  const auto start = std::chrono::steady_clock::now();
  std::span<const float> logits;
  std::uint64_t hash = 0;
  const auto take = [&](std::span<const float> next) {
    logits = next;
    hash = hash * 1099511628211u ^ common::hash_bits(logits.data(), logits.size());
  };
  if (o.resume.empty()) {
    take(text.feed(ctx, prompt));
    std::fprintf(stderr, "prompt: %zu tokens, %.1f tokens/s\n", prompt.size(), double(prompt.size()) / seconds_since(start));
    if (o.ids) print_ids("prompt ids:", prompt);
  } else {
    text.load(ctx, o.resume);
    std::fprintf(stderr, "resumed: %zu tokens from %s in %.3f s\n", text.ids().size(), o.resume.c_str(), seconds_since(start));
    take(text.advance(ctx));
  }

  const std::size_t first = text.ids().size();
  const auto decode_start = std::chrono::steady_clock::now();
  int written = 0;
  double saving = 0;
  for (; written < o.tokens; ++written) {
    const generate::token_id id = sampler.next(logits);
    text.choose(id);
    const std::string_view bytes = id == generate::end_of_turn ? "" : tokenizer.bytes(id);
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    std::fflush(stdout);
    if (!o.save.empty() && written + 1 == o.save_after) {
      const auto save_start = std::chrono::steady_clock::now();
      text.save(ctx, o.save);
      saving = seconds_since(save_start);
      std::fprintf(stderr, "saved: %zu tokens to %s (%.2f MB) in %.3f s\n", text.ids().size(), o.save.c_str(),
                   1e-6 * double(std::filesystem::file_size(o.save)), saving);
      hash = 0;
    }
    if (id == generate::end_of_turn || written + 1 == o.tokens) {
      ++written;
      break;
    }
    take(text.advance(ctx));
  }
  std::printf("\n");
  std::fprintf(stderr, "decode: %d tokens, %.1f tokens/s\n", written, double(written) / (seconds_since(decode_start) - saving));
  if (o.ids) print_ids("written ids:", std::span(text.ids()).subspan(first));
  if (o.logits_hash) std::fprintf(stderr, "logits: %016llx\n", static_cast<unsigned long long>(hash));
  report_cache(text);
  if (o.explain) {
    const rapt::forward_shape one_more{.q_len = 1, .kv_len = text.kv_len() + 1, .source = rapt::source_kind::step, .weights = rapt::dtype::f16};
    std::fprintf(stderr, "how one layer appends one more token:\n%s", rapt::explain<float>(ctx, model.config(), one_more).text().c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app("Writes text with SmolLM2-135M-Instruct on the CPU");
  app.add_option("--models", o.models, "folder that examples/models/fetch.py filled")->capture_default_str();
  app.add_option("--prompt", o.prompt, "text to go on from")->capture_default_str();
  app.add_flag("--chat", o.chat, "the prompt is a question to the assistant");
  app.add_option("--tokens", o.tokens, "how many tokens to write at most")->capture_default_str()->check(CLI::Range(1, 8192));
  app.add_option("--kv-dtype", o.kv_dtype, "type of cached keys and values")->capture_default_str()->check(CLI::IsMember({"f32", "f16", "bf16"}));
  app.add_option("--threads", o.threads, "threads, this one included")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--temperature", o.temperature, "0 takes the most probable token")->capture_default_str();
  app.add_option("--seed", o.seed, "of the random numbers, with a temperature")->capture_default_str();
  app.add_option("--save", o.save, "file for the state")->needs(app.add_option("--save-after", o.save_after, "save after this many tokens"));
  app.add_option("--resume", o.resume, "go on from a state file; the prompt is not read");
  app.add_flag("--ids", o.ids, "print token ids");
  app.add_flag("--logits-hash", o.logits_hash, "print a hash of all logits' bits since the save or the resume");
  app.add_flag("--explain", o.explain, "print how the library runs the attention");
  app.add_option("--check", o.check, "compare with this file of expected ids and logits (expected.json), and write nothing");
  CLI11_PARSE(app, argc, argv);
  if (!std::filesystem::exists(o.models + "/smollm2-135m-f16.safetensors")) {
    std::fprintf(stderr, "skipped: %s/smollm2-135m-f16.safetensors is not there (python3 examples/models/fetch.py smollm2 --out %s)\n",
                 o.models.c_str(), o.models.c_str());
    return 77;
  }
  try {
    return run(o);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "generate: %s\n", error.what());
    return 1;
  }
}

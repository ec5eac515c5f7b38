// make_model: writes a tiny GGUF model with random weights. See synthetic/synthetic_model.h.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "tools/make_model/synthetic/synthetic_model.h"

namespace {

using rowmax::tools::SyntheticSpec;

void add_options(CLI::App& app, SyntheticSpec& spec) {
  app.add_option("--arch", spec.arch, "llama, qwen2, qwen3, gemma2 or gemma3")->capture_default_str();
  app.add_option("--layers", spec.layers, "number of blocks (0: 2; gemma2 4; gemma3 7)");
  app.add_option("--embd", spec.embd, "width of the model");
  app.add_option("--heads", spec.heads, "query heads");
  app.add_option("--kv-heads", spec.kv_heads, "key and value heads");
  app.add_option("--head-dim", spec.head_dim, "size of a head (0: the architecture's choice)");
  app.add_option("--ff", spec.ff, "inner width of the feed-forward part");
  app.add_option("--vocab", spec.vocab, "tokens (0: as many as the tokenizer needs)");
  app.add_option("--ctx", spec.context, "context length");
  app.add_option("--window", spec.window, "sliding window of gemma2 and gemma3 (0: 64)");
  app.add_option("--rope-base", spec.rope_base, "RoPE base (0: the architecture's choice)");
  app.add_option("--eps", spec.eps, "epsilon of the norms (0: the architecture's choice)");
  app.add_option("--type", spec.type, "type of the matrices: F32, F16, Q8_0, Q4_1, ...")->capture_default_str();
  app.add_option("--pre", spec.pre, "pre-tokenizer of a byte-level vocabulary (default: the architecture's choice)");
  app.add_flag("--untied", spec.untied, "an output matrix of its own");
  app.add_flag("--biases", spec.biases, "llama: biases on q, k, v and output");
  app.add_flag("--rope-factors", spec.rope_factors, "llama: Llama 3's RoPE factors in rope_freqs.weight");
  app.add_option("--seed", spec.seed, "seed of the random weights")->capture_default_str();
}

// The sizes of --odd, under whatever else the command line says.
void apply_odd(const CLI::App& app, SyntheticSpec& spec) {
  const SyntheticSpec odd = rowmax::tools::odd_spec(spec.arch);
  const auto unless_given = [&](const char* option, std::int64_t& field, std::int64_t value) {
    if (app.count(option) == 0) field = value;
  };
  unless_given("--layers", spec.layers, odd.layers);
  unless_given("--embd", spec.embd, odd.embd);
  unless_given("--heads", spec.heads, odd.heads);
  unless_given("--kv-heads", spec.kv_heads, odd.kv_heads);
  unless_given("--head-dim", spec.head_dim, odd.head_dim);
  unless_given("--ff", spec.ff, odd.ff);
  unless_given("--vocab", spec.vocab, odd.vocab);
  unless_given("--ctx", spec.context, odd.context);
  unless_given("--window", spec.window, odd.window);
}

int fail(const rowmax::Error& error) {
  std::fprintf(stderr, "make_model: %s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes a tiny GGUF model with random weights; the same options give the same bytes everywhere.");
  SyntheticSpec spec;
  std::string out;
  bool odd = false;
  add_options(app, spec);
  app.add_flag("--odd", odd, "sizes that are no multiple of anything convenient");
  app.add_option("--out", out, "file to write")->required();
  CLI11_PARSE(app, argc, argv);
  if (odd) apply_odd(app, spec);

  const auto writer = rowmax::tools::make_synthetic_model(spec);
  if (!writer.ok()) return fail(writer.error());
  const rowmax::Status written = writer->write(out);
  if (!written.ok()) return fail(written.error());
  return 0;
}

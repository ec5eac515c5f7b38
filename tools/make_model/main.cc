// make_model: writes a GGUF model with random weights, tiny or of a published shape. See synthetic/synthetic_model.h.
#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

#include "tools/make_model/synthetic/synthetic_model.h"

namespace {

using rowmax::tools::SyntheticSpec;

void add_options(CLI::App& app, SyntheticSpec& spec) {
  app.add_option("--arch", spec.arch, "an architecture of --list")->capture_default_str();
  app.add_option("--layers", spec.layers, "number of blocks (0: 2; gemma2 4; gemma3 7)");
  app.add_option("--embd", spec.embd, "width of the model");
  app.add_option("--heads", spec.heads, "query heads");
  app.add_option("--kv-heads", spec.kv_heads, "key and value heads");
  app.add_option("--head-dim", spec.head_dim, "size of a head (0: the architecture's choice)");
  app.add_option("--ff", spec.ff, "inner width of the feed-forward part");
  app.add_option("--vocab", spec.vocab, "tokens (0: as many as the tokenizer needs)");
  app.add_option("--ctx", spec.context, "context length");
  app.add_option("--experts", spec.experts,
                 "qwen3moe, qwen35moe, gemma4_moe, gpt-oss, lfm2moe, deepseek2: experts (0: 8)");
  app.add_option("--experts-used", spec.experts_used, "experts of a token (0: 2)");
  app.add_option("--expert-ff", spec.expert_ff, "inner width of an expert (0: ff / 2)");
  app.add_option("--shared-ff", spec.shared_ff, "qwen35moe: inner width of the expert of all tokens (0: expert-ff)");
  app.add_option("--interval", spec.interval, "qwen35, lfm2: every how many layers one attends (0: 4; lfm2 3)");
  app.add_option("--delta-key-heads", spec.delta_key_heads, "qwen35: key heads of a delta net (0: 2)");
  app.add_option("--delta-value-heads", spec.delta_value_heads, "its value heads (0: 4)");
  app.add_option("--delta-dim", spec.delta_dim, "size of its heads (0: 16)");
  app.add_option("--conv-width", spec.conv_width, "lfm2: tokens that a short convolution sees (0: 3)");
  app.add_option("--dense-layers", spec.dense_layers, "lfm2moe: first layers without experts (0: 1)");
  app.add_option("--window", spec.window, "sliding window of gemma2, gemma3, gemma4 and gpt-oss (0: 64)");
  app.add_option("--rope-base", spec.rope_base, "RoPE base (0: the architecture's choice)");
  app.add_option("--eps", spec.eps, "epsilon of the norms (0: the architecture's choice)");
  app.add_option("--type", spec.type, "type of the matrices: F32, F16, Q8_0, Q4_1, ...")->capture_default_str();
  app.add_option("--head-type", spec.head_type, "type of the embedding and the output matrix (default: --type)");
  app.add_option("--expert-type", spec.expert_type, "type of the experts (default: --type)");
  app.add_option(
         "--values", spec.values,
         "of the matrices: normal, ternary (-m, 0, m) or binary (-m, m); with --head-type the embedding and the "
         "output matrix stay normal")
      ->capture_default_str();
  app.add_option("--yarn", spec.yarn_factor, "RoPE scaling by YaRN with this factor");
  app.add_option("--pre", spec.pre, "pre-tokenizer of a byte-level vocabulary (default: the architecture's choice)");
  app.add_flag("--untied", spec.untied, "an output matrix of its own");
  app.add_flag("--biases", spec.biases, "llama: biases on q, k, v and output");
  app.add_flag("--rope-factors", spec.rope_factors, "llama: Llama 3's RoPE factors in rope_freqs.weight");
  app.add_flag("--repeat", spec.repeat, "matrices repeat their first rows: quickly made, for measurements of speed");
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
  unless_given("--experts", spec.experts, odd.experts);
  unless_given("--experts-used", spec.experts_used, odd.experts_used);
  unless_given("--expert-ff", spec.expert_ff, odd.expert_ff);
  spec.kv_rank = odd.kv_rank, spec.q_rank = odd.q_rank, spec.rope_dim = odd.rope_dim;
  spec.value_dim = odd.value_dim, spec.expert_groups = odd.expert_groups;
  unless_given("--interval", spec.interval, odd.interval);
  unless_given("--conv-width", spec.conv_width, odd.conv_width);
  unless_given("--delta-key-heads", spec.delta_key_heads, odd.delta_key_heads);
  unless_given("--delta-value-heads", spec.delta_value_heads, odd.delta_value_heads);
  unless_given("--delta-dim", spec.delta_dim, odd.delta_dim);
}

int fail(const rowmax::Error& error) {
  std::fprintf(stderr, "make_model: %s\n", error.message.c_str());
  return 1;
}

constexpr const char* kExamples = R"(
Examples:
  make_model --out tiny.gguf                                          a llama of two layers
  make_model --model bitnet-2b-4t --out bitnet.gguf                   I2_S, embedding and head F16
  make_model --model bitnet-2b-4t --head-type Q6_K --type IQ2_BN --out bitnet_ik.gguf
  make_model --model bonsai-8b --type Q2_0_128 --out bonsai.gguf      also Q2_0, PQ2_0, PTQ1_0, TQ2_0, ...
  make_model --model bonsai-1.7b --type Q1_0 --values binary --out bonsai_1bit.gguf
  make_model --model llama-1b --type Q4_K --values normal --out llama.gguf
  make_model --model bonsai-8b --repeat --out fast.gguf               in seconds; the speed is that of any weights
  make_model --model bitnet-2b-4t --layers 4 --vocab 2000 --out short.gguf
A matrix's values depend on --seed, --values and its name alone, so files of different types hold the same ones.)";

// The value of --model, which the other options' defaults come from.
std::string model_name(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string_view(argv[i]) == "--model") return argv[i + 1];
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes a GGUF model with random weights; the same options give the same bytes everywhere.");
  app.footer(kExamples);
  SyntheticSpec spec;
  const auto list_architectures = [](std::size_t) {
    for (const std::string& name : rowmax::tools::synthetic_architectures()) std::printf("%s\n", name.c_str());
    throw CLI::Success();
  };
  app.add_flag("--list", list_architectures, "print the architectures, a line each")->trigger_on_parse();
  std::string out, model = model_name(argc, argv);
  bool odd = false;
  if (!model.empty()) {
    const auto found = rowmax::tools::spec_of_model(model);
    if (!found.ok()) return fail(found.error());
    spec = *found;
  }
  app.add_option("--model", model,
                 "a published shape, which other options can change: " + rowmax::tools::synthetic_models());
  add_options(app, spec);
  app.add_flag("--odd", odd, "sizes that are no multiple of anything convenient");
  app.add_option("--out", out, "file to write")->required();
  CLI11_PARSE(app, argc, argv);
  if (odd) apply_odd(app, spec);

  const rowmax::Status written = rowmax::tools::write_synthetic_model(spec, out);
  if (!written.ok()) return fail(written.error());
  return 0;
}

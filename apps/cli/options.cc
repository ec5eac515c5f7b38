#include "apps/cli/options.h"

#include <charconv>
#include <cstdlib>
#include <limits>

namespace rowmax::cli {
namespace {

constexpr std::int64_t kMaxContext = std::int64_t{1} << 31;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

std::string environment_name(std::string_view flag_names) {
  const std::size_t begin = flag_names.find("--") + 2;
  std::string name = "ROWMAX_";
  for (const char c : flag_names.substr(begin, flag_names.find(',', begin) - begin)) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

CLI::Option* add_grouped(CLI::App& app, const std::string& names, std::string& value, const std::string& help) {
  return app.add_option(names, value, help + " (Env:" + environment_name(names) + ")")->take_last();
}

void use_variables(std::initializer_list<GroupedFlag> group) {
  for (const GroupedFlag& flag : group) {
    if (!flag.value->empty()) return;
  }
  for (const GroupedFlag& flag : group) {
    const char* variable = std::getenv(environment_name(flag.name).c_str());
    if (variable == nullptr || *variable == '\0') continue;
    *flag.value = variable;
    return;
  }
}

CLI::Option* add_switch(CLI::App& app, const std::string& names, bool& value, const std::string& help) {
  return app.add_flag(names, value, help)->envname(environment_name(names));
}

void add_model_flag(CLI::App& app, EngineFlags& flags) {
  add_value(app, "-m,--model", flags.model, "GGUF file, `stories` (built in), or a name that `rowmax pull` fetched")
      ->type_name("PATH|NAME")
      ->default_str(flags.model);
  add_value(app, "--pre", flags.pre, "pre-tokenizer to use in place of the one the file names")->type_name("NAME");
  add_value(app, "--format", flags.formats,
            "layout of a type id that stands for several: I2_S_64, I2_S_ROW4, Q2_0, Q2_0_128, ...; may be given "
            "several times")
      ->type_name("NAME")
      ->allow_extra_args(false);
  add_value(app, "--set", flags.overrides, "a value in place of a metadata key's; may be given several times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  add_value(app, "--ignore-key", flags.ignored_keys,
            "compute without a key that rowmax would otherwise refuse; may be given several times")
      ->type_name("KEY")
      ->allow_extra_args(false);
  add_switch(app, "-q,--quiet", flags.quiet, "no notes and no timings on standard error");
}

void add_engine_flags(CLI::App& app, EngineFlags& flags) {
  add_model_flag(app, flags);
  add_switch(app, "--no-layout-check", flags.no_layout_check,
             "do not try once whether the layout taken for an ambiguous type id makes sense");
  add_value(app, "-t,--threads", flags.threads, "threads; 0: physical cores")->check(CLI::Range(0, 1024));
  add_value(app, "--isa", flags.isa, "instruction set: scalar, avx2, avx512 or neon; default: the fastest here")
      ->type_name("NAME");
  add_value(app, "--activations", flags.activations, "int8 (fast) or f32 (exact) input of quantised products")
      ->check(CLI::IsMember({"int8", "f32"}))
      ->default_str("int8")
      ->type_name("TYPE");
}

Result<engine::KeyOverrides> key_overrides(const EngineFlags& flags) {
  engine::KeyOverrides overrides;
  for (const std::string& text : flags.overrides) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error{ErrorCode::kInvalidArgument, "--set: expected KEY=VALUE, found \"" + text + "\""};
    }
    overrides.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return overrides;
}

void add_session_flags(CLI::App& app, SessionFlags& flags) {
  add_value(app, "-c,--ctx,--ctx-size", flags.context, "context in tokens; 0: the model's own, at most 4096")
      ->check(CLI::Range(std::int64_t{0}, kMaxContext));
  add_value(app, "--kv-type", flags.kv_type, "f16 or f32 keys and values in the cache")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->default_str("f16")
      ->type_name("TYPE");
}

engine::KvType kv_type(const SessionFlags& flags) {
  return flags.kv_type == "f32" ? engine::KvType::kF32 : engine::KvType::kF16;
}

void add_sampling_flags(CLI::App& app, SamplingFlags& flags) {
  engine::SamplingParams& p = flags.params;
  // Ranges are checked in one place, engine::validate, which also knows the vocabulary.
  add_value(app, "--temp,--temperature", p.temperature, "0: always the likeliest token");
  add_value(app, "--top-k", p.top_k, "draw among the k likeliest; 0: all");
  add_value(app, "--top-p", p.top_p, "draw among the likeliest that sum up to p; 1: off");
  add_value(app, "--min-p", p.min_p, "drop tokens below p times the likeliest; 0: off");
  add_value(app, "--repeat-penalty", p.repetition_penalty, "divide the logits of tokens seen; 1: off");
  add_value(app, "--repeat-last-n", p.penalty_window, "tokens that count as seen; -1: all");
  add_value(app, "--frequency-penalty", p.frequency_penalty, "subtract once per occurrence; 0: off");
  add_value(app, "--presence-penalty", p.presence_penalty, "subtract once if it occurred; 0: off");
  add_value(app, "--logit-bias", flags.logit_bias, "add to logits: ID=VALUE[,ID=VALUE...]")->type_name("LIST");
  // As text: CLI11 turns a number that is too large into the largest.
  add_value(app, "-s,--seed", flags.seed, "same seed, same text, on every machine; 0 to 18446744073709551615")
      ->type_name("UINT")
      ->default_str(std::to_string(p.seed));
  add_switch(app, "--greedy", flags.greedy, "the likeliest token each time, whatever --temp says");
}

Result<engine::SamplingParams> sampling_params(const SamplingFlags& flags) {
  engine::SamplingParams params = flags.params;
  if (flags.greedy) params.temperature = 0;
  if (!flags.seed.empty() && !parse_number(flags.seed, params.seed)) {
    return Error{ErrorCode::kInvalidArgument,
                 "--seed: expected a whole number from 0 to 18446744073709551615, found \"" + flags.seed + "\""};
  }
  if (flags.logit_bias.empty()) return params;
  for (const std::string_view part : split(flags.logit_bias, ',')) {
    const std::size_t equals = part.find('=');
    engine::TokenId id = 0;
    float value = 0;
    if (equals == std::string_view::npos || !parse_number(part.substr(0, equals), id) ||
        !parse_number(part.substr(equals + 1), value)) {
      return Error{ErrorCode::kInvalidArgument,
                   "--logit-bias: expected ID=VALUE[,ID=VALUE...], found \"" + std::string(part) + "\""};
    }
    params.logit_bias.emplace_back(id, value);
  }
  return params;
}

void add_generation_flags(CLI::App& app, GenerationFlags& flags) {
  add_value(app, "-n,--n-predict,--predict", flags.max_tokens, "most tokens to write; -1: until the context is full")
      ->check(CLI::Range(std::int64_t{-1}, kMaxContext));
  add_value(app, "--stop", flags.stop, "end before this text; may be given several times")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  add_sampling_flags(app, flags.sampling);
}

void add_template_flags(CLI::App& app, TemplateFlags& flags) {
  add_value(app, "--system", flags.system, "system message")->type_name("TEXT");
  add_value(app, "--chat-template", flags.chat_template,
            "in place of the model's own: a file, or the Jinja text itself")
      ->type_name("FILE|TEXT");
}

Result<std::vector<std::int64_t>> parse_integers(std::string_view text, std::string_view flag, std::int64_t low,
                                                 std::int64_t high) {
  std::vector<std::int64_t> numbers;
  for (const std::string_view part : split(text, ',')) {
    std::int64_t number = 0;
    if (!parse_number(part, number) || number < low || number > high) {
      return Error{ErrorCode::kInvalidArgument, std::string(flag) + ": expected whole numbers from " +
                                                    std::to_string(low) + " to " + std::to_string(high) +
                                                    " with commas between, found \"" + std::string(part) + "\""};
    }
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace rowmax::cli

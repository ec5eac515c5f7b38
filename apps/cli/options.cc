#include "apps/cli/options.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>

#include "apps/cli/nearest.h"
#include "rowmax/try.h"

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

void add_model_flag(Flags& table, EngineFlags& flags) {
  table.add("-m,--model", flags.model, "GGUF file, `stories` (built in), or a name that `rowmax pull` fetched")
      .type("PATH|NAME")
      .shows(flags.model);
  table.add("--pre", flags.pre, "pre-tokenizer to use in place of the one the file names").type("NAME");
  table
      .add("--format", flags.formats,
           "layout of a type id that stands for several: I2_S_64, I2_S_ROW4, Q2_0, Q2_0_128, ...; may be given "
           "several times")
      .type("NAME");
  table.add("--set", flags.overrides, "a value in place of a metadata key's; may be given several times")
      .type("KEY=VALUE");
  table
      .add("--ignore-key", flags.ignored_keys,
           "compute without a key that rowmax would otherwise refuse; may be given several times")
      .type("KEY");
  table
      .add("--convention", flags.conventions,
           "as if the file said otherwise: rope_pairing=adjacent, tied_head=yes, ...; `inspect` lists them; may be "
           "given "
           "several times")
      .type("NAME=VALUE");
  table.add_switch("-q,--quiet", flags.quiet, "no notes and no timings on standard error");
}

void add_kernel_flags(Flags& table, EngineFlags& flags) {
  // A flag wins over the other one's variable (kernels_to_use).
  table.add_told_apart("--isa", flags.isa, "instruction set: scalar, avx2, avx512 or neon; default: the fastest here")
      .type("NAME");
  table
      .add_told_apart("--kernels", flags.kernels,
                      "kernels that multiply weights, by name, or without some: -amx,-avxvnni; `list` shows them")
      .type("NAME");
}

void add_memory_flag(Flags& table, EngineFlags& flags) {
  table.add_switch("--no-memory-check", flags.no_memory_check, "load a model that needs more memory than is available");
}

void add_engine_flags(Flags& table, EngineFlags& flags) {
  add_model_flag(table, flags);
  table.add_switch("--no-layout-check", flags.no_layout_check,
                   "do not try once whether the layout taken for an ambiguous type id makes sense");
  add_memory_flag(table, flags);
  add_compute_flags(table, flags);
}

void add_compute_flags(Flags& table, EngineFlags& flags) {
  table.add("-t,--threads", flags.threads, "threads; 0: physical cores").within(0, 1024);
  add_kernel_flags(table, flags);
  table.add("--activations", flags.activations, "int8 (fast) or f32 (exact) input of quantised products")
      .one_of({"int8", "f32"})
      .shows("int8");
}

namespace {

Result<std::vector<std::pair<std::string, std::string>>> pairs_of(const std::vector<std::string>& texts,
                                                                  const char* flag, const char* form) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error{ErrorCode::kInvalidArgument, std::string(flag) + ": expected " + form + ", found \"" + text + "\""};
    }
    pairs.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return pairs;
}

}  // namespace

std::string kernel_names(const EngineFlags& flags) {
  const char* variable = std::getenv(environment_name("--kernels").c_str());
  return !flags.kernels.empty() || variable == nullptr ? flags.kernels : variable;
}

namespace {

Result<engine::KernelChoice> kernel_choice(const std::string& names) {
  engine::KernelChoice choice;
  if (names.empty()) return choice;
  std::vector<std::string_view> known;
  std::vector<std::string> forced;
  for (const engine::KernelVariant& variant : engine::kernel_variants()) known.push_back(variant.name);
  for (std::string_view name : split(names, ',')) {
    const bool forbids = name.starts_with('-');
    if (forbids) name.remove_prefix(1);
    if (std::ranges::find(known, name) == known.end()) {
      return Error::invalid_argument("--kernels: unknown kernels '" + std::string(name) + "'" +
                                     did_you_mean(name, known) + "; `--kernels list` shows all");
    }
    (forbids ? choice.forbid : forced).emplace_back(name);
  }
  if (forced.size() + choice.forbid.size() > 1 && !forced.empty()) {
    return Error::invalid_argument("--kernels: expected one NAME, or -NAME,-NAME, found " + names);
  }
  if (!forced.empty()) choice.force = forced[0];
  return choice;
}

}  // namespace

Result<KernelsToUse> kernels_to_use(const EngineFlags& flags) {
  ROWMAX_TRY(choice, kernel_choice(kernel_names(flags)));
  ROWMAX_TRY(isa, flags.isa.empty() ? engine::fastest_isa(choice) : find_isa(flags.isa));
  if (!choice.force.empty() && !flags.isa.empty()) {
    const auto all = engine::kernel_variants();
    const auto forced = std::ranges::find(all, choice.force, &engine::KernelVariant::name);
    if (forced->isa != isa && !flags.kernels.empty()) {
      return Error::invalid_argument("--kernels " + choice.force + " are of the instruction set " +
                                     std::string(isa_name(forced->isa)) + ", --isa says " + flags.isa);
    }
    if (forced->isa != isa) choice.force.clear();
  }
  ROWMAX_TRY(variant, engine::choose_kernels(choice, isa));
  return KernelsToUse{isa, std::move(choice), std::move(variant)};
}

Result<engine::KeyOverrides> key_overrides(const EngineFlags& flags) {
  ROWMAX_TRY(overrides, pairs_of(flags.overrides, "--set", "KEY=VALUE"));
  for (const auto& [key, value] : overrides) {
    if (!key.starts_with("general.")) continue;
    return Error::invalid_argument("--set " + key +
                                   ": this key cannot be set, only those of the architecture and of the tokenizer");
  }
  return overrides;
}

Result<engine::Edits> conventions(const EngineFlags& flags) {
  ROWMAX_TRY(edits, pairs_of(flags.conventions, "--convention", "NAME=VALUE"));
  // All flags that collect count, and a fact has one value.
  for (std::size_t i = 0; i < edits.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (edits[i].first != edits[j].first) continue;
      return Error::invalid_argument("--convention " + edits[i].first + ": expected one value, found '" +
                                     edits[j].second + "' and '" + edits[i].second + "'");
    }
  }
  return edits;
}

engine::SessionOptions session_options(const SessionFlags& flags) {
  engine::SessionOptions options;
  options.context = flags.context;
  options.kv_type = kv_type(flags);
  options.kv_budget_bytes = flags.kv_budget << 20;
  return options;
}

void add_session_flags(Flags& table, SessionFlags& flags) {
  table.add("-c,--ctx,--ctx-size", flags.context, "context in tokens; 0: the model's own, at most 4096")
      .within(0, kMaxContext);
  add_kv_flags(table, flags);
}

void add_kv_type_flag(Flags& table, std::string& kv_type) {
  table.add("--kv-type", kv_type, "keys and values in the cache: f16, f32, or q8_0 (half the memory of f16, rounder)")
      .one_of({"f16", "f32", "q8_0"})
      .shows("f16");
}

void add_kv_flags(Flags& table, SessionFlags& flags) {
  add_kv_type_flag(table, flags.kv_type);
  table.add("--kv-budget", flags.kv_budget, "most MiB of keys and values; 0: what the context needs")
      .within(0, std::int64_t{1} << 40);
}

engine::KvType kv_type(const SessionFlags& flags) {
  for (const engine::KvType type : engine::kKvTypes) {
    if (flags.kv_type == dtype_name(engine::dtype_of(type))) return type;
  }
  return engine::KvType::kF16;
}

void add_sampling_flags(Flags& table, SamplingFlags& flags) {
  engine::SamplingParams& p = flags.params;
  // Ranges are checked in one place, engine::validate, which also knows the vocabulary.
  table.add("--temp,--temperature", p.temperature, "0: always the likeliest token");
  table.add("--top-k", p.top_k, "draw among the k likeliest; 0: all");
  table.add("--top-p", p.top_p, "draw among the likeliest that sum up to p; 1: off");
  table.add("--min-p", p.min_p, "drop tokens below p times the likeliest; 0: off");
  table.add("--repeat-penalty", p.repetition_penalty, "divide the logits of tokens seen; 1: off");
  table.add("--repeat-last-n", p.penalty_window, "tokens that count as seen; -1: all");
  table.add("--frequency-penalty", p.frequency_penalty, "subtract once per occurrence; 0: off");
  table.add("--presence-penalty", p.presence_penalty, "subtract once if it occurred; 0: off");
  table.add("--logit-bias", flags.logit_bias, "add to logits: ID=VALUE[,ID=VALUE...]").type("LIST");
  table.add("-s,--seed", p.seed, "same seed, same text, on every machine");
  table.add_switch("--greedy", flags.greedy, "the likeliest token each time, whatever --temp says");
}

Result<engine::SamplingParams> sampling_params(const SamplingFlags& flags) {
  engine::SamplingParams params = flags.params;
  if (flags.greedy) params.temperature = 0;
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

void add_generation_flags(Flags& table, GenerationFlags& flags) {
  table.add("-n,--n-predict,--predict", flags.max_tokens, "most tokens to write; -1: until the context is full")
      .within(-1, kMaxContext);
  table.add("--stop", flags.stop, "end before this text; may be given several times").type("TEXT");
  add_sampling_flags(table, flags.sampling);
}

void add_template_flags(Flags& table, TemplateFlags& flags) {
  table.add("--system", flags.system, "system message").type("TEXT");
  table.add("--chat-template", flags.chat_template, "in place of the model's own: a file, or the Jinja text itself")
      .type("FILE|TEXT");
}

Result<std::vector<std::int64_t>> parse_ranges(std::string_view text, std::string_view flag, std::int64_t end) {
  std::vector<std::int64_t> numbers;
  for (const std::string_view part : text.empty() ? std::vector<std::string_view>() : split(text, ',')) {
    const std::size_t dash = part.find('-');
    std::int64_t first = 0, last = 0;
    const bool fine = parse_number(part.substr(0, dash), first) &&
                      parse_number(dash == std::string_view::npos ? part : part.substr(dash + 1), last);
    if (!fine || first < 0 || last < first || last >= end) {
      return Error{ErrorCode::kInvalidArgument, std::string(flag) + ": expected numbers or ranges (0,3-5) up to " +
                                                    std::to_string(end - 1) + ", found \"" + std::string(part) + "\""};
    }
    for (std::int64_t i = first; i <= last; ++i) numbers.push_back(i);
  }
  for (std::int64_t i = 0; text.empty() && i < end; ++i) numbers.push_back(i);
  return numbers;
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

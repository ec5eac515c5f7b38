// Flags that several commands share, each also settable as ROWMAX_<FLAG> (the flag wins).
#pragma once

#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "rowmax/engine/model.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::cli {

// "-c,--ctx,--ctx-size" -> "ROWMAX_CTX": the first long name decides.
std::string environment_name(std::string_view flag_names);

// An option with a value. Its help shows the default that `value` has now.
template <class T>
CLI::Option* add_value(CLI::App& app, const std::string& names, T& value, const std::string& help) {
  CLI::Option* option = app.add_option(names, value, help)->envname(environment_name(names));
  if constexpr (std::is_arithmetic_v<T>) option->capture_default_str();
  if constexpr (!std::is_same_v<T, std::vector<std::string>>) option->take_last();  // given twice, the later one wins
  return option;
}
// An option without one.
CLI::Option* add_switch(CLI::App& app, const std::string& names, bool& value, const std::string& help);

// For flags of which one is to be given (-p or -f): their help names the variable, but it counts only where none of
// them is on the command line, which use_variables() looks at after parsing, in the order given.
CLI::Option* add_grouped(CLI::App& app, const std::string& names, std::string& value, const std::string& help);
struct GroupedFlag {
  const char* name;  // "--file"
  std::string* value;
};
void use_variables(std::initializer_list<GroupedFlag> group);

struct EngineFlags {
  std::string model = "stories";  // a path, "stories" (in the program), or a name that `rowmax pull` knows
  int threads = 0;
  std::string isa;
  std::string activations = "int8";
  std::string pre;
  std::vector<std::string> formats;    // layouts of type ids that stand for several
  std::vector<std::string> overrides;  // KEY=VALUE
  std::vector<std::string> ignored_keys;
  bool quiet = false;
  bool no_layout_check = false;
};
void add_model_flag(CLI::App& app, EngineFlags& flags);
void add_engine_flags(CLI::App& app, EngineFlags& flags);
// --set as the engine takes it; kInvalidArgument where there is no '='.
Result<engine::KeyOverrides> key_overrides(const EngineFlags& flags);

struct SessionFlags {
  std::int64_t context = 0;
  std::string kv_type = "f16";
};
void add_session_flags(CLI::App& app, SessionFlags& flags);
engine::KvType kv_type(const SessionFlags& flags);

struct SamplingFlags {
  engine::SamplingParams params;
  std::string logit_bias, seed;
  bool greedy = false;
};
void add_sampling_flags(CLI::App& app, SamplingFlags& flags);
// The parameters as asked for; kInvalidArgument for a malformed --logit-bias or --seed.
Result<engine::SamplingParams> sampling_params(const SamplingFlags& flags);

struct GenerationFlags {
  std::int64_t max_tokens = -1;
  std::vector<std::string> stop;
  SamplingFlags sampling;
};
void add_generation_flags(CLI::App& app, GenerationFlags& flags);

struct TemplateFlags {
  std::string system;
  std::string chat_template;
};
void add_template_flags(CLI::App& app, TemplateFlags& flags);

// "1,2,3" -> {1, 2, 3}; kInvalidArgument naming `flag` and the part that is not a whole number in [low, high].
Result<std::vector<std::int64_t>> parse_integers(std::string_view text, std::string_view flag, std::int64_t low,
                                                 std::int64_t high);

}  // namespace rowmax::cli

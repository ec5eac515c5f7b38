// Flags that several commands share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/flags.h"
#include "rowmax/cpu.h"
#include "rowmax/engine/model.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::cli {

struct EngineFlags {
  std::string model = "stories";  // a path, "stories" (in the program), or a name that `rowmax pull` knows
  int threads = 0;
  std::string isa;      // --isa; ROWMAX_ISA is the engine's to read, where neither --isa nor a name of kernels decides
  std::string kernels;  // --kernels; see kernel_names()
  std::string activations = "int8";
  std::string pre;
  std::vector<std::string> formats;    // layouts of type ids that stand for several
  std::vector<std::string> overrides;  // KEY=VALUE
  std::vector<std::string> ignored_keys;
  std::vector<std::string> conventions;  // NAME=VALUE
  bool quiet = false;
  bool no_layout_check = false;
  bool no_memory_check = false;
};
void add_model_flag(Flags& table, EngineFlags& flags);
// What computes: -t, --isa, --kernels, --activations.
void add_compute_flags(Flags& table, EngineFlags& flags);
void add_memory_flag(Flags& table, EngineFlags& flags);   // --no-memory-check
void add_engine_flags(Flags& table, EngineFlags& flags);  // all, and --no-layout-check
void add_kernel_flags(Flags& table, EngineFlags& flags);  // two of them
// --kernels, else ROWMAX_KERNELS; "list": see kernel_list.h.
std::string kernel_names(const EngineFlags& flags);
struct KernelsToUse {
  Isa isa = Isa::kScalar;
  engine::KernelChoice choice;
  engine::KernelVariant variant;  // what these two mean here
};
// A flag wins over the variable of the other: --kernels NAME over ROWMAX_ISA, --isa over a NAME in ROWMAX_KERNELS.
// kInvalidArgument for a name that is not known, with the nearest one, and for both flags where they disagree;
// kUnsupported for what this machine cannot run.
Result<KernelsToUse> kernels_to_use(const EngineFlags& flags);
// --set as the engine takes it; kInvalidArgument where there is no '=' and for the file's own keys (general.*), which
// the engine reads from the file alone.
Result<engine::KeyOverrides> key_overrides(const EngineFlags& flags);
// --convention, of every scope, in the same way.
Result<engine::Edits> conventions(const EngineFlags& flags);

struct SessionFlags {
  std::int64_t context = 0;
  std::string kv_type = "f16";
  std::int64_t kv_budget = 0;  // MiB
};
void add_kv_type_flag(Flags& table, std::string& kv_type);
void add_kv_flags(Flags& table, SessionFlags& flags);       // --kv-type, --kv-budget
void add_session_flags(Flags& table, SessionFlags& flags);  // and -c
engine::KvType kv_type(const SessionFlags& flags);
engine::SessionOptions session_options(const SessionFlags& flags);

struct SamplingFlags {
  engine::SamplingParams params;
  std::string logit_bias;
  bool greedy = false;
};
void add_sampling_flags(Flags& table, SamplingFlags& flags);
// The parameters as asked for; kInvalidArgument for a malformed --logit-bias.
Result<engine::SamplingParams> sampling_params(const SamplingFlags& flags);

struct GenerationFlags {
  std::int64_t max_tokens = -1;
  std::vector<std::string> stop;
  SamplingFlags sampling;
};
void add_generation_flags(Flags& table, GenerationFlags& flags);

struct TemplateFlags {
  std::string system;
  std::string chat_template;
};
void add_template_flags(Flags& table, TemplateFlags& flags);

// "0,3-5" -> {0, 3, 4, 5}; empty: all below `end`. kInvalidArgument naming `flag` and the part that is none of them.
Result<std::vector<std::int64_t>> parse_ranges(std::string_view text, std::string_view flag, std::int64_t end);
// "1,2,3" -> {1, 2, 3}; kInvalidArgument naming `flag` and the part that is not a whole number in [low, high].
Result<std::vector<std::int64_t>> parse_integers(std::string_view text, std::string_view flag, std::int64_t low,
                                                 std::int64_t high);

}  // namespace rowmax::cli

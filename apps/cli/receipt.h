// Receipts: what was computed, from what and by what, so that somebody else can compute it again and compare. The form
// is docs/receipts.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/engine_setup.h"
#include "apps/cli/exit_code.h"
#include "apps/cli/json_output.h"
#include "apps/cli/options.h"
#include "rowmax/engine/generate.h"
#include "rowmax/engine/output_file.h"
#include "rowmax/engine/session.h"

namespace rowmax::cli {

inline constexpr std::string_view kReceiptSchema = "rowmax-receipt";
inline constexpr std::string_view kReceiptVersion = "1.0.0";  // readers take every 1.x.y

// What was held against what. A pass has compared something, and no less than it should.
struct Comparison {
  std::string name;
  std::string reference = "none";  // transformers, llama.cpp, "definition", "rowmax ...", none
  std::int64_t n_compared = 0;
  bool agrees = true;
  std::string detail = {};        // the first difference, or why nothing, or not all, was compared
  std::int64_t n_for_a_pass = 1;  // with fewer compared it is inconclusive

  // "pass", "fail" or "inconclusive".
  std::string_view verdict() const { return !agrees ? "fail" : n_compared >= n_for_a_pass ? "pass" : "inconclusive"; }
  Json json() const;
};
// Of several: "fail" where one fails, "inconclusive" where one could not be decided or there is none.
std::string_view verdict_of(std::span<const Comparison> comparisons);
ExitCode exit_code_of(std::string_view verdict);
// One a line, for a reader.
void print_comparisons(std::span<const Comparison> comparisons);

// A file of a model as a receipt names it; the model in the program is one, too.
struct HashedFile {
  std::string path;
  std::uint64_t bytes = 0;
  std::string sha256;
};
Result<std::vector<HashedFile>> hash_model(const engine::GgufFile& file);
// Of ids as little-endian int32.
Result<std::string> hash_tokens(std::span<const engine::TokenId> tokens);

// What rowmax makes of a model: facts, norms, ternary_scales.
Result<Json> model_json(const engine::Model& model);
// What every receipt begins with: schema, build, machine, model, how it was computed, and model_json().
Result<Json> receipt_head(std::string_view kind, const Engine& engine, const EngineFlags& flags,
                          const SessionFlags& session_flags, const engine::Session& session);
// The template that turned texts into tokens; source "none" where there was none.
Result<Json> template_json(std::string_view source, const std::string& text);

// Makes `options` give what tokens_json() shows.
void ask_for_margins(engine::GenerateOptions& options);
// One a sampled token: token, log_prob, runner_up, margin.
Json tokens_json(const engine::GenerateResult& generation);
// All of a generation that is not in receipt_head().
Result<Json> generation_json(std::span<const engine::TokenId> prompt, const engine::GenerateOptions& options,
                             const engine::GenerateResult& generation, std::string_view stop);

// Whole or not at all, with a line end.
Status write_json(const std::string& path, const engine::OutputOptions& options, const Json& json);

}  // namespace rowmax::cli

// A forward pass over one prompt with the stages that were asked for kept: what `dump` writes and `trace` prints.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/cli/debug.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/options.h"
#include "rowmax/engine/trace.h"

namespace rowmax::cli {

struct TraceFlags {
  EngineFlags engine;
  SessionFlags session;
  DebugFlags debug;
  std::string prompt, tokens, stages = "residual", layers;
};
// The tokens of -p or --tokens; kInvalidArgument unless exactly one of them is given.
Result<std::vector<engine::TokenId>> prompt_tokens(const engine::Model& model, const std::string& prompt,
                                                   const std::string& tokens);
void add_trace_flags(Flags& table, TraceFlags& flags);

// What one stage of one layer gave: [n_row][n_group * width].
struct StageRows {
  engine::Stage stage;
  std::int64_t layer;  // -1: none
  std::int64_t n_group = 0, width = 0;
  std::vector<std::int64_t> positions;  // of the rows
  std::vector<float> values;

  std::string name() const;  // "blk.3.q", "logits"
  std::int64_t row_width() const { return n_group * width; }
};

struct TracedRun {
  std::vector<engine::TokenId> tokens;
  std::vector<StageRows> stages;  // in the order in which they came up
  std::int64_t n_seen = 0;        // tokens whose rows are here
  std::optional<Error> fault;     // a logit that is not finite ended it: rows up to its piece of the prompt are here
};

// "q,k,scores" or "all": kInvalidArgument names the word that is no stage. "0,3-5" (empty: all) of n_layer layers.
Result<std::vector<engine::Stage>> parse_stages(const std::string& text);
Result<std::vector<std::int64_t>> parse_layers(const std::string& text, std::int64_t n_layer);

// Of --token, which counts from the end where it is negative, among n tokens.
Result<std::int64_t> token_position(std::int64_t token, std::int64_t n);
// For a prompt of n tokens; kLimit where it does not fit.
Result<engine::Session> traced_session(const Engine& engine, const TraceFlags& flags, std::int64_t n);

// A forward pass over that prompt. token: keep the rows of one alone (negative: from the end); states are those of the last
// token in any case. kLimit where the prompt does not fit, or where the stages take more than 4 GiB; kCancelled.
Result<TracedRun> run_traced(const Engine& engine, const TraceFlags& flags, std::optional<std::int64_t> token = {});

}  // namespace rowmax::cli

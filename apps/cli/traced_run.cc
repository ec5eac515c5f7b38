#include "apps/cli/traced_run.h"

#include <algorithm>

#include "apps/cli/interrupt.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr std::size_t kMostBytes = std::size_t{4} << 30;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char letter : text) {
    if (letter == ',') {
      parts.emplace_back();
    } else if (letter != ' ') {
      parts.back() += letter;
    }
  }
  return parts;
}

// Puts together what the pieces of a prompt gave.
class Collector final : public engine::TraceObserver {
 public:
  Collector(std::vector<engine::Stage> stages, std::vector<std::int64_t> layers, std::int64_t n_token,
            std::optional<std::int64_t> token)
      : stages_(std::move(stages)), layers_(std::move(layers)), n_token_(n_token), token_(token) {}

  bool wants(engine::Stage stage, std::int64_t layer) override {
    return std::ranges::find(stages_, stage) != stages_.end() &&
           (layer < 0 || std::ranges::find(layers_, layer) != layers_.end());
  }

  void see(const engine::TraceView& view) override {
    StageRows& to = rows_of(view);
    if (view.stage == engine::Stage::kState) {  // the last one stands
      bytes_ -= to.values.size() * sizeof(float);
      to.positions.clear();
      to.values.clear();
    }
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      const std::int64_t position = view.rows[i].position;
      if (token_ && *token_ != position) continue;
      bytes_ += static_cast<std::size_t>(to.row_width()) * sizeof(float);
      if (bytes_ > kMostBytes) return;
      to.positions.push_back(position);
      const float* row = view.data + static_cast<std::int64_t>(i) * view.row_stride;
      for (std::int64_t group = 0; group < view.n_group; ++group) {
        to.values.insert(to.values.end(), row + group * view.width, row + (group + 1) * view.width);
        to.values.resize(to.values.size() + static_cast<std::size_t>(to.width - view.width), 0.0f);
      }
    }
  }

  bool full() const { return bytes_ > kMostBytes; }
  std::vector<StageRows> found;

 private:
  StageRows& rows_of(const engine::TraceView& view) {
    for (StageRows& rows : found) {
      if (rows.stage == view.stage && rows.layer == view.layer) return rows;
    }
    // Scores are as wide as there are keys when they are computed; in the end, as many as tokens.
    const std::int64_t width = view.stage == engine::Stage::kScores ? n_token_ : view.width;
    found.push_back({view.stage, view.layer, view.n_group, width, {}, {}});
    return found.back();
  }

  std::vector<engine::Stage> stages_;
  std::vector<std::int64_t> layers_;
  std::int64_t n_token_;
  std::optional<std::int64_t> token_;
  std::size_t bytes_ = 0;
};

}  // namespace

Result<std::vector<engine::TokenId>> prompt_tokens(const engine::Model& model, const std::string& prompt,
                                                   const std::string& tokens) {
  if (prompt.empty() == tokens.empty()) {
    return Error{ErrorCode::kInvalidArgument, "give one prompt: -p TEXT or --tokens IDS"};
  }
  std::vector<engine::TokenId> made;
  if (tokens.empty()) {
    ROWMAX_TRY(encoded, engine::encode_prompt(model, prompt, false));
    made = std::move(encoded);
  } else {
    ROWMAX_TRY(ids, parse_integers(tokens, "--tokens", 0, model.shape().n_vocab - 1));
    made.assign(ids.begin(), ids.end());
  }
  if (made.empty()) return Error{ErrorCode::kInvalidArgument, "the prompt has no tokens"};
  return made;
}

void add_trace_flags(Flags& table, TraceFlags& flags) {
  table.add("-p,--prompt", flags.prompt, "the prompt, taken as it is").type("TEXT").not_empty();
  table.add("--tokens", flags.tokens, "its token ids, 1,2,3, in place of a text").type("IDS").not_empty();
  table.choose_one({{"--tokens"}, {"--prompt"}});
  std::string names;
  for (int i = 0; i < static_cast<int>(engine::Stage::kCount); ++i) {
    names += (i == 0 ? "" : " ") + std::string(engine::stage_name(static_cast<engine::Stage>(i)));
  }
  table.add("--stages", flags.stages, "which ones, with commas, or all: " + names).shows(flags.stages);
  table.add("--layers", flags.layers, "which ones: 0,3-5").shows("all");
  add_engine_flags(table, flags.engine);
  add_session_flags(table, flags.session);
  add_debug_flags(table, flags.debug);
}

std::string StageRows::name() const {
  const std::string stage_text(engine::stage_name(stage));
  return layer < 0 ? stage_text : "blk." + std::to_string(layer) + "." + stage_text;
}

Result<std::vector<engine::Stage>> parse_stages(const std::string& text) {
  std::vector<engine::Stage> stages;
  if (text == "all") {
    for (int i = 0; i < static_cast<int>(engine::Stage::kCount); ++i) stages.push_back(static_cast<engine::Stage>(i));
    return stages;
  }
  for (const std::string& part : split(text)) {
    const auto stage = engine::find_stage(part);
    if (!stage) {
      std::string known;
      for (int i = 0; i < static_cast<int>(engine::Stage::kCount); ++i) {
        known += std::string(engine::stage_name(static_cast<engine::Stage>(i))) + ", ";
      }
      return Error{ErrorCode::kInvalidArgument,
                   "--stages: expected some of " + known + "or all, found \"" + part + "\""};
    }
    stages.push_back(*stage);
  }
  return stages;
}

Result<std::vector<std::int64_t>> parse_layers(const std::string& text, std::int64_t n_layer) {
  return parse_ranges(text, "--layers", n_layer);
}

Result<std::int64_t> token_position(std::int64_t token, std::int64_t n) {
  if (token < -n || token >= n) {
    return Error{ErrorCode::kInvalidArgument, "--token: expected " + std::to_string(-n) + " to " +
                                                  std::to_string(n - 1) + ", found " + std::to_string(token)};
  }
  return token < 0 ? n + token : token;
}

Result<engine::Session> traced_session(const Engine& engine, const TraceFlags& flags, std::int64_t n) {
  engine::SessionOptions options = session_options(flags.session);
  const std::int64_t most = options.context != 0 ? options.context : engine.model->shape().context_length;
  if (n > most) {
    return Error{ErrorCode::kLimit, "prompt of " + std::to_string(n) + " tokens does not fit the " +
                                        std::to_string(most) + (options.context != 0 ? " of --ctx" : " of the model")};
  }
  options.context = most;
  options.checkpoint_bytes = 0;
  return open_session(*engine.model, options, *engine.executor);
}

Result<TracedRun> run_traced(const Engine& engine, const TraceFlags& flags, std::optional<std::int64_t> token) {
  const engine::Model& model = *engine.model;
  ROWMAX_TRY(stages, parse_stages(flags.stages));
  ROWMAX_TRY(layers, parse_layers(flags.layers, model.shape().n_layer));
  TracedRun run;
  ROWMAX_TRY(tokens, prompt_tokens(model, flags.prompt, flags.tokens));
  run.tokens = std::move(tokens);
  const auto n = static_cast<std::int64_t>(run.tokens.size());
  if (token) {
    ROWMAX_TRY(position, token_position(*token, n));
    token = position;
  }
  ROWMAX_TRY(session, traced_session(engine, flags, n));
  Collector collector(std::move(stages), std::move(layers), n, token);
  ROWMAX_TRY(debug, debug_observer(flags.debug, session));
  TwoObservers observers(collector, debug.get());
  session.set_observer(&observers);
  ROWMAX_TRY(sequence, session.open());
  constexpr std::int64_t kPiece = 480;  // a long prompt can be interrupted
  for (std::int64_t at = 0; at < n; at += kPiece) {
    if (interrupted()) return Error{ErrorCode::kCancelled, "interrupted; nothing was written"};
    const auto piece =
        std::span(run.tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(std::min(kPiece, n - at)));
    const engine::BatchItem item{sequence, piece, engine::LogitsFor::kAll};
    Status computed = session.forward({&item, 1});
    run.n_seen = at + std::ssize(piece);
    if (collector.full()) {
      return Error{ErrorCode::kLimit, "the stages of " + std::to_string(n) +
                                          " tokens take more than 4096 MiB: fewer tokens, --stages or --layers"};
    }
    if (computed.ok()) continue;
    // Numbers that are not finite are what people look for here: they are shown, and then said.
    if (computed.error().code != ErrorCode::kNumericFault) return computed.error();
    run.fault = std::move(computed).error();
    break;
  }
  run.stages = std::move(collector.found);
  std::erase_if(run.stages, [](const StageRows& rows) { return rows.positions.empty(); });
  if (run.stages.empty() && !run.fault) {
    return Error{ErrorCode::kInvalidArgument, "none of the --stages comes up in these --layers of this model"};
  }
  return run;
}

}  // namespace rowmax::cli

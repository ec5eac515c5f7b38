#include "apps/cli/traced_run.h"

#include <algorithm>
#include <charconv>

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

class Collector final : public engine::TraceObserver {
 public:
  Collector(std::vector<engine::Stage> stages, std::vector<std::int64_t> layers)
      : stages_(std::move(stages)), layers_(std::move(layers)) {}

  bool wants(engine::Stage stage, std::int64_t layer) override {
    return std::ranges::find(stages_, stage) != stages_.end() &&
           (layer < 0 || std::ranges::find(layers_, layer) != layers_.end());
  }

  void see(const engine::TraceView& view) override {
    const std::size_t n = view.rows.size() * static_cast<std::size_t>(view.n_group * view.width);
    bytes_ += n * sizeof(float);
    if (bytes_ > kMostBytes) return;
    StageRows rows{view.stage, view.layer, view.n_group, view.width, {}, {}};
    rows.values.reserve(n);
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      const float* row = view.data + static_cast<std::int64_t>(i) * view.row_stride;
      rows.values.insert(rows.values.end(), row, row + view.n_group * view.width);
      rows.positions.push_back(view.rows[i].position);
    }
    found.push_back(std::move(rows));
  }

  std::size_t bytes() const { return bytes_; }
  std::vector<StageRows> found;

 private:
  std::vector<engine::Stage> stages_;
  std::vector<std::int64_t> layers_;
  std::size_t bytes_ = 0;
};

Result<std::vector<engine::TokenId>> encode(const engine::Model& model, const TraceFlags& flags) {
  if (flags.prompt.empty() == flags.tokens.empty()) {
    return Error{ErrorCode::kInvalidArgument, "give one prompt: -p TEXT or --tokens IDS"};
  }
  if (flags.tokens.empty()) return engine::encode_prompt(model, flags.prompt, false);
  ROWMAX_TRY(ids, parse_integers(flags.tokens, "--tokens", 0, model.shape().n_vocab - 1));
  return std::vector<engine::TokenId>(ids.begin(), ids.end());
}

}  // namespace

void add_trace_flags(Flags& table, TraceFlags& flags) {
  table.add_grouped("-p,--prompt", flags.prompt, "the prompt, taken as it is").type("TEXT");
  table.add_grouped("--tokens", flags.tokens, "its token ids, 1,2,3, in place of a text").type("IDS");
  std::string names;
  for (int i = 0; i < static_cast<int>(engine::Stage::kCount); ++i) {
    names += (i == 0 ? "" : " ") + std::string(engine::stage_name(static_cast<engine::Stage>(i)));
  }
  table.add("--stages", flags.stages, "which ones, with commas, or all: " + names).shows(flags.stages);
  table.add("--layers", flags.layers, "which ones: 0,3-5").shows("all");
  add_engine_flags(table, flags.engine);
  add_session_flags(table, flags.session);
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
  std::vector<std::int64_t> layers;
  if (text.empty()) {
    for (std::int64_t i = 0; i < n_layer; ++i) layers.push_back(i);
    return layers;
  }
  for (const std::string& part : split(text)) {
    const std::size_t dash = part.find('-');
    const std::string first = part.substr(0, dash), last = dash == std::string::npos ? first : part.substr(dash + 1);
    std::int64_t begin = 0, end = 0;
    const auto number = [](const std::string& digits, std::int64_t& value) {
      const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      return result.ec == std::errc() && result.ptr == digits.data() + digits.size();
    };
    if (!number(first, begin) || !number(last, end) || begin < 0 || end < begin || end >= n_layer) {
      return Error{ErrorCode::kInvalidArgument, "--layers: expected numbers or ranges (0,3-5) up to " +
                                                    std::to_string(n_layer - 1) + ", found \"" + part + "\""};
    }
    for (std::int64_t i = begin; i <= end; ++i) layers.push_back(i);
  }
  return layers;
}

Result<TracedRun> run_traced(const Engine& engine, const TraceFlags& flags) {
  const engine::Model& model = *engine.model;
  ROWMAX_TRY(stages, parse_stages(flags.stages));
  ROWMAX_TRY(layers, parse_layers(flags.layers, model.shape().n_layer));
  TracedRun run;
  ROWMAX_TRY(tokens, encode(model, flags));
  if (tokens.empty()) return Error{ErrorCode::kInvalidArgument, "the prompt has no tokens"};
  run.tokens = std::move(tokens);
  const auto n = static_cast<std::int64_t>(run.tokens.size());
  ROWMAX_TRY(options, session_options(flags.session, flags.engine));
  options.context = std::max(options.context, n);
  options.max_batch = n;  // one batch, so that every stage comes up once
  options.checkpoint_bytes = 0;
  run.edits = options.edits;
  ROWMAX_TRY(session, engine::Session::create(model, options, *engine.executor));
  Collector collector(std::move(stages), std::move(layers));
  session.set_observer(&collector);
  ROWMAX_TRY(sequence, session.open());
  const engine::BatchItem item{sequence, run.tokens, engine::LogitsFor::kAll};
  const Status computed = session.forward({&item, 1});
  // Numbers that are not finite are what people look for here.
  if (!computed.ok() && computed.error().code != ErrorCode::kNumericFault) return computed.error();
  if (collector.bytes() > kMostBytes) {
    return Error{ErrorCode::kLimit, "the stages of " + std::to_string(n) + " tokens take " +
                                        std::to_string(collector.bytes() >> 20) +
                                        " MiB, more than 4096: fewer tokens, --stages or --layers"};
  }
  run.stages = std::move(collector.found);
  if (run.stages.empty()) {
    return Error{ErrorCode::kInvalidArgument, "none of the --stages comes up in these --layers of this model"};
  }
  return run;
}

}  // namespace rowmax::cli

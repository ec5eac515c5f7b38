#include "apps/cli/gates.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/terminal.h"
#include "rowmax/probe.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr std::size_t kMostFailures = 8;  // that are printed

struct SeenRow {
  std::int64_t layer = 0;
  bool decode = false;
  ProbeRow row;
};

struct Count {
  std::int64_t passed = 0, failed = 0, inconclusive = 0;
};

class Gates final : public engine::TraceObserver {
 public:
  Gates(std::vector<std::int64_t> layers, std::int64_t n_head, std::int64_t head, std::int64_t shown_token)
      : layers_(std::move(layers)), head_(head), shown_token_(shown_token) {
    shown.reserve(layers_.size() * static_cast<std::size_t>(n_head));  // rows are seen where nothing may be allocated
  }

  bool wants(engine::Stage, std::int64_t) override { return false; }
  void see(const engine::TraceView&) override {}
  bool probes(std::int64_t layer) override { return std::ranges::find(layers_, layer) != layers_.end(); }
  bool probes_row(std::int64_t, const engine::TraceRow&, std::int64_t head) noexcept override {
    return head_ < 0 || head == head_;
  }
  void see_row(std::int64_t layer, const ProbeRow& row) noexcept override {
    const ProbeVerdict verdict = judge(row);
    ++(decode ? n_decode : n_prefill);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const Gate gate = verdict.*gate_table()[i].gate;
      ++(gate == Gate::kPass ? counts[i].passed : gate == Gate::kFail ? counts[i].failed : counts[i].inconclusive);
    }
    if (verdict.failed()) {
      if (n_failures < failures_.size()) failures_[n_failures++] = {layer, decode, row};
    } else if (row.position == shown_token_ && shown.size() < shown.capacity()) {
      shown.push_back({layer, decode, row});
    }
  }
  std::span<const SeenRow> failures() const { return std::span(failures_).first(n_failures); }

  bool decode = false;
  std::int64_t n_prefill = 0, n_decode = 0;
  std::array<Count, 5> counts;
  std::vector<SeenRow> shown;
  std::size_t n_failures = 0;

 private:
  std::vector<std::int64_t> layers_;
  std::int64_t head_, shown_token_;
  std::array<SeenRow, kMostFailures> failures_;
};

const char* word(Gate gate) { return gate == Gate::kPass ? "pass" : gate == Gate::kFail ? "fail" : "inconclusive"; }

Json json_of(const SeenRow& seen) {
  const ProbeRow& row = seen.row;
  const auto n = static_cast<std::size_t>(row.n_edge);
  const ProbeVerdict verdict = judge(row);
  Json gates = Json::object();
  for (const GateInfo& info : gate_table()) gates.append(info.name, word(verdict.*info.gate));
  return {{"layer", seen.layer},
          {"head", row.head},
          {"token", row.position},
          {"decode", seen.decode},
          {"gates", gates},
          {"scale", row.scale},
          {"measured_scale", row.measured_scale},
          {"n_keys", row.n_kv},
          {"n_visible", row.n_visible},
          {"n_hidden_weighted", row.n_hidden_weighted},
          {"n_visible_lost", row.n_visible_lost},
          {"row_max", row.row_max},
          {"largest_exp", row.largest_exp},
          {"weights_sum", row.weights_sum},
          {"out_error", row.out_error},
          {"out_bound", row.out_bound},
          {"lse_error", row.lse_error},
          {"lse_bound", row.lse_bound},
          {"first_dots", std::span(row.first_dots).first(n)},
          {"first_scores", std::span(row.first_scores).first(n)},
          {"first_weights", std::span(row.first_weights).first(n)},
          {"last_dots", std::span(row.last_dots).first(n)},
          {"last_scores", std::span(row.last_scores).first(n)},
          {"last_weights", std::span(row.last_weights).first(n)}};
}

Status print_json_report(const Gates& gates, std::span<const SeenRow> rows) {
  Json counted = Json::array(), printed = Json::array();
  for (std::size_t i = 0; i < gates.counts.size(); ++i) {
    const Count& count = gates.counts[i];
    const GateInfo& info = gate_table()[i];
    Json gate{{"name", info.name},
              {"asks", info.asks},
              {"passed", count.passed},
              {"failed", count.failed},
              {"inconclusive", count.inconclusive}};
    if (count.failed > 0) gate.append("failing", info.failing);
    counted.push_back(std::move(gate));
  }
  for (const SeenRow& row : gates.failures()) printed.push_back(json_of(row));
  for (const SeenRow& row : rows) printed.push_back(json_of(row));
  return print_json({{"n_rows", gates.n_prefill + gates.n_decode},
                     {"n_prefill", gates.n_prefill},
                     {"n_decode", gates.n_decode},
                     {"gates", counted},
                     {"rows", printed}});
}

void print_row(const SeenRow& seen) {
  std::printf("blk.%lld, %s: %s", static_cast<long long>(seen.layer), seen.decode ? "decode" : "prefill",
              probe_text(seen.row).c_str());
  const ProbeVerdict verdict = judge(seen.row);
  for (const GateInfo& info : gate_table()) {
    if (verdict.*info.gate != Gate::kFail) continue;
    std::printf("  %s fails: %s\n", info.name, info.failing);
    break;  // the first one: those behind it follow from it
  }
}

void print_text(const Gates& gates, std::span<const SeenRow> rows) {
  for (const SeenRow& row : gates.failures()) print_row(row);
  for (const SeenRow& row : rows) print_row(row);
  std::printf("%lld rows (%lld of the prompt at once, %lld token by token)\n",
              static_cast<long long>(gates.n_prefill + gates.n_decode), static_cast<long long>(gates.n_prefill),
              static_cast<long long>(gates.n_decode));
  for (std::size_t i = 0; i < gates.counts.size(); ++i) {
    const Count& count = gates.counts[i];
    std::printf("%-8s %9lld passed %6lld failed %6lld inconclusive   %s\n", gate_table()[i].name,
                static_cast<long long>(count.passed), static_cast<long long>(count.failed),
                static_cast<long long>(count.inconclusive), gate_table()[i].asks);
  }
}

}  // namespace

Result<ExitCode> print_gates(const Engine& engine, const TraceFlags& flags, const GatesOptions& options) {
  const engine::Model& model = *engine.model;
  ROWMAX_TRY(layers, parse_layers(flags.layers, model.shape().n_layer));
  ROWMAX_TRY(tokens, prompt_tokens(model, flags.prompt, flags.tokens));
  const auto n = static_cast<std::int64_t>(tokens.size());
  ROWMAX_TRY(shown, token_position(options.token, n));
  ROWMAX_TRY(session, traced_session(engine, flags, n));
  Gates gates(std::move(layers), model.shape().n_head, options.head, shown);
  session.set_observer(&gates);
  ROWMAX_TRY(sequence, session.open());
  constexpr std::int64_t kPiece = 480;  // a long prompt can be interrupted
  const std::int64_t n_prefill = n - std::min<std::int64_t>(8, n / 2);
  std::optional<Error> fault;
  for (std::int64_t at = 0; at < n && !fault;) {
    if (interrupted()) return Error{ErrorCode::kCancelled, "interrupted"};
    gates.decode = at >= n_prefill;
    const std::int64_t size = gates.decode ? 1 : std::min(kPiece, n_prefill - at);
    const engine::BatchItem item{
        sequence, std::span(tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(size))};
    if (Status computed = session.forward({&item, 1}); !computed.ok()) {
      if (computed.error().code != ErrorCode::kNumericFault) return computed.error();
      fault = std::move(computed).error();
    }
    at += size;
  }
  if (gates.n_prefill + gates.n_decode == 0) {
    return Error{ErrorCode::kInvalidArgument, "none of these layers has a row of attention with that --head"};
  }
  const bool narrowed = !flags.layers.empty() || options.head >= 0 || options.token_named;
  const std::span<const SeenRow> rows = narrowed ? std::span<const SeenRow>(gates.shown) : std::span<const SeenRow>();
  if (options.json) {
    ROWMAX_RETURN_IF_ERROR(print_json_report(gates, rows));
  } else {
    print_text(gates, rows);
  }
  if (fault) return with_file(*fault, model);
  const bool failed = std::ranges::any_of(gates.counts, [](const Count& count) { return count.failed > 0; });
  return failed ? ExitCode::kFaulty : ExitCode::kOk;
}

}  // namespace rowmax::cli

// rowmax trace: stages of the forward pass as a table to read.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <span>

#include "apps/cli/command.h"
#include "apps/cli/gates.h"
#include "apps/cli/json_output.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/terminal.h"
#include "apps/cli/traced_run.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kTraceExamples = R"(
Examples:
  rowmax trace -m model.gguf -p "Once upon a time"                         the stream behind every layer, last token
  rowmax trace -m model.gguf -p "Once upon a time" --stages q,k,scores --layers 3 --head 0
  rowmax trace -m model.gguf --tokens 1,2,3 --stages all --layers 0 --token 0 --json
  rowmax trace -m model.gguf -p "Once upon a time" --gates                 scale, mask, row max, sum, parity of every row
  rowmax trace -m model.gguf -p "Once upon a time" --gates --layers 3 --head 0
  rowmax trace -m model.gguf -p Hi --convention rope_pairing=adjacent      as if the file said so
)";

constexpr std::size_t kEdge = 8;

struct TraceCommandFlags {
  TraceFlags trace;
  std::int64_t token = -1, head = -1;
  bool token_named = false, json = false, gates = false;
};

// What is said of a run of numbers.
struct Digest {
  double min = std::numeric_limits<double>::infinity(), max = -min, rms = 0;
  std::int64_t n_non_finite = 0;
};

Digest digest_of(std::span<const float> values) {
  Digest digest;
  std::int64_t n = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) {
      ++digest.n_non_finite;
      continue;
    }
    digest.min = std::min<double>(digest.min, value);
    digest.max = std::max<double>(digest.max, value);
    digest.rms += static_cast<double>(value) * value;
    ++n;
  }
  digest.rms = n == 0 ? std::numeric_limits<double>::quiet_NaN() : std::sqrt(digest.rms / static_cast<double>(n));
  return digest;
}

std::string edge_text(std::span<const float> values) {
  std::string text;
  char number[32];
  const auto put = [&](float value) {
    std::snprintf(number, sizeof number, "%s%.5g", text.empty() ? "" : " ", static_cast<double>(value));
    text += number;
  };
  if (values.size() <= 2 * kEdge) {
    for (const float value : values) put(value);
    return text;
  }
  for (const float value : values.first(kEdge)) put(value);
  text += " ...";
  for (const float value : values.last(kEdge)) put(value);
  return text;
}

class Table {
 public:
  Table(const TraceCommandFlags& flags, const TracedRun& run) : flags_(flags), run_(run) {}

  Status print() {
    const auto n = static_cast<std::int64_t>(run_.tokens.size());
    position_ = flags_.token < 0 ? n + flags_.token : flags_.token;
    for (const StageRows& rows : run_.stages) add(rows);
    if (n_rows_ == 0 && !run_.fault) {
      return Error{ErrorCode::kInvalidArgument,
                   "none of the stages has row " + std::to_string(flags_.head) + " of --head"};
    }
    if (!flags_.json) return {};
    return print_json({{"tokens", run_.tokens}, {"token", position_}, {"rows", rows_}});
  }

 private:
  void add(const StageRows& rows) {
    const auto found = std::ranges::find(rows.positions, position_);
    if (found == rows.positions.end()) return;
    const std::span<const float> row =
        std::span(rows.values)
            .subspan(static_cast<std::size_t>((found - rows.positions.begin()) * rows.row_width()),
                     static_cast<std::size_t>(rows.row_width()));
    if (rows.n_group == 1) {
      if (flags_.head < 0) add_line(rows.name(), -1, row);
      return;
    }
    for (std::int64_t group = 0; group < rows.n_group; ++group) {
      if (flags_.head >= 0 && group != flags_.head) continue;
      add_line(rows.name(), group,
               row.subspan(static_cast<std::size_t>(group * rows.width), static_cast<std::size_t>(rows.width)));
    }
  }

  void add_line(const std::string& name, std::int64_t group, std::span<const float> values) {
    ++n_rows_;
    const Digest digest = digest_of(values);
    if (flags_.json) {
      const std::size_t n = std::min(values.size(), kEdge);
      Json row{{"stage", name},
               {"width", values.size()},
               {"min", digest.min},
               {"max", digest.max},
               {"rms", digest.rms},
               {"n_non_finite", digest.n_non_finite},
               {"first", values.first(n)},
               {"last", values.last(n)}};
      if (group >= 0) row.append("head", group);
      rows_.push_back(std::move(row));
      return;
    }
    if (n_rows_ == 1) {
      std::printf("token %lld of %zu (id %d)\n%-20s %5s %6s %12s %12s %12s %5s  %s\n",
                  static_cast<long long>(position_), run_.tokens.size(),
                  static_cast<int>(run_.tokens[static_cast<std::size_t>(position_)]), "stage", "head", "width", "min",
                  "max", "rms", "bad", "first and last values");
    }
    const std::string head = group < 0 ? "" : std::to_string(group);
    std::printf("%-20s %5s %6zu %12.5g %12.5g %12.5g %5lld  %s\n", name.c_str(), head.c_str(), values.size(),
                digest.min, digest.max, digest.rms, static_cast<long long>(digest.n_non_finite),
                edge_text(values).c_str());
  }

  const TraceCommandFlags& flags_;
  const TracedRun& run_;
  std::int64_t position_ = 0, n_rows_ = 0;
  Json rows_ = Json::array();
};

Result<ExitCode> trace(const TraceCommandFlags& flags) {
  ROWMAX_TRY(engine, load_engine(flags.trace.engine));
  for (const std::string& notice : engine.notices) note(notice);
  if (flags.gates) return print_gates(engine, flags.trace, {flags.token, flags.token_named, flags.head, flags.json});
  auto run = run_traced(engine, flags.trace, flags.token);
  if (!run.ok()) return with_file(std::move(run).error(), *engine.model);
  ROWMAX_RETURN_IF_ERROR(Table(flags, *run).print());
  if (run->fault) return with_file(*run->fault, *engine.model);
  return ExitCode::kOk;
}

}  // namespace

CommandBody declare_trace(Flags& table) {
  auto flags = std::make_shared<TraceCommandFlags>();
  add_trace_flags(table, flags->trace);
  table.add("--token", flags->token, "which token's row: 0 is the first, -1 the last").tells(flags->token_named);
  table.add("--head", flags->head, "one head alone; of experts, the n-th that the token chose; -1: all");
  table.add_switch("--gates", flags->gates,
                   "what became of every row of attention, against fp64, in place of stages: the prompt at once, its "
                   "last tokens one by one");
  table.apart("--gates", {"--stages", "--debug"});
  table.add_switch("--json", flags->json, "print one JSON object");
  table.set_examples(kTraceExamples);
  return [flags] { return lists_kernels(flags->trace.engine) ? list_kernels(flags->json) : trace(*flags); };
}

}  // namespace rowmax::cli

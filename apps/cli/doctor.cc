// rowmax doctor: what is wrong with a model, and how that is known.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>

#include "apps/cli/command.h"
#include "apps/cli/doctor_page.h"
#include "apps/cli/embedded_model.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/terminal.h"
#include "rowmax/doctor/doctor.h"
#include "rowmax/engine/output_file.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

using doctor::CheckResult;
using doctor::Verdict;

constexpr const char* kDoctorExamples = R"(
Examples:
  rowmax doctor model.gguf                  all checks; 68 seconds for a model of 135 million weights on two cores
  rowmax doctor model.gguf --quick          the file alone: seconds
  rowmax doctor model.gguf --html page.html a page with pictures, too
  rowmax doctor model.gguf --json | jq .causes[0]
  rowmax doctor model.gguf --only conventions --budget 300
Exit codes: 0 healthy, 10 faulty, 11 inconclusive; others as of every command.
)";

struct DoctorFlags {
  EngineFlags engine;
  std::string path, html, reference;
  std::vector<std::string> only;
  bool quick = false, budget_named = false, json = false, force = false;
  double budget = 60;
};

const char* verdict_word(Verdict verdict) {
  return verdict == Verdict::kPass ? "healthy" : verdict == Verdict::kFail ? "faulty" : "inconclusive";
}

Json place_json(const doctor::Place& place) {
  Json json = Json::object();
  if (place.layer >= 0) json.append("layer", place.layer);
  if (place.head >= 0) json.append("head", place.head);
  if (place.position >= 0) json.append("position", place.position);
  if (!place.tensor.empty()) json.append("tensor", place.tensor);
  if (!place.key.empty()) json.append("key", place.key);
  if (!place.stage.empty()) json.append("stage", place.stage);
  return json;
}

Json report_json(const doctor::Report& report, const std::string& model) {
  Json causes = Json::array(), checks = Json::array();
  for (const doctor::Cause& cause : report.causes) {
    Json evidence = Json::object();
    for (const auto& [name, value] : cause.evidence) evidence.append(name, value);
    causes.push_back({{"id", cause.id},
                      {"place", place_json(cause.place)},
                      {"text", cause.text},
                      {"evidence", std::move(evidence)},
                      {"command", cause.command},
                      {"confidence", cause.confidence}});
  }
  for (const CheckResult& check : report.checks) {
    Json row{{"id", check.id},
             {"verdict", doctor::verdict_name(check.verdict)},
             {"measured", check.measured},
             {"threshold", check.threshold},
             {"unit", check.unit},
             {"n_compared", check.n_compared},
             {"place", place_json(check.place)},
             {"reason", check.reason},
             {"seconds", check.seconds}};
    if (!check.rows.empty()) {
      row.append("columns", check.columns);
      row.append("rows", check.rows);
    }
    checks.push_back(std::move(row));
  }
  Json json{{"verdict", verdict_word(report.verdict)}, {"model", model}, {"diagnosis", report.diagnosis}};
  if (!report.load_error.empty()) json.append("load_error", report.load_error);
  json.append("causes", std::move(causes));
  json.append("checks", std::move(checks));
  return json;
}

std::string coloured(Verdict verdict) {
  std::string word = doctor::verdict_name(verdict);
  word.resize(12, ' ');
  if (!use_color(STDOUT_FILENO)) return word;
  const char* colour = verdict == Verdict::kPass ? "32" : verdict == Verdict::kFail ? "31" : "33";
  return "\x1b[" + std::string(colour) + "m" + word + "\x1b[0m";
}

void print_report(const doctor::Report& report) {
  std::printf("%-15s %-12s %10s %10s %12s  %s\n", "check", "verdict", "measured", "bound", "compared", "");
  for (const CheckResult& check : report.checks) {
    std::printf("%-15s %s %10s %10s %12lld  %s\n", check.id.c_str(), coloured(check.verdict).c_str(),
                figure(check.measured).c_str(), figure(check.threshold).c_str(),
                static_cast<long long>(check.n_compared), shown(check.reason, STDOUT_FILENO).c_str());
  }
  std::printf("\n%s\n", bold(std::string("Verdict: ") + verdict_word(report.verdict), STDOUT_FILENO).c_str());
  std::printf("%s\n", shown(report.diagnosis, STDOUT_FILENO).c_str());
  if (!report.load_error.empty())
    std::printf("The engine refuses it: %s\n", shown(report.load_error, STDOUT_FILENO).c_str());
  for (std::size_t i = 0; i < report.causes.size(); ++i) {
    const doctor::Cause& cause = report.causes[i];
    std::printf("\n%zu. %s (confidence %.2f)\n   %s\n", i + 1, bold(cause.id, STDOUT_FILENO).c_str(), cause.confidence,
                shown(cause.text, STDOUT_FILENO).c_str());
    if (!cause.command.empty()) std::printf("   See: %s\n", shown(cause.command, STDOUT_FILENO).c_str());
  }
}

// The checks know no name of the model; a command to paste does.
void name_model(std::string& command, const std::string& model) {
  const std::string quoted = model.find_first_of(" '\"$") == std::string::npos ? model : "'" + model + "'";
  const std::string_view word = "MODEL";
  for (std::size_t at = command.find(word); at != std::string::npos; at = command.find(word, at + quoted.size())) {
    command.replace(at, word.size(), quoted);
  }
}

// What the checks that --only names do not look at.
Status check_only(const DoctorFlags& flags) {
  const auto asked = [&](std::string_view id) {
    return flags.only.empty() || std::ranges::find(flags.only, id) != flags.only.end();
  };
  if (!flags.reference.empty() && !asked("first_divergence")) {
    return Error::invalid_argument("--reference: has an effect only on first_divergence, which --only leaves out");
  }
  if (flags.reference.empty() && flags.only == std::vector<std::string>{"first_divergence"}) {
    return Error::invalid_argument("--only first_divergence: needs --reference");
  }
  if (flags.budget_named && !asked("conventions") && !asked("first_divergence")) {
    return Error::invalid_argument(
        "--budget: has an effect only on conventions and first_divergence, which --only leaves out");
  }
  return {};
}

Result<ExitCode> examine(DoctorFlags flags) {
  ROWMAX_RETURN_IF_ERROR(check_only(flags));
  if (!flags.path.empty()) flags.engine.model = flags.path;
  ROWMAX_TRY(model, model_options(flags.engine));
  ROWMAX_TRY(executor, make_thread_pool(flags.engine.threads));
  const engine::OutputOptions output{.overwrite = flags.force, .inputs = {flags.engine.model}};
  // Before the work, so that a page that cannot be written costs none.
  std::optional<engine::OutputFile> page;
  if (!flags.html.empty()) {
    ROWMAX_TRY(file, engine::OutputFile::create(flags.html, output));
    page.emplace(std::move(file));
  }
  doctor::DoctorOptions options;
  options.depth = flags.quick ? doctor::Depth::kFile : doctor::Depth::kEngine;
  options.budget_seconds = flags.budget;
  options.model = std::move(model);
  options.only = flags.only;
  options.reference = flags.reference;
  const auto n_checks = static_cast<double>(doctor::check_table().size());
  ProgressBar bar("examining", 1, false);
  options.progress = [&](std::string_view id, double fraction) {
    double before = 0;
    for (const doctor::CheckInfo& info : doctor::check_table()) {
      if (info.id == id) break;
      ++before;
    }
    if (!flags.engine.quiet) bar.update((before + fraction) / n_checks, id);
    return !interrupted();
  };
  const auto open = [&](const engine::GgufOptions& gguf) { return open_model(flags.engine.model, gguf); };
  auto report = doctor::diagnose(open, options, *executor);
  bar.finish();
  if (!report.ok()) return std::move(report).error();
  for (doctor::Cause& cause : report->causes) name_model(cause.command, flags.engine.model);
  if (page) ROWMAX_RETURN_IF_ERROR(write_doctor_page(*report, flags.engine.model, open, options, *executor, *page));
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json(report_json(*report, flags.engine.model)));
  } else {
    print_report(*report);
  }
  return report->verdict == Verdict::kPass   ? ExitCode::kOk
         : report->verdict == Verdict::kFail ? ExitCode::kFaulty
                                             : ExitCode::kInconclusive;
}

}  // namespace

CommandBody declare_doctor(Flags& table) {
  auto flags = std::make_shared<DoctorFlags>();
  table.add_word("path", flags->path, "in place of -m").type("PATH|NAME").not_empty();
  add_model_flag(table, flags->engine);
  table.apart("path", {"--model"});
  add_memory_flag(table, flags->engine);
  add_compute_flags(table, flags->engine);
  table.add_switch("--quick", flags->quick, "look at the file alone, compute nothing with it");
  table.add("--budget", flags->budget, "seconds for the search over conventions; fewer shorten text and list")
      .tells(flags->budget_named);
  table.add("--only", flags->only, "one check alone (may be given several times)").type("CHECK");
  table.add("--reference", flags->reference, "what another engine computed (rowmax dump's form), to compare with")
      .type("FILE")
      .not_empty();
  table.add("--html", flags->html, "write a page with pictures").type("FILE").not_empty();
  table.add_switch("--force", flags->force, "replace an existing --html file");
  table.only_with("--force", {"--html"});
  table.apart("--quick", {"--budget", "--reference", "--activations", "--isa", "--kernels"});
  table.add_switch("--json", flags->json, "print one JSON object");
  table.set_examples(kDoctorExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(flags->json) : examine(*flags); };
}

}  // namespace rowmax::cli

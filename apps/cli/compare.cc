// rowmax compare: where our numbers and another engine's part, and what explains it.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>

#include "apps/cli/command.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/served_logprobs.h"
#include "apps/cli/terminal.h"
#include "apps/cli/traced_run.h"
#include "apps/store/digest.h"
#include "rowmax/doctor/compare.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kCompareExamples = R"(
Examples:
  rowmax compare -m model.gguf --reference hf.safetensors                   with what tools/reference made elsewhere
  rowmax compare -m model.gguf --reference a.safetensors --reference b.npz  two oracles, and whether they agree
  rowmax compare -m model.gguf -p "Once upon a time" --other-isa scalar     ours with ours, bit for bit
  rowmax compare -m model.gguf -p "Once upon a time" --other-model other.gguf
  rowmax compare -m model.gguf -p "Once upon a time" --server http://localhost:8080 --plain-http
Exit code 0: they agree; 10: they do not; 11: there was nothing to compare.
)";

struct CompareFlags {
  TraceFlags trace;  // without its stages and layers: all are compared
  std::vector<std::string> references;
  ServerFlags server;
  double tolerance = 0, budget = 300;
  bool no_replay = false, json = false;
  std::string other_isa, other_model, other_activations;
  int other_threads = -1;
  std::vector<std::string> other_conventions;

  bool with_other() const {
    return !other_isa.empty() || !other_model.empty() || !other_activations.empty() || other_threads >= 0 ||
           !other_conventions.empty();
  }
};

ExitCode exit_code_of(doctor::Verdict verdict) {
  return verdict == doctor::Verdict::kPass   ? ExitCode::kOk
         : verdict == doctor::Verdict::kFail ? ExitCode::kFaulty
                                             : ExitCode::kInconclusive;
}

Json json_of(const doctor::StageDifference& d) {
  Json json{{"stage", engine::stage_name(d.stage)}};
  json.append("layer", d.layer < 0 ? Json() : Json(d.layer));
  json.append("token", d.token < 0 ? Json() : Json(d.token));
  for (const auto& [name, value] : {std::pair{"relative_l2", d.relative_l2}, std::pair{"cosine", d.cosine},
                                    std::pair{"max_abs", d.max_abs}, std::pair{"tolerance", d.tolerance}}) {
    json.append(name, value);
  }
  json.append("n_compared", d.n_compared);
  return json;
}

Json json_of(const doctor::Explanation& e) {
  return Json{{"edit", e.edit}, {"residual", e.residual}, {"layers", e.layers}, {"text", e.text}};
}

Json json_of(const doctor::Comparison& c) {
  Json json{{"verdict", doctor::verdict_name(c.verdict)}};
  json.append("reference_model", c.origin.model.empty() ? Json() : Json(c.origin.model));
  json.append("model_differences", c.origin.differences);
  const doctor::StageDifference* first = c.first();
  json.append("first_divergence", first == nullptr ? Json() : json_of(*first));
  json.append("pattern", c.pattern.empty() ? Json() : Json(c.pattern));
  json.append("replay", c.explanations.empty() ? Json() : json_of(c.explanations[0]));
  Json explanations = Json::array();
  for (const doctor::Explanation& each : c.explanations) explanations.push_back(json_of(each));
  json.append("explanations", std::move(explanations));
  json.append("n_compared", c.n_compared);
  json.append("n_rounded_input", c.n_rounded_input);
  json.append("logits", Json{{"kl", c.logits.kl}, {"rows", c.logits.n_row}, {"same_first", c.logits.n_same_first}});
  json.append("noise", Json{{"products", c.noise_products}, {"attention", c.noise_attention}, {"rest", c.noise_rest}});
  json.append("whole_relative_l2", c.whole_relative_l2);
  Json stages = Json::array();
  for (const doctor::StageDifference& d : c.stages) stages.push_back(json_of(d));
  json.append("stages", std::move(stages));
  json.append("not_compared", c.not_compared);
  json.append("summary", c.summary);
  return json;
}

// One line a stage, the worst of its layers.
void print_table(const doctor::Comparison& c) {
  struct Row {
    const doctor::StageDifference* worst = nullptr;
    std::int64_t n = 0, n_diverging = 0;
  };
  std::map<engine::Stage, Row> rows;
  for (const doctor::StageDifference& d : c.stages) {
    if (d.n_compared == 0) continue;
    Row& row = rows[d.stage];
    ++row.n;
    row.n_diverging += d.diverges();
    if (row.worst == nullptr || d.relative_l2 > row.worst->relative_l2) row.worst = &d;
  }
  std::printf("%-12s %7s %9s  %-12s %9s %11s %10s\n", "stage", "layers", "diverging", "worst", "rel. L2", "tolerance",
              "cosine");
  for (const auto& [stage, row] : rows) {
    std::printf("%-12s %7lld %9lld  %-12s %9.2g %11.2g %10.6f\n", std::string(engine::stage_name(stage)).c_str(),
                static_cast<long long>(row.n), static_cast<long long>(row.n_diverging),
                row.worst->layer < 0 ? "" : ("layer " + std::to_string(row.worst->layer)).c_str(),
                row.worst->relative_l2, row.worst->tolerance, row.worst->cosine);
  }
}

void print_text(const doctor::Comparison& c, const std::string& name) {
  std::printf("%s\n", bold(printable(name), 1).c_str());
  if (!c.origin.differences.empty()) {
    std::printf("It is of another model%s:\n",
                c.origin.model.empty() ? "" : (", " + printable(c.origin.model) + " as it says").c_str());
    for (const std::string& each : c.origin.differences) std::printf("  %s\n", printable(each).c_str());
  }
  if (c.stages.size() > 1) print_table(c);
  if (c.logits.n_row > 0) {
    std::printf("whole passes: KL %.2g nat, the same likeliest token in %lld of %lld rows\n", c.logits.kl,
                static_cast<long long>(c.logits.n_same_first), static_cast<long long>(c.logits.n_row));
  }
  if (c.noise_products > 0) {
    std::printf("median relative L2 of stages: products %.1g, attention %.1g, the rest %.1g\n", c.noise_products,
                c.noise_attention, c.noise_rest);
  }
  for (const std::string& each : c.not_compared) std::printf("not compared: %s\n", printable(each).c_str());
  std::printf("%s\n", printable(c.summary).c_str());
}

// Of other weights than the file's by its own word; "": not so, or it says nothing. They may still be meant.
std::string other_file(const engine::Model& model, const doctor::Reference& reference) {
  std::vector<std::string> theirs;
  for (const auto& [key, value] : reference.metadata) {
    if (key.starts_with("sha256:")) theirs.push_back(value);
  }
  if (theirs.empty()) return "";
  for (const std::string& path : model.file().paths()) {
    const auto digest = store::file_digest(path, store::DigestKind::kSha256);
    if (digest.ok() && std::ranges::find(theirs, *digest) == theirs.end()) {
      return "file: SHA-256 " + theirs[0] + " there, " + *digest + " here (" + path + ")";
    }
  }
  return "";
}

doctor::CompareOptions options_of(const CompareFlags& flags) {
  doctor::CompareOptions options;
  options.tolerance = flags.tolerance;
  options.replay = !flags.no_replay;
  options.budget_seconds = flags.budget;
  options.progress = [](std::string_view) { return !interrupted(); };
  return options;
}

// What both oracles say of each other, and which of them agrees with ours there.
struct Between {
  doctor::Comparison comparison;
  std::string text;
};

Result<Between> compare_oracles(std::span<const doctor::Reference> references,
                                std::span<const doctor::Comparison> with_ours) {
  // Whole passes of two engines differ by what their rounding adds up to.
  constexpr double kWhole = 1e-2;
  ROWMAX_TRY(comparison, doctor::compare_references(references[0], references[1], kWhole));
  Between out{std::move(comparison), ""};
  const doctor::StageDifference* first = out.comparison.first();
  if (out.comparison.n_compared == 0) {
    out.text = "the references have no stage in common";
  } else if (first == nullptr) {
    out.text = "the references agree with each other";
  } else {
    out.text = "the references part at " + doctor::stage_text(first->stage, first->layer) + ", token " +
               std::to_string(first->token);
    for (std::size_t i = 0; i < 2; ++i) {
      const auto same = [&](const doctor::StageDifference& d) {
        return d.stage == first->stage && d.layer == first->layer;
      };
      const auto d = std::ranges::find_if(with_ours[i].stages, same);
      const bool agrees = d != with_ours[i].stages.end() && d->n_compared > 0 && !d->diverges();
      out.text += std::string(i == 0 ? ": " : ", ") + references[i].name + (agrees ? " agrees" : " does not agree") +
                  " with ours there";
    }
  }
  return out;
}

Result<ExitCode> with_references(const CompareFlags& flags, const Engine& engine,
                                 std::span<const engine::TokenId> tokens) {
  std::vector<doctor::Reference> references;
  std::vector<doctor::Comparison> comparisons;
  for (const std::string& path : flags.references) {
    ROWMAX_TRY(reference, doctor::read_reference(path, tokens));
    for (const std::string& notice : reference.notices) note(notice);
    const std::string other = other_file(*engine.model, reference);
    if (!other.empty() && !flags.trace.engine.quiet) {
      note(reference.name + ": was made from another model file than " + engine.model->file().name() +
           " (their SHA-256 differ)");
    }
    auto compared = doctor::compare(*engine.model, reference, options_of(flags), *engine.executor);
    if (!compared.ok()) return with_file(std::move(compared).error(), *engine.model);
    if (!other.empty()) compared->origin.differences.push_back(other);
    comparisons.push_back(std::move(*compared));
    references.push_back(std::move(reference));
  }
  std::optional<Between> between;
  if (references.size() == 2) {
    ROWMAX_TRY(made, compare_oracles(references, comparisons));
    between = std::move(made);
  }
  doctor::Verdict verdict = comparisons[0].verdict;
  for (const doctor::Comparison& each : comparisons) {
    if (each.verdict == doctor::Verdict::kFail || verdict == doctor::Verdict::kPass) verdict = each.verdict;
  }
  if (!flags.json) {
    for (std::size_t i = 0; i < references.size(); ++i) {
      print_text(comparisons[i], references[i].name + ": " + std::to_string(references[i].tokens.size()) + " tokens");
    }
    if (between) std::printf("%s\n", printable(between->text).c_str());
    return exit_code_of(verdict);
  }
  Json json = json_of(comparisons[0]);
  json.append("reference", references[0].name);
  if (between) {
    Json other = json_of(comparisons[1]);
    other.append("reference", references[1].name);
    json.append("other", std::move(other));
    const doctor::StageDifference* first = between->comparison.first();
    json.append("between_references", Json{{"verdict", doctor::verdict_name(between->comparison.verdict)},
                                           {"first_divergence", first == nullptr ? Json() : json_of(*first)},
                                           {"n_compared", between->comparison.n_compared},
                                           {"text", between->text}});
  }
  ROWMAX_RETURN_IF_ERROR(print_json(std::move(json)));
  return exit_code_of(verdict);
}

Result<ExitCode> print_one(const CompareFlags& flags, const doctor::Comparison& comparison, const std::string& name) {
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json(json_of(comparison)));
  } else {
    print_text(comparison, name);
  }
  return exit_code_of(comparison.verdict);
}

// Ours beside ours: what the flags say, and the same with what the --other flags say.
Result<ExitCode> with_ours(const CompareFlags& flags, const Engine& engine, std::span<const engine::TokenId> tokens) {
  ROWMAX_TRY(ours,
             doctor::run_reference(*engine.model, session_options(flags.trace.session), tokens, *engine.executor));
  EngineFlags other = flags.trace.engine;
  if (!flags.other_isa.empty()) {
    other.isa = flags.other_isa;
    other.kernels.clear();
  }
  if (flags.other_threads >= 0) other.threads = flags.other_threads;
  if (!flags.other_model.empty()) other.model = flags.other_model;
  if (!flags.other_activations.empty()) other.activations = flags.other_activations;
  other.conventions.insert(other.conventions.end(), flags.other_conventions.begin(), flags.other_conventions.end());
  other.quiet = true;
  ROWMAX_TRY(second, load_engine(other));
  ROWMAX_TRY(theirs,
             doctor::run_reference(*second.model, session_options(flags.trace.session), tokens, *second.executor));
  ROWMAX_TRY(comparison, doctor::compare_references(ours, theirs, flags.tolerance));
  return print_one(flags, comparison, "rowmax and rowmax: " + std::to_string(tokens.size()) + " tokens");
}

Status check_flags(const CompareFlags& flags) {
  const int n = !flags.references.empty() + !flags.server.url.empty() + flags.with_other();
  if (n != 1) {
    return Error::invalid_argument("give one thing to compare with: --reference FILE, --server URL, or --other-...");
  }
  if (flags.references.size() > 2) {
    return Error::invalid_argument("--reference: expected one or two files, found " +
                                   std::to_string(flags.references.size()));
  }
  return {};
}

Result<ExitCode> compare(const CompareFlags& flags) {
  ROWMAX_RETURN_IF_ERROR(check_flags(flags));
  ROWMAX_TRY(engine, load_engine(flags.trace.engine));
  for (const std::string& notice : engine.notices) note(notice);
  std::vector<engine::TokenId> tokens;
  if (flags.references.empty() || !flags.trace.prompt.empty() || !flags.trace.tokens.empty()) {
    ROWMAX_TRY(encoded, prompt_tokens(*engine.model, flags.trace.prompt, flags.trace.tokens));
    tokens = std::move(encoded);
  }
  if (!flags.references.empty()) return with_references(flags, engine, tokens);
  if (flags.server.url.empty()) return with_ours(flags, engine, tokens);
  ROWMAX_TRY(served, ask_server(flags.server, *engine.model, tokens));
  ROWMAX_TRY(comparison, doctor::compare_logprobs(*engine.model, served, options_of(flags), *engine.executor));
  return print_one(flags, comparison, served.name + ": " + std::to_string(tokens.size()) + " tokens");
}

}  // namespace

CommandBody declare_compare(Flags& table) {
  auto flags = std::make_shared<CompareFlags>();
  table
      .add("--reference", flags->references,
           "a dump of another engine, .safetensors or .npz in the form of `rowmax dump`; two may be given")
      .type("FILE");
  table.add("-p,--prompt", flags->trace.prompt, "the prompt, where the reference does not say its tokens")
      .type("TEXT")
      .not_empty();
  table.add("--tokens", flags->trace.tokens, "its token ids, 1,2,3, in place of a text").type("IDS").not_empty();
  table.add("--tolerance", flags->tolerance,
            "of relative L2; of a server, nat; 0: 1e-4 for references in f32, else from the measured noise up to 1e-2; "
            "ours with ours: the same bits");
  table.add("--budget", flags->budget, "most seconds for variants that could explain a divergence");
  table.add_switch("--no-replay", flags->no_replay, "do not look for what explains a divergence");
  table.add("--server", flags->server.url, "ask a server for log-probabilities: https://HOST:PORT").type("URL");
  table.add("--server-api", flags->server.api, "its interface; default: the one that answers")
      .one_of({"llama", "openai"});
  table.add("--server-model", flags->server.model, "what the server calls the model").type("NAME");
  table.add_switch("--plain-http", flags->server.plain_http, "allow http:// addresses");
  table.add("--other-isa", flags->other_isa, "ours with ours: another instruction set").type("NAME");
  table.add("--other-threads", flags->other_threads, "another number of threads").within(-1, 1024);
  table.add("--other-model", flags->other_model, "another file").type("PATH|NAME");
  table.add("--other-activations", flags->other_activations, "int8 or f32").one_of({"int8", "f32"});
  table.add("--other-convention", flags->other_conventions, "another fact; may be given several times")
      .type("NAME=VALUE");
  add_engine_flags(table, flags->trace.engine);
  add_kv_flags(table, flags->trace.session);
  // A reference says itself how it was computed, and of a server nothing is known.
  for (const char* of_ours : {"--activations", "--kv-type", "--kv-budget"}) {
    table.apart(of_ours, {"--reference", "--server"});
  }
  table.only_with("--no-replay", {"--reference", "--server"});
  table.only_with("--budget", {"--reference", "--server"});
  table.apart("--budget", {"--no-replay"});
  for (const char* of_server : {"--server-api", "--server-model", "--plain-http"}) {
    table.only_with(of_server, {"--server"});
  }
  table.apart("--server-model", {"--server-api=llama"});
  table.choose_one({{"--tokens"}, {"--prompt"}});
  table.choose_one({{"--reference"},
                    {"--server"},
                    {"--other-isa", "--other-threads", "--other-model", "--other-activations", "--other-convention"}});
  table.add_switch("--json", flags->json, "print one JSON object");
  table.set_examples(kCompareExamples);
  return [flags] { return lists_kernels(flags->trace.engine) ? list_kernels(flags->json) : compare(*flags); };
}

}  // namespace rowmax::cli

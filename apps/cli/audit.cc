// rowmax audit: what a server's answers depend on, on one page.
#include <chrono>
#include <cstdio>
#include <memory>
#include <span>

#include "apps/audit/audit.h"
#include "apps/cli/command.h"
#include "apps/cli/engine_setup.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/receipt.h"
#include "apps/cli/terminal.h"
#include "rowmax/engine/output_file.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kAuditExamples = R"(
Examples:
  rowmax audit --url http://127.0.0.1:8080                  any server with OpenAI's API
  rowmax audit --url http://127.0.0.1:8080 --seconds 600    many rounds
  ROWMAX_API_KEY=... rowmax audit --url https://example.org/v1 --model NAME
  rowmax audit --url http://127.0.0.1:8080 --save before.json
  rowmax audit --url http://127.0.0.1:8080 --against before.json    after a restart, or with other settings
Exit code 0: nothing that was compared depends on anything but the request; 10: something does; 11: what can be
compared anywhere was not.
)";

struct AuditFlags {
  audit::Options options;
  std::uint64_t questions = 0;
  bool questions_named = false;
  std::string save, against;
  bool overwrite = false, plain_http = false, json = false, quiet = false;
};

const char* verdict_word(audit::Verdict verdict) {
  switch (verdict) {
    case audit::Verdict::kPass: return "PASS";
    case audit::Verdict::kFail: return "FAIL";
    case audit::Verdict::kInconclusive: return "inconclusive";
  }
  return "";
}

ExitCode exit_code_of(audit::Verdict verdict) {
  return verdict == audit::Verdict::kPass   ? ExitCode::kOk
         : verdict == audit::Verdict::kFail ? ExitCode::kFaulty
                                            : ExitCode::kInconclusive;
}

// A key is not to be read on the way. Addresses of this machine have no way.
bool may_send_key(const std::string& url) {
  if (!url.starts_with("http://")) return true;
  for (const char* host : {"127.0.0.1", "localhost", "[::1]"}) {
    const std::string front = std::string("http://") + host;
    if (url == front || url.starts_with(front + "/") || url.starts_with(front + ":")) return true;
  }
  return false;
}

Json json_of(const audit::Example& example) {
  const audit::Difference& d = example.difference;
  Json json{
      {"situation", example.situation}, {"text_differs", d.text_differs}, {d.at_token ? "token" : "byte", d.position}};
  json.append("first", Json{{"piece", d.first},
                            {"logprob", d.first_logprob ? Json(*d.first_logprob) : Json()},
                            {"text", example.alone}});
  json.append("second", Json{{"piece", d.second},
                             {"logprob", d.second_logprob ? Json(*d.second_logprob) : Json()},
                             {"text", example.other}});
  json.append("gap", d.gap ? Json(*d.gap) : Json());
  json.append("curl", example.curl);
  return json;
}

Json json_of(const audit::Report& report) {
  Json json{{"url", report.url},
            {"model", report.model},
            {"system_fingerprint", report.fingerprint},
            {"verdict", audit::verdict_name(report.verdict())},
            {"questions", report.seed}};
  json.append("chat", Json{{"there", report.chat}, {"logprobs", report.chat_logprobs}});
  json.append("completions", Json{{"there", report.completions}, {"logprobs", report.completions_logprobs}});
  Json probes = Json::array();
  for (const audit::Probe& probe : report.probes) {
    Json row{{"name", probe.name},
             {"what", probe.what},
             {"compared", probe.n_compared},
             {"differing", probe.n_differing},
             {"other_text", probe.n_other_text},
             {"failed", probe.n_failed},
             {"verdict", audit::verdict_name(probe.verdict())},
             {"remark", probe.remark}};
    row.append("example", probe.example ? json_of(*probe.example) : Json());
    probes.push_back(std::move(row));
  }
  json.append("probes", std::move(probes));
  return json;
}

std::string api_words(bool there, bool logprobs) {
  return !there ? "no" : logprobs ? "with log-probabilities" : "texts alone, the server gives no log-probabilities";
}

// One line, within quotes, so that a space or a line end that makes the difference is seen.
std::string in_quotes(const std::string& text, std::size_t most) {
  std::string out;
  for (const char c : text) out += c == '\n' ? "\\n" : std::string(1, c);
  if (out.size() > most) {
    std::size_t end = most;
    while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xC0) == 0x80) --end;
    out = out.substr(0, end) + "...";
  }
  return "\"" + visible(out) + "\"";
}

std::string piece_words(const std::string& piece, const std::optional<double>& logprob, bool at_token) {
  if (piece.empty() && !logprob) return "its end";
  if (!at_token) return in_quotes(piece, 40);
  char number[40] = "";
  if (logprob) std::snprintf(number, sizeof(number), " (%.9g)", *logprob);
  return in_quotes(piece, 40) + number;
}

void print_example(const audit::Probe& probe) {
  const audit::Example& example = *probe.example;
  const audit::Difference& d = example.difference;
  std::printf("\n%s: %lld of %lld differ, %lld of them in their text\n", bold(probe.name, 1).c_str(),
              static_cast<long long>(probe.n_differing), static_cast<long long>(probe.n_compared),
              static_cast<long long>(probe.n_other_text));
  std::printf("  %s %zu: alone %s, %s %s", d.at_token ? "token" : "byte", d.position + 1,
              piece_words(d.first, d.first_logprob, d.at_token).c_str(), visible(example.situation).c_str(),
              piece_words(d.second, d.second_logprob, d.at_token).c_str());
  if (d.gap) std::printf("; a gap of %.3g", *d.gap);
  std::printf("\n  alone: %s\n", in_quotes(example.alone, 200).c_str());
  if (d.text_differs) std::printf("  other: %s\n", in_quotes(example.other, 200).c_str());
  std::printf("  %s\n", printable(example.curl).c_str());
}

void print_page(const audit::Report& report) {
  std::printf("%s, model %s%s%s\n", bold(visible(report.url), 1).c_str(), visible(report.model).c_str(),
              report.fingerprint.empty() ? "" : ", ", visible(report.fingerprint).c_str());
  std::printf("completions: %s; chat: %s\n", api_words(report.completions, report.completions_logprobs).c_str(),
              api_words(report.chat, report.chat_logprobs).c_str());
  const std::string range = report.longest < 0 ? ""
                                               : " of " + std::to_string(report.shortest) + " to " +
                                                     std::to_string(report.longest) + " tokens";
  std::printf("%lld prompts%s, greedy answers of %d tokens; --questions %llu asks the same\n\n",
              static_cast<long long>(report.n_question), range.c_str(), report.max_tokens,
              static_cast<unsigned long long>(report.seed));
  std::printf("%-13s %8s %7s  %-12s  %s\n", "probe", "compared", "differ", "verdict", "what");
  for (const audit::Probe& probe : report.probes) {
    std::string what = probe.what;
    if (probe.n_failed > 0) what += "; " + std::to_string(probe.n_failed) + " failed";
    if (!probe.remark.empty()) what += "; " + probe.remark;
    std::printf("%-13s %8lld %7lld  %-12s  %s\n", probe.name.c_str(), static_cast<long long>(probe.n_compared),
                static_cast<long long>(probe.n_differing), verdict_word(probe.verdict()), visible(what).c_str());
  }
  for (const audit::Probe& probe : report.probes) {
    if (probe.example) print_example(probe);
  }
  const audit::Verdict verdict = report.verdict();
  std::printf("\n%s\n",
              verdict == audit::Verdict::kPass   ? "PASS: nothing that was compared depends on anything but the request"
              : verdict == audit::Verdict::kFail ? "FAIL: its answers depend on more than the request"
                                                 : "inconclusive: some of what can be compared anywhere was not");
}

Status save(const AuditFlags& flags, const audit::Report& report) {
  if (flags.save.empty()) return {};
  engine::OutputOptions options;
  options.overwrite = flags.overwrite;
  return write_json(flags.save, options, report.saved);
}

Result<ExitCode> run_audit(const AuditFlags& flags) {
  audit::Options options = flags.options;
  if (options.url.empty()) {
    return Error::invalid_argument("--url: expected the address of a server, found none; see rowmax audit --help");
  }
  if (!options.key.empty() && !flags.plain_http && !may_send_key(options.url)) {
    return Error::invalid_argument("--url " + options.url +
                                   ": a key that is sent over http can be read on the way; --plain-http allows it");
  }
  if (!flags.save.empty()) {
    engine::OutputOptions output;
    output.overwrite = flags.overwrite;
    ROWMAX_RETURN_IF_ERROR(engine::check_output(flags.save, output));
  }
  if (!flags.against.empty()) {
    ROWMAX_TRY(text, read_text(flags.against));
    options.against = std::move(text);
  }
  // What no cache has seen: another time, other questions.
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  options.seed = flags.questions_named
                     ? flags.questions
                     : static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  options.cancelled = [] { return interrupted(); };
  if (!flags.quiet) options.on_note = [](std::string_view text) { note(text); };
  ROWMAX_TRY(report, audit::audit(options));
  ROWMAX_RETURN_IF_ERROR(save(flags, report));
  if (flags.json) {
    ROWMAX_RETURN_IF_ERROR(print_json(json_of(report)));
  } else {
    print_page(report);
  }
  return exit_code_of(report.verdict());
}

}  // namespace

CommandBody declare_audit(Flags& table) {
  auto flags = std::make_shared<AuditFlags>();
  audit::Options& options = flags->options;
  table.add("--url", options.url, "address of the server, with or without /v1").type("URL");
  table.add("--api-key", options.key, "key that the server asks for; better as the variable").type("KEY");
  table
      .add("--served-model,--model", options.model,
           "what requests call the model; without it the first that the server lists")
      .type("NAME");
  table
      .add("--seconds", options.seconds,
           "ask in rounds until it is over; one whole round at least, for three times as long at most")
      .type("N")
      .within(1, 86400);
  table.add("--rounds", options.rounds, "most rounds; 0: as many as there is time for").within(0, 1 << 20);
  table.add("--timeout", options.timeout_seconds, "longest wait for one answer, in seconds").within(1, 3600);
  table.add("--at-once", options.at_once, "most requests at a time").within(2, 256);
  table
      .add("--questions", flags->questions,
           "number of the set of questions; without it a new one, which no cache holds")
      .type("N")
      .within(0, INT64_MAX)
      .shows("")
      .tells(flags->questions_named);
  table.add("--save", flags->save, "keep the answers, for --against").type("FILE").not_empty();
  table.add_switch("--overwrite", flags->overwrite, "replace the file of --save");
  table.add("--against", flags->against, "compare with the answers of an earlier run too, by the same questions")
      .type("FILE")
      .not_empty();
  table.add_switch("--plain-http", flags->plain_http, "send a key over http:// to another machine");
  table.add_switch("--json", flags->json, "print one JSON object");
  table.add_switch("-q,--quiet", flags->quiet, "no notes on standard error");
  table.only_with("--overwrite", {"--save"});
  table.apart("--questions", {"--against"});
  table.set_examples(kAuditExamples);
  return [flags] { return run_audit(*flags); };
}

}  // namespace rowmax::cli

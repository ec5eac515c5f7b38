// rowmax verify-receipt: computes again what a receipt says, and compares.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <utility>

#include "apps/cli/command.h"
#include "apps/cli/interrupt.h"
#include "apps/cli/kernel_list.h"
#include "apps/cli/receipt.h"
#include "apps/cli/terminal.h"
#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

constexpr const char* kExamples = R"(
Examples:
  rowmax run -m model.gguf -p "Once upon a time" -n 32 --seed 7 --receipt out.json
  rowmax verify-receipt out.json
  rowmax verify-receipt out.json -m copy_of_it.gguf --isa scalar -t 1 --json
Exit code 0: the model is the one that the receipt names, and every token and log probability comes out the same, bit for
bit. 10: something differs; the first difference is named. 11: nothing could be compared.
)";

constexpr std::size_t kMaxBytes = std::size_t{256} << 20;

struct VerifyFlags {
  EngineFlags engine;
  std::string receipt;
  bool json = false;
};

using Value = engine::Json;

// A receipt's fields, each with the kind that it must have.
class Reader {
 public:
  Reader(std::string file, Value root) : file_(std::move(file)), root_(root) {}

  Error error(ErrorCode code, const std::string& what) const { return {code, file_ + ": " + what}; }
  Error bad(const std::string& what) const { return error(ErrorCode::kCorrupt, what); }
  Value at(std::string_view object, std::string_view key) const { return root_.find(object).find(key); }
  Value at(std::string_view key) const { return root_.find(key); }

  Result<std::string> text(Value value, std::string_view name) const {
    if (value.is_string()) return std::string(value.as_string());
    return bad("expected a text as " + std::string(name) + ", found " + value.text());
  }
  Result<double> number(Value value, std::string_view name) const {
    if (value.is_number()) return value.as_double();
    return bad("expected a number as " + std::string(name) + ", found " + value.text());
  }
  Result<std::int64_t> integer(Value value, std::string_view name) const {
    if (const auto found = value.as_int()) return *found;
    return bad("expected a whole number as " + std::string(name) + ", found " + value.text());
  }
  Result<std::int32_t> small_integer(Value value, std::string_view name) const {
    ROWMAX_TRY(found, integer(value, name));
    if (std::in_range<std::int32_t>(found)) return static_cast<std::int32_t>(found);
    return bad("expected a number of 32 bits as " + std::string(name) + ", found " + value.text());
  }
  Result<std::string> one_of(Value value, std::string_view name, std::string_view a, std::string_view b) const {
    if (value.is(a) || value.is(b)) return std::string(value.as_string());
    return bad("expected " + std::string(a) + " or " + std::string(b) + " as " + std::string(name) + ", found " +
               value.text());
  }
  Result<std::vector<std::string>> texts(Value value, std::string_view name) const {
    std::vector<std::string> list;
    if (!value.is_array()) return bad("expected a list as " + std::string(name) + ", found " + value.text());
    for (const Value item : value.elements()) {
      ROWMAX_TRY(one, text(item, name));
      list.push_back(std::move(one));
    }
    return list;
  }
  Result<std::vector<engine::TokenId>> tokens(std::string_view object) const {
    std::vector<engine::TokenId> ids;
    for (const Value item : at(object, "tokens").elements()) {
      ROWMAX_TRY(id, small_integer(item, "id of \"" + std::string(object) + "\""));
      ids.push_back(id);
    }
    ROWMAX_TRY(digest, hash_tokens(ids));
    if (at(object, "sha256").is(digest)) return ids;
    return bad("the ids of \"" + std::string(object) + "\" are not those of its sha256: the receipt was changed");
  }

 private:
  std::string file_;
  Value root_;
};

// What was sampled in one step.
struct Step {
  engine::TokenId token = 0;
  double log_prob = 0;
};

struct Claim {
  std::vector<std::string> sha256;  // of the model's files
  std::vector<engine::TokenId> prompt, tokens;
  engine::GenerateOptions options;
  SessionFlags session;
  std::vector<Step> steps;
  std::string stop;
};

Status check_schema(const Reader& receipt) {
  if (!receipt.at("schema").is(kReceiptSchema)) return receipt.bad("no receipt of rowmax (\"schema\")");
  ROWMAX_TRY(version, receipt.text(receipt.at("schema_version"), "schema_version"));
  if (!version.starts_with("1.")) {
    return receipt.error(ErrorCode::kUnsupported, "receipt of schema version " + receipt.at("schema_version").text() +
                                                      "; this rowmax reads 1.x.y (" + std::string(kReceiptVersion) +
                                                      ")");
  }
  ROWMAX_TRY(kind, receipt.text(receipt.at("kind"), "kind"));
  if (kind != "generation") {
    return receipt.error(ErrorCode::kUnsupported, "a receipt of kind " + receipt.at("kind").text() +
                                                      "; only those of `rowmax run --receipt` can be computed again");
  }
  return {};
}

Result<engine::SamplingParams> read_sampling(const Reader& receipt) {
  engine::SamplingParams p;
  const auto real = [&](const char* name, float& to) -> Status {
    ROWMAX_TRY(value, receipt.number(receipt.at("sampling", name), name));
    to = static_cast<float>(value);
    return {};
  };
  ROWMAX_RETURN_IF_ERROR(real("temperature", p.temperature));
  ROWMAX_RETURN_IF_ERROR(real("top_p", p.top_p));
  ROWMAX_RETURN_IF_ERROR(real("min_p", p.min_p));
  ROWMAX_RETURN_IF_ERROR(real("repetition_penalty", p.repetition_penalty));
  ROWMAX_RETURN_IF_ERROR(real("frequency_penalty", p.frequency_penalty));
  ROWMAX_RETURN_IF_ERROR(real("presence_penalty", p.presence_penalty));
  ROWMAX_TRY(top_k, receipt.small_integer(receipt.at("sampling", "top_k"), "top_k"));
  ROWMAX_TRY(window, receipt.small_integer(receipt.at("sampling", "penalty_window"), "penalty_window"));
  ROWMAX_TRY(seed, receipt.text(receipt.at("sampling", "seed"), "seed"));
  p.top_k = top_k;
  p.penalty_window = window;
  const auto [end, code] = std::from_chars(seed.data(), seed.data() + seed.size(), p.seed);
  if (code != std::errc() || end != seed.data() + seed.size()) {
    return receipt.bad("expected a seed in digits, found \"" + seed + "\"");
  }
  for (const Value bias : receipt.at("sampling", "logit_bias").elements()) {
    ROWMAX_TRY(token, receipt.small_integer(bias.find("token"), "logit_bias"));
    ROWMAX_TRY(value, receipt.number(bias.find("value"), "logit_bias"));
    p.logit_bias.emplace_back(token, static_cast<float>(value));
  }
  return p;
}

Result<Claim> read_claim(const Reader& receipt) {
  Claim claim;
  for (const Value file : receipt.at("model", "files").elements()) {
    ROWMAX_TRY(digest, receipt.text(file.find("sha256"), "sha256"));
    claim.sha256.push_back(std::move(digest));
  }
  ROWMAX_TRY(prompt, receipt.tokens("prompt"));
  claim.prompt = std::move(prompt);
  ROWMAX_TRY(tokens, receipt.tokens("tokens"));
  claim.tokens = std::move(tokens);
  ROWMAX_TRY(sampling, read_sampling(receipt));
  claim.options.sampling = std::move(sampling);
  ROWMAX_TRY(max_tokens, receipt.integer(receipt.at("max_tokens"), "max_tokens"));
  claim.options.max_tokens = max_tokens;
  ROWMAX_TRY(stop_texts, receipt.texts(receipt.at("stop_texts"), "stop_texts"));
  claim.options.stop = std::move(stop_texts);
  if (!receipt.at("ignore_eos").is_bool()) {
    return receipt.bad("expected true or false as ignore_eos, found " + receipt.at("ignore_eos").text());
  }
  claim.options.ignore_eos = receipt.at("ignore_eos").as_bool();
  ROWMAX_TRY(context, receipt.integer(receipt.at("computation", "context"), "context"));
  if (context < 1) return receipt.bad("expected 1 or more as context, found " + std::to_string(context));
  claim.session.context = context;
  ROWMAX_TRY(kv_type, receipt.one_of(receipt.at("computation", "kv_type"), "kv_type", "f16", "f32"));
  claim.session.kv_type = std::move(kv_type);
  ROWMAX_TRY(stop, receipt.text(receipt.at("stop"), "stop"));
  claim.stop = std::move(stop);
  for (const Value row : receipt.at("steps").elements()) {
    ROWMAX_TRY(token, receipt.small_integer(row.find("token"), "token of \"steps\""));
    ROWMAX_TRY(log_prob, receipt.number(row.find("log_prob"), "log_prob"));
    claim.steps.push_back({token, log_prob});
  }
  return claim;
}

// How the receipt's model was computed; -m, threads and kernels are those of here.
Status take_computation(const Reader& receipt, EngineFlags& flags) {
  ROWMAX_TRY(activations, receipt.one_of(receipt.at("computation", "activations"), "activations", "int8", "f32"));
  ROWMAX_TRY(pre, receipt.text(receipt.at("computation", "pre"), "pre"));
  flags.activations = std::move(activations);
  flags.pre = std::move(pre);
  for (const auto& [name, to] :
       {std::pair{"format", &flags.formats}, std::pair{"set", &flags.overrides},
        std::pair{"ignore_key", &flags.ignored_keys}, std::pair{"convention", &flags.conventions}}) {
    ROWMAX_TRY(list, receipt.texts(receipt.at("computation", name), name));
    *to = std::move(list);
  }
  if (!flags.model.empty()) return {};
  ROWMAX_TRY(model, receipt.text(receipt.at("model", "name"), "name"));
  flags.model = std::move(model);
  return {};
}

std::string number_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

// A step by itself: the token, and what the model thought of it.
std::string difference(const Step& theirs, const Step& ours) {
  if (theirs.token != ours.token) {
    return "token " + std::to_string(theirs.token) + " in the receipt, " + std::to_string(ours.token) + " here";
  }
  if (theirs.log_prob != ours.log_prob) {
    return "token " + std::to_string(ours.token) + " with log probability " + number_text(theirs.log_prob) +
           " in the receipt, " + number_text(ours.log_prob) + " here";
  }
  return "";
}

Comparison compare(const Claim& claim, const engine::GenerateResult& generation, const std::string& stop) {
  Comparison result{.name = "generation", .reference = "the receipt"};
  std::vector<engine::TokenId> sampled = generation.tokens;
  if (generation.end_token) sampled.push_back(*generation.end_token);
  for (std::size_t i = 0; i < std::min(sampled.size(), claim.steps.size()); ++i) {
    ++result.n_compared;
    const std::string what = difference(claim.steps[i], {sampled[i], generation.log_probabilities[i]});
    if (what.empty()) continue;
    result.agrees = false;
    result.detail = "step " + std::to_string(i) + ": " + what;
    return result;
  }
  if (sampled.size() != claim.steps.size() || stop != claim.stop) {
    result.agrees = false;
    result.detail = "step " + std::to_string(std::min(sampled.size(), claim.steps.size())) + ": the receipt has " +
                    std::to_string(claim.steps.size()) + " steps and ends with " + claim.stop + ", here are " +
                    std::to_string(sampled.size()) + " and " + stop;
  } else if (result.n_compared == 0) {
    result.detail = "the receipt has no tokens";
  }
  return result;
}

// Ids and parameters that this model cannot have: the receipt is not one of it.
Status check_values(const Reader& receipt, const Claim& claim, std::int64_t n_vocab) {
  const auto check = [&](engine::TokenId token, const char* where) -> Status {
    if (token >= 0 && token < n_vocab) return {};
    return receipt.bad("token " + std::to_string(token) + " in \"" + where + "\"; the model's ids are 0 to " +
                       std::to_string(n_vocab - 1));
  };
  for (const engine::TokenId token : claim.prompt) ROWMAX_RETURN_IF_ERROR(check(token, "prompt"));
  for (const engine::TokenId token : claim.tokens) ROWMAX_RETURN_IF_ERROR(check(token, "tokens"));
  for (const Step& step : claim.steps) ROWMAX_RETURN_IF_ERROR(check(step.token, "steps"));
  if (const Status valid = engine::validate(claim.options.sampling, n_vocab); !valid.ok()) {
    return receipt.bad(valid.error().message);
  }
  return {};
}

Result<Comparison> compute_again(const Engine& engine, Claim& claim) {
  // A text that somebody or its memory cut short is compared as far as it goes.
  const bool cut = claim.stop == "cancelled" || claim.stop == "memory";
  if (cut) claim.options.max_tokens = std::ssize(claim.steps);
  ROWMAX_TRY(session, engine::Session::create(*engine.model, session_options(claim.session), *engine.executor));
  ROWMAX_TRY(sequence, session.open());
  ask_for_margins(claim.options);
  claim.options.cancelled = interrupted;
  ROWMAX_TRY(generation, cli::generate(session, sequence, claim.prompt, claim.options, {}));
  if (generation.reason == engine::StopReason::kCancelled) return Error{ErrorCode::kCancelled, "interrupted"};
  const std::string stop = cut && generation.reason == engine::StopReason::kLength
                               ? claim.stop
                               : engine::stop_reason_name(generation.reason);
  return compare(claim, generation, stop);
}

Result<Comparison> compare_model(const engine::GgufFile& file, const Claim& claim) {
  ROWMAX_TRY(hashed, hash_model(file));
  Comparison result{.name = "model_sha256", .reference = "the receipt"};
  result.agrees = hashed.size() == claim.sha256.size();
  if (!result.agrees) {
    result.detail =
        std::to_string(claim.sha256.size()) + " files in the receipt, " + std::to_string(hashed.size()) + " here";
  }
  for (std::size_t i = 0; result.agrees && i < hashed.size(); ++i) {
    ++result.n_compared;
    result.agrees = hashed[i].sha256 == claim.sha256[i];
    if (!result.agrees) {
      result.detail = hashed[i].path + " has sha256 " + hashed[i].sha256 + ", the receipt names " + claim.sha256[i];
    }
  }
  return result;
}

Result<ExitCode> verify(VerifyFlags flags) {
  ROWMAX_TRY(document, engine::read_json_file(flags.receipt, kMaxBytes));
  const Reader receipt(flags.receipt, document.root());
  ROWMAX_RETURN_IF_ERROR(check_schema(receipt));
  ROWMAX_TRY(claim, read_claim(receipt));
  ROWMAX_RETURN_IF_ERROR(take_computation(receipt, flags.engine));
  auto loaded = load_engine(flags.engine);
  if (!loaded.ok()) return receipt.error(loaded.error().code, loaded.error().message);
  const Engine engine = std::move(loaded).value();
  for (const std::string& notice : engine.notices) note(notice);
  std::vector<Comparison> comparisons;
  ROWMAX_TRY(model, compare_model(engine.model->file(), claim));
  comparisons.push_back(std::move(model));
  if (comparisons[0].agrees) {
    ROWMAX_RETURN_IF_ERROR(check_values(receipt, claim, engine.model->shape().n_vocab));
    auto generation = compute_again(engine, claim);
    if (!generation.ok()) return receipt.error(generation.error().code, generation.error().message);
    comparisons.push_back(std::move(generation).value());
  }
  const std::string_view verdict = verdict_of(comparisons);
  if (flags.json) {
    Json list = Json::array();
    for (const Comparison& one : comparisons) list.push_back(one.json());
    ROWMAX_RETURN_IF_ERROR(print_json({{"verdict", verdict}, {"comparisons", list}}));
    return exit_code_of(verdict);
  }
  print_comparisons(comparisons);
  return exit_code_of(verdict);
}

}  // namespace

CommandBody declare_verify_receipt(Flags& table) {
  auto flags = std::make_shared<VerifyFlags>();
  table.add_word("receipt", flags->receipt, "file that `rowmax run --receipt` wrote").must_be_given();
  flags->engine.model.clear();
  table.add("-m,--model", flags->engine.model, "the model, where it is not where the receipt says").type("PATH|NAME");
  table.add("-t,--threads", flags->engine.threads, "threads; 0: physical cores").within(0, 1024);
  add_kernel_flags(table, flags->engine);
  table.add_switch("-q,--quiet", flags->engine.quiet, "no notes on standard error");
  table.add_switch("--json", flags->json, "print one JSON object");
  table.set_examples(kExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(flags->json) : verify(*flags); };
}

}  // namespace rowmax::cli

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

constexpr const char* kVerifyReceiptExamples = R"(
Examples:
  rowmax run -m model.gguf -p "Once upon a time" -n 32 --seed 7 --receipt out.json
  rowmax verify-receipt out.json
  rowmax verify-receipt out.json -m copy_of_it.gguf --isa scalar -t 1 --json
Exit code 0: the model is the one that the receipt names, and all that the receipt says and can be computed again (tokens,
log probabilities, margins, facts, norms, scales) comes out the same, bit for bit. 10: something differs; the first
difference is named. 11: nothing could be compared, or a part of it not.
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
  Result<std::string> one_of(Value value, std::string_view name, std::initializer_list<std::string_view> words) const {
    std::string all;
    for (const std::string_view word : words) {
      if (value.is(word)) return std::string(word);
      all += (all.empty() ? "" : word == *(words.end() - 1) ? " or " : ", ") + std::string(word);
    }
    return bad("expected " + all + " as " + std::string(name) + ", found " + value.text());
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

struct Claim {
  std::vector<HashedFile> files;  // of the model
  std::vector<engine::TokenId> prompt, tokens;
  engine::GenerateOptions options;
  SessionFlags session;
  std::vector<engine::TokenId> steps;  // what was sampled in each
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
    ROWMAX_TRY(bytes, receipt.integer(file.find("bytes"), "bytes"));
    claim.files.push_back({"", static_cast<std::uint64_t>(bytes), std::move(digest)});
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
  ROWMAX_TRY(kv_type, receipt.one_of(receipt.at("computation", "kv_type"), "kv_type", {"f16", "f32", "q8_0"}));
  claim.session.kv_type = std::move(kv_type);
  ROWMAX_TRY(stop, receipt.text(receipt.at("stop"), "stop"));
  claim.stop = std::move(stop);
  if (const Value steps = receipt.at("steps"); steps && !steps.is_array()) {
    return receipt.bad("expected a list as steps, found " + steps.text());
  }
  for (const Value row : receipt.at("steps").elements()) {
    ROWMAX_TRY(token, receipt.small_integer(row.find("token"), "token of \"steps\""));
    if (const auto log_prob = receipt.number(row.find("log_prob"), "log_prob"); !log_prob.ok()) return log_prob.error();
    claim.steps.push_back(token);
  }
  return claim;
}

// How the receipt's model was computed; -m, threads and kernels are those of here.
Status take_computation(const Reader& receipt, EngineFlags& flags) {
  ROWMAX_TRY(activations, receipt.one_of(receipt.at("computation", "activations"), "activations", {"int8", "f32"}));
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

// Comparisons so far, and the fields that no comparison can judge.
struct Findings {
  std::vector<Comparison> comparisons;
  std::vector<std::string> not_checked;
};

bool same(Value a, Value b) {
  if (a.is_integer() && b.is_integer() && a.as_int() != b.as_int()) return false;
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  if (a.is_string() && b.is_string()) return a.as_string() == b.as_string();
  return a.is_null() && b.is_null();
}

// The rows that both lists have, and of each every field that this rowmax writes, until one differs. label: the field
// that names a row.
Comparison compare_rows(const std::string& name, Value theirs, Value ours, std::string_view label) {
  Comparison result{.name = name, .reference = "the receipt"};
  auto claimed = theirs.elements().begin();
  for (const Value row : ours.elements()) {
    if (claimed == theirs.elements().end()) return result;
    const Value claim = *claimed++;
    const std::string where =
        label.empty() ? "step " + std::to_string(result.n_compared) : std::string(row.find(label).as_string());
    ++result.n_compared;
    for (const auto& [key, value] : row.members()) {
      if (same(claim.find(key), value)) continue;
      result.agrees = false;
      result.detail =
          where + ": " + std::string(key) + " " + claim.find(key).text() + " in the receipt, " + value.text() + " here";
      return result;
    }
  }
  return result;
}

// Of lists whose common part agrees.
void compare_sizes(Comparison& result, std::size_t n_theirs, std::size_t n_ours) {
  if (n_theirs == 0) {
    result.detail = "the receipt has no " + result.name;
  } else if (n_theirs != n_ours) {
    result.agrees = false;
    result.detail = std::to_string(n_theirs) + " in the receipt, " + std::to_string(n_ours) + " here";
  }
}

// This run's side of a comparison, in the form in which the other side was read: printed as a receipt is.
Result<engine::JsonDocument> as_read(const Json& ours) { return engine::parse_json(ours.dump(), "this run"); }

Result<Comparison> compare_steps(const Reader& receipt, const Claim& claim, const engine::GenerateResult& generation,
                                 const std::string& stop) {
  ROWMAX_TRY(ours, as_read(tokens_json(generation)));
  const std::size_t n_theirs = claim.steps.size(), n_ours = ours.root().size();
  Comparison result = compare_rows("generation", receipt.at("steps"), ours.root(), "");
  if (!result.agrees) return result;
  if ((n_theirs != 0 && n_theirs != n_ours) || stop != claim.stop) {
    result.agrees = false;
    result.detail = "step " + std::to_string(result.n_compared) + ": the receipt has " + std::to_string(n_theirs) +
                    " steps and ends with " + claim.stop + ", here are " + std::to_string(n_ours) + " and " + stop;
  } else if (n_theirs == 0) {
    result.detail = "the receipt has no steps";
  }
  return result;
}

// The text's ids, which stand beside the steps and are those of the steps but for one that ended it.
Comparison compare_tokens(const Claim& claim, const engine::GenerateResult& generation) {
  Comparison result{.name = "tokens", .reference = "the receipt"};
  const std::vector<engine::TokenId>&theirs = claim.tokens, &ours = generation.tokens;
  for (std::size_t i = 0; i < std::min(theirs.size(), ours.size()); ++i) {
    ++result.n_compared;
    const bool in_steps = claim.steps.empty() || (i < claim.steps.size() && claim.steps[i] == theirs[i]);
    if (in_steps && theirs[i] == ours[i]) continue;
    result.agrees = false;
    result.detail = "token " + std::to_string(i) + ": " + std::to_string(theirs[i]) + " in the receipt, " +
                    (i < claim.steps.size() ? std::to_string(claim.steps[i]) : "none") + " in its steps, " +
                    std::to_string(ours[i]) + " here";
    return result;
  }
  compare_sizes(result, theirs.size(), ours.size());
  return result;
}

Status compare_model_json(const Reader& receipt, const engine::Model& model, Findings& findings) {
  ROWMAX_TRY(json, model_json(model));
  ROWMAX_TRY(ours, as_read(json));
  for (const auto& [name, label] :
       {std::pair{"facts", "name"}, std::pair{"norms", "tensor"}, std::pair{"ternary_scales", "tensor"}}) {
    const Value theirs = receipt.at(name), here = ours.root().find(name);
    if (!theirs.is_array()) return receipt.bad("expected a list as " + std::string(name) + ", found " + theirs.text());
    if (theirs.size() + here.size() == 0) continue;  // a model without ternary tensors claims nothing of them
    Comparison result = compare_rows(name, theirs, here, label);
    if (result.agrees) compare_sizes(result, theirs.size(), here.size());
    findings.comparisons.push_back(std::move(result));
  }
  return {};
}

Status compare_template(const Reader& receipt, const engine::Model& model, Findings& findings) {
  ROWMAX_TRY(source, receipt.text(receipt.at("template", "source"), "source of \"template\""));
  const Value theirs = receipt.at("template", "sha256");
  findings.not_checked.emplace_back("template.source");  // the text that it made tokens of is not there
  if (source == "--chat-template") {
    ROWMAX_TRY(digest, receipt.text(theirs, "sha256 of \"template\""));
    findings.not_checked.emplace_back("template.sha256");  // nor is the template
    return {};
  }
  if (source != "model" && source != "none") {
    return receipt.bad("expected model, --chat-template or none as source of \"template\", found " +
                       receipt.at("template", "source").text());
  }
  if (source == "none" && theirs.is_null()) return {};
  const std::string text(source == "none" ? "" : model.chat_template());
  ROWMAX_TRY(json, template_json(text.empty() ? "none" : source, text));
  ROWMAX_TRY(ours, as_read(json));
  Comparison result{.name = "template", .reference = "the receipt", .n_compared = 1};
  result.agrees = same(theirs, ours.root().find("sha256"));
  if (!result.agrees) {
    result.detail = "sha256 " + theirs.text() + " in the receipt, " + ours.root().find("sha256").text() + " here";
  }
  findings.comparisons.push_back(std::move(result));
  return {};
}

// The verdicts by their definition. What the receipt was held against before is not here.
Status compare_verdicts(const Reader& receipt, Findings& findings) {
  Comparison result{.name = "verdict", .reference = "definition: a pass has compared something"};
  const auto expect = [&](const std::string& where, std::string_view verdict, std::string_view expected) {
    ++result.n_compared;
    if (!result.agrees || verdict == expected) return;
    result.agrees = false;
    result.detail = where + std::string(verdict) + " in the receipt, " + std::string(expected) + " by definition";
  };
  std::vector<Comparison> claimed;
  if (!receipt.at("comparisons").is_array()) {
    return receipt.bad("expected a list as comparisons, found " + receipt.at("comparisons").text());
  }
  for (const Value row : receipt.at("comparisons").elements()) {
    ROWMAX_TRY(name, receipt.text(row.find("name"), "name of \"comparisons\""));
    ROWMAX_TRY(reference, receipt.text(row.find("reference"), "reference of \"comparisons\""));
    ROWMAX_TRY(verdict, receipt.text(row.find("verdict"), "verdict of \"comparisons\""));
    ROWMAX_TRY(n_compared, receipt.integer(row.find("n_compared"), "n_compared of \"comparisons\""));
    Comparison one{.name = name, .reference = reference, .n_compared = n_compared, .agrees = verdict != "fail"};
    // Without a reference nothing can have been compared; with one, fewer than wanted is no pass.
    if (reference == "none") one.n_compared = 0;
    if (verdict == "inconclusive") one.n_for_a_pass = std::max<std::int64_t>(one.n_compared, 0) + 1;
    const std::string where = "comparison " + std::to_string(claimed.size()) + " (" + name + "): ";
    expect(where, verdict, one.verdict());
    if (n_compared != one.n_compared) {
      expect(where + "n_compared ", std::to_string(n_compared), std::to_string(one.n_compared));
    }
    findings.not_checked.push_back("comparisons[" + std::to_string(claimed.size()) + "]" +
                                   (reference == "none" ? ".detail" : " (against " + reference + ")"));
    claimed.push_back(std::move(one));
  }
  ROWMAX_TRY(verdict, receipt.text(receipt.at("verdict"), "verdict"));
  expect("", verdict, verdict_of(claimed));
  findings.comparisons.push_back(std::move(result));
  return {};
}

// The fields that are read as what to compute, or compared. The others (created, build, machine, and what a later version
// may have added) are beyond this run.
constexpr std::string_view kTaken[] = {"schema",   "schema_version", "kind",       "model",      "computation",
                                       "sampling", "max_tokens",     "stop_texts", "ignore_eos", "prompt"};
constexpr std::string_view kCompared[] = {"facts",  "norms", "ternary_scales", "template", "steps",
                                          "tokens", "stop",  "comparisons",    "verdict"};

void list_not_checked(Value root, bool model_agrees, std::vector<std::string>& list) {
  for (const auto& [key, value] : root.members()) {
    if (key == "model") list.insert(list.end(), {"model.name", "model.files[].path"});
    if (std::ranges::find(kTaken, key) != std::end(kTaken)) continue;
    if (model_agrees && std::ranges::find(kCompared, key) != std::end(kCompared)) continue;
    list.emplace_back(key);
  }
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
  for (const engine::TokenId token : claim.steps) ROWMAX_RETURN_IF_ERROR(check(token, "steps"));
  if (const Status valid = engine::validate(claim.options.sampling, n_vocab); !valid.ok()) {
    return receipt.bad(valid.error().message);
  }
  return {};
}

Status compute_again(const Reader& receipt, const Engine& engine, Claim& claim, Findings& findings) {
  // A text that somebody or its memory cut short is compared as far as it goes.
  const bool cut = claim.stop == "cancelled" || claim.stop == "memory";
  if (cut) claim.options.max_tokens = std::max(std::ssize(claim.steps), std::ssize(claim.tokens));
  ROWMAX_TRY(session,
             open_session(*engine.model, session_options(claim.session), *engine.executor, "the receipt's context"));
  ROWMAX_TRY(sequence, session.open());
  ask_for_margins(claim.options);
  claim.options.cancelled = interrupted;
  ROWMAX_TRY(generation, cli::generate(session, sequence, claim.prompt, claim.options, {}));
  if (generation.reason == engine::StopReason::kCancelled) return Error{ErrorCode::kCancelled, "interrupted"};
  const std::string stop = cut && generation.reason == engine::StopReason::kLength
                               ? claim.stop
                               : engine::stop_reason_name(generation.reason);
  ROWMAX_TRY(steps, compare_steps(receipt, claim, generation, stop));
  findings.comparisons.push_back(std::move(steps));
  // A text of one step that ended it has no tokens, nor has one of no steps at all.
  if (claim.tokens.empty() && generation.tokens.empty()) return {};
  findings.comparisons.push_back(compare_tokens(claim, generation));
  return {};
}

Result<Comparison> compare_model(const engine::GgufFile& file, const Claim& claim) {
  ROWMAX_TRY(hashed, hash_model(file));
  Comparison result{.name = "model_sha256", .reference = "the receipt"};
  result.agrees = hashed.size() == claim.files.size();
  if (!result.agrees) {
    result.detail =
        std::to_string(claim.files.size()) + " files in the receipt, " + std::to_string(hashed.size()) + " here";
  }
  for (std::size_t i = 0; result.agrees && i < hashed.size(); ++i) {
    ++result.n_compared;
    const HashedFile& theirs = claim.files[i];
    result.agrees = hashed[i].sha256 == theirs.sha256 && hashed[i].bytes == theirs.bytes;
    if (hashed[i].sha256 != theirs.sha256) {
      result.detail = hashed[i].path + " has sha256 " + hashed[i].sha256 + ", the receipt names " + theirs.sha256;
    } else if (!result.agrees) {
      result.detail = hashed[i].path + " has " + std::to_string(hashed[i].bytes) + " bytes, the receipt says " +
                      std::to_string(theirs.bytes);
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
  Findings findings;
  ROWMAX_TRY(model, compare_model(engine.model->file(), claim));
  const bool model_agrees = model.agrees;
  findings.comparisons.push_back(std::move(model));
  list_not_checked(document.root(), model_agrees, findings.not_checked);
  if (model_agrees) {
    ROWMAX_RETURN_IF_ERROR(check_values(receipt, claim, engine.model->shape().n_vocab));
    ROWMAX_RETURN_IF_ERROR(compare_model_json(receipt, *engine.model, findings));
    ROWMAX_RETURN_IF_ERROR(compare_template(receipt, *engine.model, findings));
    ROWMAX_RETURN_IF_ERROR(compare_verdicts(receipt, findings));
    if (const Status computed = compute_again(receipt, engine, claim, findings); !computed.ok()) {
      return receipt.error(computed.error().code, computed.error().message);
    }
  }
  const std::string_view verdict = verdict_of(findings.comparisons);
  if (flags.json) {
    Json list = Json::array();
    for (const Comparison& one : findings.comparisons) list.push_back(one.json());
    ROWMAX_RETURN_IF_ERROR(
        print_json({{"verdict", verdict}, {"comparisons", list}, {"not_checked", findings.not_checked}}));
    return exit_code_of(verdict);
  }
  print_comparisons(findings.comparisons);
  std::string not_checked;
  for (const std::string& field : findings.not_checked) not_checked += (not_checked.empty() ? "" : ", ") + field;
  std::printf("not checked: %s\n", shown(not_checked, STDOUT_FILENO).c_str());
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
  table.set_examples(kVerifyReceiptExamples);
  return [flags] { return lists_kernels(flags->engine) ? list_kernels(flags->json) : verify(*flags); };
}

}  // namespace rowmax::cli

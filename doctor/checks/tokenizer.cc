// Text to ids and back, as the file defines it, and whether its parts fit one another: vocabulary and pre-tokenizer,
// special tokens and their kinds, template and the tokens that end a turn.
#include <algorithm>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "doctor/check.h"
#include "doctor/checks/sentences.h"
#include "doctor/checks/vocabulary_fit.h"
#include "engine/io/text.h"
#include "rowmax/engine/chat_template.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::ChatTemplate;
using engine::GgufFile;
using engine::TemplateValue;
using engine::TokenId;
using engine::Tokenizer;
using engine::TokenKind;

constexpr std::string_view kId = "tokenizer";

struct Findings {
  std::vector<Cause> causes;
  std::vector<std::string> notes;
  std::int64_t n_compared = 0, n_wrong = 0;

  Cause& add(std::string_view id, std::string text, double confidence, std::string key = {}) {
    Cause cause;
    cause.id = id;
    cause.text = std::move(text);
    cause.confidence = confidence;
    cause.place.key = std::move(key);
    cause.command = "rowmax tokenize -m MODEL --special TEXT";
    causes.push_back(std::move(cause));
    ++n_wrong;
    return causes.back();
  }
};

std::string label(const Tokenizer& tokenizer, TokenId id) {
  return "token " + std::to_string(id) + " " + engine::quote(tokenizer.text(id));
}

// Everything that tokenizers have been seen to stumble over. Composed characters, so that vocabularies that normalise
// text (NFC) give it back, too.
constexpr std::string_view kTexts[] = {
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    " leading space",
    "  two leading spaces",
    "trailing space ",
    "a  b   c    d",
    "tab\there",
    "one\ntwo\n\nthree\n\n\nfour",
    "CRLF\r\nline\r\n\r\nend",
    "I'm you're he'll they've she'd it's DON'T",
    "1 12 123 1234 12345 3.14159 1,000,000 0x1F",
    "def f(x):\n    return x ** 2  # comment\n",
    "{\"key\": [1, 2.5, null], \"other\": \"value\"}",
    "https://example.org/a/b?c=d&e=%20f#g",
    "snake_case camelCase PascalCase UPPER kebab-case",
    "!!! ??? ... --- === +++ ((())) [[[]]] {{{}}} ",
    "\xC3\xA9\xC3\xA0\xC3\xBC\xC3\x9F \xC3\xB1 \xC3\x85ngstr\xC3\xB6m na\xC3\xAFve caf\xC3\xA9",
    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, \xD0\xBC\xD0\xB8\xD1\x80",
    "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C\xE3\x80\x82",
    "\xE3\x81\x93\xE3\x82\x93\xE3\x81\xAB\xE3\x81\xA1\xE3\x81\xAF \xED\x95\x9C\xEA\xB5\xAD\xEC\x96\xB4",
    "\xF0\x9F\x98\x80 \xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB \xE2\x9D\xA4\xEF\xB8\x8F",
    "\xD8\xA7\xD9\x84\xD8\xB9\xD8\xB1\xD8\xA8\xD9\x8A\xD8\xA9 \xD7\xA2\xD7\x91\xD7\xA8\xD7\x99\xD7\xAA",
    "math: \xE2\x88\x91 x\xC2\xB2 \xE2\x89\xA4 \xE2\x88\x9E \xE2\x82\xAC"
    "5",
    "\xC2\xA0non-breaking\xE2\x80\x89thin\xE3\x80\x80wide",
    "bytes \xFF\xFE and a cut \xE4\xBD",
};

Status check_round_trips(const Tokenizer& tokenizer, Findings& findings) {
  std::int64_t n_unknown = 0;
  for (const std::string_view text : kTexts) {
    ROWMAX_TRY(ids, tokenizer.encode(text, false));
    ROWMAX_TRY(back, tokenizer.decode(ids, false));
    ++findings.n_compared;
    // SentencePiece vocabularies with a space prefix do not keep the spaces that a text begins with.
    const auto behind_spaces = [](std::string_view x) {
      return x.substr(std::min(x.find_first_not_of(' '), x.size()));
    };
    if (back == text || (tokenizer.model() == "llama" && behind_spaces(back) == behind_spaces(text))) continue;
    // A vocabulary without bytes has no token for some characters, and says so with the unknown token.
    const bool unknown =
        std::ranges::any_of(ids, [&](TokenId id) { return tokenizer.kind(id) == TokenKind::kUnknown; });
    if (unknown || back.find("\xEF\xBF\xBD") != std::string::npos) {
      ++n_unknown;
      continue;
    }
    findings.add("special_tokens",
                 "The text " + engine::quote(text) + " comes back from its ids as " + engine::quote(back) +
                     ": the vocabulary is damaged or not this model's.",
                 0.5, "tokenizer.ggml.tokens");
    return {};
  }
  if (n_unknown > 2) {
    findings.notes.push_back("the vocabulary has no tokens for parts of " + std::to_string(n_unknown) + " of " +
                             std::to_string(std::size(kTexts)) + " texts");
  }
  return {};
}

// "<|im_end|>", "<start_of_turn>", "[INST]": nothing that is written by chance.
bool looks_special(std::string_view text) {
  return text.size() > 4 && ((text.starts_with("<|") && text.ends_with("|>")) ||
                             (text.starts_with("<\xEF\xBD\x9C") && text.ends_with("\xEF\xBD\x9C>")));
}

// Each control token, and each token that looks like one, is one id where special tokens are asked for.
Status check_special_tokens(const Tokenizer& tokenizer, Findings& findings) {
  constexpr std::int64_t kMost = 4096;
  std::int64_t n = 0, n_split = 0;
  TokenId first = -1;
  std::size_t pieces = 0;
  for (TokenId id = 0; id < tokenizer.size() && n < kMost; ++id) {
    const std::string_view text = tokenizer.text(id);
    if (text.empty() || !(tokenizer.kind(id) == TokenKind::kControl || looks_special(text))) continue;
    if (tokenizer.kind(id) == TokenKind::kUnused) continue;
    ROWMAX_TRY(ids, tokenizer.encode(text, true));
    ++n;
    if (ids.size() == 1) continue;
    if (n_split++ == 0) {
      first = id;
      pieces = ids.size();
    }
  }
  findings.n_compared += n;
  if (n_split == 0) return {};
  Cause& cause = findings.add("special_tokens",
                              std::to_string(n_split) + " special tokens are cut into pieces like plain text, " +
                                  label(tokenizer, first) + " into " + std::to_string(pieces) +
                                  ": tokenizer.ggml.token_type does not mark them as control tokens.",
                              0.85, "tokenizer.ggml.token_type");
  cause.evidence = {{"token", std::string(tokenizer.text(first))},
                    {"pieces", std::to_string(pieces)},
                    {"tokens", std::to_string(n_split)}};
  return {};
}

// A word of a language, and no mark: letters alone, perhaps behind a blank.
bool is_plain_word(std::string_view text) {
  for (const std::string_view blank : {"\xC4\xA0", "\xE2\x96\x81"}) {
    if (text.starts_with(blank)) text.remove_prefix(blank.size());
  }
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; });
}

void check_ids(const GgufFile& file, const Tokenizer& tokenizer, Findings& findings) {
  const auto see = [&](std::string_view cause, const std::string& key, TokenId token) {
    if (token < 0 || token >= tokenizer.size()) return;
    ++findings.n_compared;
    const TokenKind kind = tokenizer.kind(token);
    const std::string_view text = tokenizer.text(token);
    // Marks have brackets; letters, digits and single signs are what texts are made of.
    const bool plain = is_plain_word(text) || text.size() < 3;
    const bool word = kind == TokenKind::kByte || (kind == TokenKind::kNormal && plain);
    if (!word) return;
    findings.add(cause,
                 key + " is " + label(tokenizer, token) + ", a plain word: ids and vocabulary are not of one model.",
                 0.8, key);
  };
  ++findings.n_compared;
  if (tokenizer.end_of_generation().empty()) {
    findings.add("stop_ids",
                 "No token ends a text: the file names no eos, and its vocabulary has none that engines know.", 0.8,
                 "tokenizer.ggml.eos_token_id");
  }
  // The tokenizer refuses ids beyond its vocabulary.
  see("bos", "tokenizer.ggml.bos_token_id", tokenizer.bos());
  see("stop_ids", "tokenizer.ggml.eos_token_id", tokenizer.eos());
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const auto value = file.find_uint(key);
    if (value && *value < static_cast<std::uint64_t>(tokenizer.size()))
      see("stop_ids", key, static_cast<TokenId>(*value));
  }
}

// ---- the template

TemplateValue conversation(const std::vector<std::pair<const char*, const char*>>& messages) {
  std::vector<TemplateValue> list;
  for (const auto& [role, content] : messages) {
    list.push_back(
        TemplateValue::make_dict({{"role", TemplateValue::of(role)}, {"content", TemplateValue::of(content)}}));
  }
  return TemplateValue::make_list(std::move(list));
}

Result<std::string> render(const ChatTemplate& chat_template, const Tokenizer& tokenizer, TemplateValue messages,
                           bool add_generation_prompt) {
  const auto token_text = [&](TokenId id) {
    return TemplateValue::of(id >= 0 ? std::string(tokenizer.text(id)) : std::string());
  };
  return chat_template.render(
      TemplateValue::make_dict({{"messages", std::move(messages)},
                                {"tools", TemplateValue()},
                                {"documents", TemplateValue()},
                                {"add_generation_prompt", TemplateValue::of(add_generation_prompt)},
                                {"bos_token", token_text(tokenizer.bos())},
                                {"eos_token", token_text(tokenizer.eos())}}),
      0);
}

// The marks "<|...|>" that a text holds.
std::vector<std::string> marks_in(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t at = text.find("<|"); at != std::string_view::npos; at = text.find("<|", at + 2)) {
    const std::size_t end = text.find("|>", at + 2);
    if (end == std::string_view::npos || end - at > 60) continue;
    const std::string mark(text.substr(at, end + 2 - at));
    if (mark.find_first_of(" '\"\n{}+") != std::string::npos) continue;
    if (std::ranges::find(out, mark) == out.end()) out.push_back(mark);
  }
  return out;
}

constexpr const char* kTurnMarks[] = {"<|im_start|>",    "<|im_end|>",    "<|eot_id|>",    "<|start_header_id|>",
                                      "<start_of_turn>", "<end_of_turn>", "<|assistant|>", "<|user|>"};

// A template whose marks are none of the vocabulary's, where the vocabulary has marks of its own, is another model's.
void check_marks(const Tokenizer& tokenizer, const std::string& rendered, Findings& findings) {
  std::vector<std::string> marks = marks_in(rendered);
  // Those the template takes from the tokenizer are the vocabulary's whoever wrote it.
  std::erase_if(marks, [&](const std::string& mark) {
    const TokenId id = tokenizer.find(mark);
    return id >= 0 && (id == tokenizer.bos() || id == tokenizer.eos());
  });
  std::string own;
  int n_own = 0;
  for (const char* mark : kTurnMarks) {
    const TokenId id = tokenizer.find(mark);
    if (id < 0 || tokenizer.kind(id) == TokenKind::kNormal) continue;
    own += (own.empty() ? "" : ", ") + std::string(mark);
    ++n_own;
  }
  findings.n_compared += std::ssize(marks);
  const bool none =
      !marks.empty() && std::ranges::none_of(marks, [&](const std::string& mark) { return tokenizer.find(mark) >= 0; });
  if (none && marks.size() > 1 && n_own > 1) {
    findings.add("template",
                 "The chat template writes " + marks.front() + ", which is no token here; the vocabulary has " + own +
                     ": the template is another model's.",
                 0.75, "tokenizer.chat_template");
  }
}

// Whether a text has one of the marks that open turns, and the vocabulary has it as a token.
bool opens_turn(const Tokenizer& tokenizer, std::string_view text) {
  const auto is_token = [&](std::string_view mark) {
    const TokenId id = tokenizer.find(mark);
    return id >= 0 && tokenizer.kind(id) != TokenKind::kNormal;
  };
  const auto there = [&](std::string_view mark) { return text.find(mark) != std::string_view::npos && is_token(mark); };
  return std::ranges::any_of(marks_in(text), is_token) || std::ranges::any_of(kTurnMarks, there);
}

// Asked to open the assistant's turn, the template must: where it does not, and writes a mark between the user's turn and
// an answer, the model has to write that itself. (Templates like "[INST] q [/INST] a" write nothing there.)
Status check_opening(const ChatTemplate& chat_template, const Tokenizer& tokenizer, const std::string& asked,
                     std::string_view question, Findings& findings) {
  constexpr const char* kAnswer = "Forty-two it is";
  const std::string question_text(question);
  const auto not_asked = render(chat_template, tokenizer, conversation({{"user", question_text.c_str()}}), false);
  const auto answered =
      render(chat_template, tokenizer, conversation({{"user", question_text.c_str()}, {"assistant", kAnswer}}), false);
  for (const auto* rendered : {&not_asked, &answered}) {
    if (rendered->ok()) continue;
    return rendered->error().code == ErrorCode::kOutOfMemory ? Status(rendered->error()) : Status();
  }
  ++findings.n_compared;
  const std::size_t at = answered->find(kAnswer);
  if (*not_asked != asked || !answered->starts_with(asked) || at == std::string::npos || at < asked.size()) return {};
  const std::string opening = answered->substr(asked.size(), at - asked.size());
  if (!opens_turn(tokenizer, opening)) return {};
  Cause& cause = findings.add("template",
                              "The chat template opens no answer: it writes " + engine::quote(opening) +
                                  " before answers that are there, and nothing where one is asked for "
                                  "(add_generation_prompt changes nothing).",
                              0.7, "tokenizer.chat_template");
  cause.evidence = {{"opening", opening}};
  return {};
}

// What closes the assistant's turn in the template must end the generation.
Status check_end_of_turn(const ChatTemplate& chat_template, const Tokenizer& tokenizer, Findings& findings) {
  constexpr const char *kQuestion = "What is it?", *kAnswer = "Forty-two it is";
  const auto rendered = render(chat_template, tokenizer,
                               conversation({{"user", kQuestion}, {"assistant", kAnswer}, {"user", "Why?"}}), false);
  if (!rendered.ok()) return rendered.error().code == ErrorCode::kOutOfMemory ? Status(rendered.error()) : Status();
  const std::size_t at = rendered->find(kAnswer);
  if (at == std::string::npos) return {};
  ROWMAX_TRY(ids, tokenizer.encode(std::string_view(*rendered).substr(at + std::string_view(kAnswer).size()), true));
  ids.resize(std::min<std::size_t>(ids.size(), 3));
  // What opens a user's turn: the last special token before its words.
  TokenId opening = -1;
  ROWMAX_TRY(before, tokenizer.encode(std::string_view(*rendered).substr(0, rendered->find(kQuestion)), true));
  for (const TokenId id : before) {
    if (tokenizer.kind(id) == TokenKind::kControl || tokenizer.kind(id) == TokenKind::kUserDefined) opening = id;
  }
  for (const TokenId id : ids) {
    if (tokenizer.kind(id) != TokenKind::kControl && tokenizer.kind(id) != TokenKind::kUserDefined) continue;
    ++findings.n_compared;
    const std::string_view text = tokenizer.text(id);
    // Where the next turn's opening mark follows at once, the template has no mark for the end; and in the layout with
    // channels a message ends where the turn goes on.
    if (id == opening) return {};
    for (const std::string_view part :
         {"start", "user", "User", "USER", "system", "role", "header", "assistant", "sep", "INST"}) {
      if (text.find(part) != std::string_view::npos) return {};
    }
    if (id == tokenizer.bos() || tokenizer.find("<|return|>") >= 0) return {};
    if (tokenizer.is_end_of_generation(id)) return {};
    Cause& cause = findings.add("stop_ids",
                                "The chat template closes the assistant's turn with " + label(tokenizer, id) +
                                    ", which does not end the generation: answers run on into the next turn.",
                                0.7, "tokenizer.ggml.eos_token_id");
    cause.evidence = {{"token", std::string(text)}, {"id", std::to_string(id)}};
    return {};
  }
  return {};
}

Status check_template(const GgufFile& file, const Tokenizer& tokenizer, Findings& findings) {
  const auto source = file.find_string("tokenizer.chat_template");
  if (!source) return {};
  const auto chat_template = ChatTemplate::parse(*source);
  ++findings.n_compared;
  if (!chat_template.ok()) {
    if (chat_template.error().code == ErrorCode::kOutOfMemory) return Error(chat_template.error());
    if (chat_template.error().code == ErrorCode::kCorrupt) {
      findings.add("template", "The chat template does not parse: " + chat_template.error().message + ".", 0.8,
                   "tokenizer.chat_template");
    } else {
      findings.notes.push_back("the chat template uses what the engine does not know: " +
                               chat_template.error().message);
    }
    return {};
  }
  constexpr const char* kQuestion = "Which river runs by the town";
  const auto rendered = render(*chat_template, tokenizer, conversation({{"user", kQuestion}}), true);
  if (!rendered.ok()) {
    if (rendered.error().code == ErrorCode::kOutOfMemory) return Error(rendered.error());
    findings.notes.push_back("the chat template does not render a plain question: " + rendered.error().message);
    return {};
  }
  findings.n_compared += 2;
  if (rendered->find(kQuestion) == std::string::npos) {
    findings.add("template", "The user's words do not occur in what the chat template makes of a conversation.", 0.85,
                 "tokenizer.chat_template");
  }
  ROWMAX_TRY(ids, tokenizer.encode(*rendered, true));
  const TokenId bos = tokenizer.bos();
  if (bos >= 0 && !tokenizer.is_end_of_generation(bos) && bos != tokenizer.find("<|im_start|>") &&
      std::ranges::count(ids, bos) > 1) {
    findings.add("template",
                 "The chat template writes " + label(tokenizer, bos) + " " +
                     std::to_string(std::ranges::count(ids, bos)) + " times into one turn.",
                 0.5, "tokenizer.chat_template");
  }
  // Every Gemma begins with <bos>, and answers without it are gibberish.
  const auto arch = file.find_string("general.architecture");
  if (arch && arch->starts_with("gemma") && bos >= 0 && !tokenizer.add_bos() && std::ranges::count(ids, bos) == 0) {
    findings.add("bos", "Neither the template nor the tokenizer puts <bos> first, which Gemma needs.", 0.6,
                 "tokenizer.ggml.add_bos_token");
  }
  check_marks(tokenizer, *rendered, findings);
  ROWMAX_RETURN_IF_ERROR(check_opening(*chat_template, tokenizer, *rendered, kQuestion, findings));
  return check_end_of_turn(*chat_template, tokenizer, findings);
}

// ---- the pre-tokenizer

Status check_pre(const Tokenizer& tokenizer, Findings& findings) {
  if (tokenizer.model() != "gpt2") return {};
  ROWMAX_TRY(fit, fit_vocabulary(tokenizer));
  findings.n_compared += fit.n_tokens;
  if (!fit.wrong()) return {};
  Cause& cause = findings.add(
      "pre_tokenizer",
      "The pre-tokenizer '" + std::string(tokenizer.pre()) + "' can never make " + std::to_string(fit.n_impossible) +
          " of the vocabulary's " + std::to_string(fit.n_tokens) + " tokens (" + engine::quote(fit.example) + "), '" +
          fit.best + "' all but " + std::to_string(fit.n_impossible_best) + ": try --pre " + fit.best + ".",
      0.85, "tokenizer.ggml.pre");
  cause.evidence = {{"pre", std::string(tokenizer.pre())},
                    {"impossible_tokens", std::to_string(fit.n_impossible)},
                    {"best_pre", fit.best},
                    {"impossible_tokens_best", std::to_string(fit.n_impossible_best)}};
  return {};
}

void check_order(const GgufFile& file, const Tokenizer& tokenizer, Findings& findings) {
  const VocabularyOrder order = vocabulary_order(file, tokenizer);
  findings.n_compared += order.n_steps;
  if (!order.wrong()) return;
  Cause& cause = findings.add("special_tokens",
                              "Only " + std::to_string(order.n_ascending) + " of " + std::to_string(order.n_steps) +
                                  " steps from one merge (or score) to the next go to a higher id, and in vocabularies "
                                  "that were learned all do: "
                                  "the list of tokens, or that of merges, is in another order.",
                              0.8, "tokenizer.ggml.tokens");
  cause.evidence = {{"ascending", std::to_string(order.n_ascending)}, {"steps", std::to_string(order.n_steps)}};
}

CheckResult refused(const Error& error) {
  CheckResult result = CheckResult::fail(kId, 1, "there is no tokenizer: " + error.message);
  result.place = place_in(error.message);
  if (result.place.key.empty()) {
    const std::size_t at = error.message.find("tokenizer.");
    if (at != std::string::npos)
      result.place.key = error.message.substr(at, error.message.find_first_of(": '", at) - at);
  }
  const bool pre = error.message.find("pre-tokenizer") != std::string::npos;
  Cause cause;
  cause.id = pre ? "pre_tokenizer" : cause_of_key(result.place.key);
  if (cause.id.empty()) cause.id = "special_tokens";
  cause.place = result.place;
  cause.text = "The tokenizer cannot be made from the file: " + error.message + ".";
  cause.command = "rowmax inspect MODEL";
  // A tokenizer of another kind is no fault of the file.
  cause.confidence = pre || error.code != ErrorCode::kUnsupported ? 0.8 : 0.3;
  result.causes.push_back(std::move(cause));
  result.measured = 1;
  result.threshold = 0;
  result.unit = "refusals";
  return result;
}

}  // namespace

Result<CheckResult> check_tokenizer(Patient& patient) {
  const auto file = patient.file();
  if (!file.ok()) return CheckResult::inconclusive(kId, "the file cannot be read: " + file.error().message);
  const auto tokenizer = patient.tokenizer();
  if (!tokenizer.ok()) {
    if (tokenizer.error().code == ErrorCode::kOutOfMemory) return Error(tokenizer.error());
    return refused(tokenizer.error());
  }
  Findings findings;
  ROWMAX_RETURN_IF_ERROR(check_round_trips(**tokenizer, findings));
  ROWMAX_RETURN_IF_ERROR(check_special_tokens(**tokenizer, findings));
  check_ids(**file, **tokenizer, findings);
  ROWMAX_RETURN_IF_ERROR(patient.step(0.3));
  ROWMAX_RETURN_IF_ERROR(check_template(**file, **tokenizer, findings));
  ROWMAX_RETURN_IF_ERROR(check_pre(**tokenizer, findings));
  check_order(**file, **tokenizer, findings);
  std::string notes;
  for (const std::string& note : findings.notes) notes += "; worth knowing: " + note;
  CheckResult result = CheckResult::pass(
      kId, findings.n_compared, "texts come back, special tokens are one id each, template and stop ids agree" + notes);
  if (!findings.causes.empty()) {
    std::ranges::stable_sort(findings.causes,
                             [](const Cause& a, const Cause& b) { return a.confidence > b.confidence; });
    result = CheckResult::fail(kId, findings.n_compared, findings.causes.front().text + notes);
    result.place = findings.causes.front().place;
  }
  result.measured = static_cast<double>(findings.n_wrong);
  result.threshold = 0;
  result.unit = "findings";
  result.causes = std::move(findings.causes);
  return result;
}

}  // namespace rowmax::doctor

// Pre-tokenizers by what they do, not by a hash of what they give.
#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "engine/convert/hf_tokenizer.h"
#include "engine/io/text.h"

namespace rowmax::engine {
namespace {

// The expressions as they stand in the models' tokenizer.json (tools/make_tokenizer_vectors.py has them too).
#define ROWMAX_SHORT "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define ROWMAX_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define ROWMAX_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define ROWMAX_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define ROWMAX_CASED_REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

constexpr std::string_view kGpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kDigits = "\\p{N}";
constexpr std::string_view kLlama3 = ROWMAX_SHORT "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" ROWMAX_REST;
// LFM2.5-8B-A1B's: the same words as Llama 3's. \s* takes all line ends but the last by itself, and what \s+(?!\S) leaves is
// one character.
constexpr std::string_view kLfm25 =
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|"
    "\\s+(?!\\S)|\\s";
constexpr std::string_view kQwen2 = ROWMAX_SHORT "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" ROWMAX_REST;
constexpr std::string_view kQwen35 = ROWMAX_SHORT
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kGpt4o =
    "[^\\r\\n\\p{L}\\p{N}]?" ROWMAX_UPPER "*" ROWMAX_LOWER "+" ROWMAX_SHORT "?|[^\\r\\n\\p{L}\\p{N}]?" ROWMAX_UPPER
    "+" ROWMAX_LOWER "*" ROWMAX_SHORT "?|\\p{N}{1,3}" ROWMAX_CASED_REST;
constexpr std::string_view kTekken =
    "[^\\r\\n\\p{L}\\p{N}]?" ROWMAX_UPPER "*" ROWMAX_LOWER "+|[^\\r\\n\\p{L}\\p{N}]?" ROWMAX_UPPER "+" ROWMAX_LOWER
    "*|\\p{N}" ROWMAX_CASED_REST;

constexpr std::string_view kThreeNumbers = "\\p{N}{1,3}";
constexpr std::string_view kHanKana = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+";
constexpr std::string_view kDeepseek3 =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

#undef ROWMAX_SHORT
#undef ROWMAX_REST
#undef ROWMAX_UPPER
#undef ROWMAX_LOWER
#undef ROWMAX_CASED_REST

struct Rule {
  std::string_view name;
  std::vector<std::string_view> steps;  // expressions, one after the other
  bool ignore_merges;
};
const Rule kRules[] = {
    {"gpt-2", {kGpt2}, false},
    {"smollm", {kDigits, kGpt2}, false},
    {"llama-bpe", {kLlama3}, true},
    {"smaug-bpe", {kLlama3}, false},
    {"lfm2", {kLfm25}, true},
    {"smaug-bpe", {kLfm25}, false},
    {"qwen2", {kQwen2}, false},
    {"qwen35", {kQwen35}, false},
    {"gpt-4o", {kGpt4o}, false},
    {"tekken", {kTekken}, true},
    {"deepseek-v3", {kThreeNumbers, kHanKana, kDeepseek3}, false},
};

bool matches_everywhere(std::string_view expression) {
  return expression != kDigits && expression != kThreeNumbers && expression != kHanKana && expression != kDeepseek3;
}

bool is_true(const Json& object, const char* key, bool fallback) {
  const Json found = object.find(key);
  return found.is_bool() ? found.as_bool() : fallback;
}

// Appends the expressions of one pre-tokenizer; false where it does something else. prefix: a space is put in front of
// what is cut.
bool append_steps(const Json& step, std::vector<std::string>& out, bool& prefix, int depth) {
  if (!step.is_object() || depth > 4) return false;
  const std::string_view type = step.find("type").as_string();
  if (type == "Sequence") {
    const Json parts = step.find("pretokenizers");
    return parts.is_array() && std::ranges::all_of(parts.elements(), [&](const Json& part) {
             return append_steps(part, out, prefix, depth + 1);
           });
  }
  if (type == "Digits") {
    out.emplace_back(kDigits);
    return is_true(step, "individual_digits", false);
  }
  if (type == "ByteLevel") {
    if (is_true(step, "add_prefix_space", true)) {
      if (!out.empty()) return false;  // in front of every word
      prefix = true;
    }
    if (is_true(step, "use_regex", true)) out.emplace_back(kGpt2);
    return true;
  }
  if (type == "Split") {
    // "Isolated" keeps matches and what lies between them; "Removed", inverted, keeps the matches, which is the same
    // for expressions that match everywhere.
    const std::string_view behavior = step.find("behavior").as_string();
    const bool inverted = is_true(step, "invert", false);
    const std::string_view expression = step.find("pattern").find("Regex").as_string();
    out.emplace_back(expression);
    return !expression.empty() && ((behavior == "Isolated" && !inverted) ||
                                   (behavior == "Removed" && inverted && matches_everywhere(expression)));
  }
  return false;
}

}  // namespace

RecognisedPre recognise_pre_tokenizer(const Json& pre_tokenizer, bool ignore_merges) {
  std::vector<std::string> steps;
  RecognisedPre out;
  if (!append_steps(pre_tokenizer, steps, out.add_prefix_space, 0)) return {};
  for (const Rule& rule : kRules) {
    if (std::ranges::equal(steps, rule.steps) && rule.ignore_merges == ignore_merges) {
      out.name = rule.name;
      return out;
    }
  }
  return {};
}

}  // namespace rowmax::engine

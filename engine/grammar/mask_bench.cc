// What masks cost over a model's vocabulary:
//
//   rowmax_mask_bench MODEL.gguf [WORD...]
//
// Texts are followed token by token, once with a constraint that knows nothing and once more with the same one; prints
// microseconds a mask (mean, median, worst) and what came before. With words, only cases whose names hold one of them.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "rowmax/engine/gguf.h"
#include "rowmax/engine/grammar.h"

namespace {

using namespace rowmax::engine;

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Case {
  const char* name;
  const char* schema;  // nullptr: any object
  const char* text;
};

constexpr const char* kPerson =
    R"({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer",
  "minimum": 0, "maximum": 150}, "email": {"type": "string", "format": "email"}, "address": {"type": "object", "properties": {
  "street": {"type": "string", "maxLength": 200}, "city": {"type": "string"}, "country": {"enum": ["Denmark", "Germany", "Ghana", "Greece"]}},
  "required": ["street", "city"], "additionalProperties": false}, "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 10}},
  "required": ["name", "age", "address", "tags"], "additionalProperties": false})";
constexpr const char* kPersonText =
    R"({"name": "Grace Hopper and friends", "age": 85, "email": "grace@navy.mil", "address": {"street": "12 Long Lane, behind the \"old\" mill", "city": "Arlington", "country": "Greece"}, "tags": ["admiral", "compiler", "na\u00efve", "caf\u00e9 au lait"]})";
constexpr const char* kAnyText =
    R"({"a": [1, 2.5e3, {"b": null, "long key name": "a text of several words"}], "nested": {"x": {"y": [[true, false], []]}}, "n": -17})";

constexpr Case kCases[] = {
    {"schema of a person", kPerson, kPersonText},
    {"any object", nullptr, kAnyText},
    {"text of at most 60 characters", R"({"type": "string", "maxLength": 60})",
     "\"The quick brown fox jumps over the lazy dog, twice a day.\""},
};

void print(const char* what, std::vector<double> times) {
  std::ranges::sort(times);
  double sum = 0;
  for (const double time : times) sum += time;
  std::printf("  %-6s %4zu masks: mean %8.1f us, median %8.1f us, worst %8.1f us\n", what, times.size(),
              sum / static_cast<double>(times.size()), times[times.size() / 2], times.back());
}

int run(const Case& one, const Tokenizer& tokenizer, const GrammarVocabulary& vocabulary) {
  const double begin = now_us();
  const auto grammar = one.schema != nullptr ? Grammar::from_json_schema(one.schema) : Grammar::any_json_object();
  const double compiled = now_us();
  const auto constraint = GrammarConstraint::create(*grammar, vocabulary);
  const auto tokens = tokenizer.encode(one.text, false);
  std::printf("%s: compiled in %.0f us, %zu states\n", one.name, compiled - begin, grammar->n_states());
  std::vector<std::uint64_t> allowed(static_cast<std::size_t>(vocabulary.size() + 63) / 64);
  for (const char* what : {"first", "again"}) {
    const TokenMask mask = *constraint->token_mask();
    std::vector<double> times;
    for (std::size_t i = 0; i <= tokens->size(); ++i) {
      std::ranges::fill(allowed, 0);
      const double start = now_us();
      const auto status = mask({tokens->data(), i}, allowed);
      times.push_back(now_us() - start);
      if (!status.ok()) {
        std::printf("  %s\n", status.error().message.c_str());
        return 1;
      }
    }
    print(what, times);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const auto file = GgufFile::open(argv[1]);
  if (!file.ok()) return 3;
  const auto tokenizer = Tokenizer::from_gguf(*file);
  if (!tokenizer.ok()) {
    std::printf("%s\n", tokenizer.error().message.c_str());
    return 3;
  }
  const double begin = now_us();
  const auto vocabulary = GrammarVocabulary::create(*tokenizer);
  std::printf("vocabulary: %lld tokens in %.0f us\n", static_cast<long long>(vocabulary->size()), now_us() - begin);
  for (const Case& one : kCases) {
    bool wanted = argc == 2;
    for (int i = 2; i < argc; ++i) wanted = wanted || std::string(one.name).find(argv[i]) != std::string::npos;
    if (wanted && run(one, *tokenizer, *vocabulary) != 0) return 1;
  }
  return 0;
}

// Four times the input is not more than five times the work: for what a hub, a model's file or a user's text can make
// large.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "apps/store/hub_listing.h"
#include "engine/convert/hf_tokenizer.h"
#include "engine/io/gguf_test_bytes.h"
#include "engine/io/json.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/test_vocabulary.h"
#include "rowmax/engine/chat_template.h"
#include "rowmax/engine/tokenizer.h"
#include "tests/growth/counter.h"

namespace rowmax::test {
namespace {

using namespace engine;

// n log n, with n from some thousands on, is up to 4.9.
constexpr double kMostGrowth = 5;

// work(n): of n entries or bytes.
void expect_growth(std::size_t n, const std::function<std::uint64_t(std::size_t)>& work) {
  const std::uint64_t once = work(n), four = work(4 * n);
  ASSERT_GE(once, n) << "not each entry was looked at, or nothing is counted";
  const double growth = static_cast<double>(four) / static_cast<double>(once);
  EXPECT_LE(growth, kMostGrowth) << once << ", then " << four;
  EXPECT_GE(growth, 3) << once << ", then " << four;
  testing::Test::RecordProperty("work", std::to_string(once));
  testing::Test::RecordProperty("growth", std::to_string(growth));
}

// The counter itself, on a loop of this file: exact up to what the compiler does with its blocks.
TEST(Work, QuadraticLoopsAreSeen) {
  const auto loop = [](std::size_t n) {
    return work_of([&] {
      std::string text(n, 'a');
      for (std::size_t i = 0; i < n; ++i) {
        volatile std::size_t sum = 0;
        for (std::size_t j = 0; j < n; ++j) sum = sum + j;
      }
    });
  };
  const double growth = static_cast<double>(loop(4000)) / static_cast<double>(loop(1000));
  EXPECT_GT(growth, 15);
  EXPECT_LT(growth, 17);
}

TEST(Work, MovedBytesAreSeen) {
  const auto moves = [](std::size_t n) {
    std::vector<char> bytes(n);
    return work_of([&] {
      while (!bytes.empty()) bytes.erase(bytes.begin());
    });
  };
  EXPECT_GT(static_cast<double>(moves(80000)) / static_cast<double>(moves(20000)), 10);
}

// --- a hub's listing ---

const std::string kCommit(40, 'a');

std::string number(std::size_t i) { return std::to_string(100000 + i).substr(1); }

std::string file_entry(const std::string& path) {
  return R"({"rfilename":")" + path + R"(","lfs":{"size":1,"sha256":")" + std::string(64, '0') + R"("}})";
}

std::string listing_of(std::size_t n, const std::function<std::string(std::size_t)>& path) {
  std::string files;
  for (std::size_t i = 0; i < n; ++i) files += (i == 0 ? "" : ",") + file_entry(path(i));
  return R"({"sha":")" + kCommit + R"(","siblings":[)" + files + "]}";
}

// Reads the listing and chooses from it; `files`: how many, 0 for an error.
std::uint64_t choosing_work(const std::string& json, const std::string& file, std::size_t files) {
  std::size_t found = 0;
  bool read = false;
  const std::uint64_t work = work_of([&] {
    const auto listing = store::parse_listing(json, "test");
    read = listing.ok();
    if (!read) return;
    const auto chosen = store::choose_files(*listing, {"owner/model", "main", file});
    found = chosen.ok() ? chosen->size() : 0;
  });
  EXPECT_TRUE(read);
  EXPECT_EQ(found, files);
  return work;
}

TEST(Listing, ManyModels) {
  expect_growth(4000, [](std::size_t n) {
    const std::string json = listing_of(n, [](std::size_t i) { return "m" + number(i) + ".gguf"; });
    return choosing_work(json, "", 0) + choosing_work(json, "m" + number(n - 1) + ".gguf", 1);
  });
}

TEST(Listing, ManyPartsOfAModel) {
  expect_growth(4000, [](std::size_t n) {
    const auto part = [n](std::size_t i) { return "a-" + number(i + 1) + "-of-" + number(n) + ".gguf"; };
    // The last part comes first: the order is the hub's.
    const std::string json = listing_of(n, [&](std::size_t i) { return part(n - 1 - i); });
    return choosing_work(json, part(n / 2), n) + choosing_work(json, "", n);
  });
}

TEST(Listing, OneFileAgainAndAgain) {
  expect_growth(4000, [](std::size_t n) {
    return choosing_work(listing_of(n, [](std::size_t) { return "a-00001-of-00002.gguf"; }), "", 0);
  });
}

TEST(Listing, ManyKeysOfAFile) {
  expect_growth(4000, [](std::size_t n) {
    std::string keys;
    for (std::size_t i = 0; i < n; ++i) keys += ",\"key" + std::to_string(i) + "\":0";
    return choosing_work(R"({"sha":")" + kCommit + R"(","siblings":[{"rfilename":"a")" + keys + "}]}", "", 0);
  });
}

// --- vocabularies ---

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEF";

struct Words {
  std::vector<std::string> texts;
  std::vector<std::pair<std::string, std::string>> merges;
};
// Texts of two letters, all of them, then of three; every cut of a text is a merge.
Words words(std::size_t n) {
  Words out;
  const auto add = [&](const std::string& text) {
    if (out.texts.size() == n) return;
    out.texts.push_back(text);
    for (std::size_t cut = 1; cut < text.size(); ++cut) out.merges.emplace_back(text.substr(0, cut), text.substr(cut));
  };
  for (const char a : kLetters) {
    for (const char b : kLetters) add({a, b});
  }
  for (std::size_t i = 0; out.texts.size() < n; ++i) {
    for (const char c : kLetters) add(out.texts[i] + c);
  }
  return out;
}

TestVocabulary bpe_vocabulary(std::size_t n) {
  TestVocabulary out = byte_vocabulary();
  const Words more = words(n);
  for (const std::string& text : more.texts) out.add(text);
  for (const auto& [left, right] : more.merges) out.merges.push_back(left + " " + right);
  return out;
}

TestVocabulary scored_vocabulary(std::size_t n) {
  TestVocabulary out = spm_vocabulary();
  for (const char c : kLetters) out.add(std::string(1, c), 1, -1);
  float score = 0;
  for (const std::string& text : words(n).texts) out.add(text, 1, score -= 1);
  return out;
}

void put_strings(GgufBytes& file, std::string_view key, const std::vector<std::string>& texts) {
  file.key(key, 9).u32(8).u64(texts.size());
  for (const std::string& text : texts) file.str(text);
}

GgufBytes gguf_of(const TestVocabulary& vocabulary, bool bpe) {
  GgufBytes file = GgufBytes::header(0, 5);
  file.key("tokenizer.ggml.model", 8).str(bpe ? "gpt2" : "llama");
  put_strings(file, "tokenizer.ggml.tokens", vocabulary.tokens);
  file.key("tokenizer.ggml.token_type", 9).u32(5).u64(vocabulary.types.size());
  for (const std::int64_t type : vocabulary.types) file.i32(static_cast<std::int32_t>(type));
  if (bpe) {
    file.key("tokenizer.ggml.pre", 8).str("gpt-2");
    put_strings(file, "tokenizer.ggml.merges", vocabulary.merges);
  } else {
    file.key("general.architecture", 8).str("llama");
    file.key("tokenizer.ggml.scores", 9).u32(6).u64(vocabulary.scores.size());
    for (const float score : vocabulary.scores) file.put(score);
  }
  return file;
}

std::uint64_t loading_work(const GgufBytes& bytes) {
  std::string error;
  const std::uint64_t work = work_of([&] {
    const auto file = GgufFile::parse(bytes.bytes(), "test.gguf");
    if (!file.ok()) return void(error = file.error().message);
    const auto tokenizer = Tokenizer::from_gguf(*file);
    if (!tokenizer.ok()) error = tokenizer.error().message;
  });
  EXPECT_EQ(error, "");
  return work;
}

TEST(Vocabularies, GgufBpe) {
  expect_growth(8000, [](std::size_t n) { return loading_work(gguf_of(bpe_vocabulary(n), true)); });
}

TEST(Vocabularies, GgufScores) {
  expect_growth(8000, [](std::size_t n) { return loading_work(gguf_of(scored_vocabulary(n), false)); });
}

TEST(Vocabularies, GgufControlTokens) {
  expect_growth(8000, [](std::size_t n) {
    TestVocabulary vocabulary = byte_vocabulary();
    for (std::size_t i = 0; i < n; ++i) vocabulary.add("<|special" + number(i) + "|>", i % 2 == 0 ? 3 : 4);
    return loading_work(gguf_of(vocabulary, true));
  });
}

// engine/convert/testdata/NAME with n words in place of its own.
std::string tokenizer_json(const std::string& name, std::size_t n) {
  std::ifstream in(ROWMAX_SOURCE_DIR "/engine/convert/testdata/" + name, std::ios::binary);
  auto json = nlohmann::json::parse(in);
  auto& model = json["model"];
  std::size_t id = model["vocab"].size();
  for (const auto& merge : model["merges"]) {
    model["vocab"].erase(merge[0].get<std::string>() + merge[1].get<std::string>());
  }
  const auto add = [&](const std::string& text) {
    if (!model["vocab"].contains(text)) model["vocab"][text] = id++;
  };
  const Words more = words(n);
  for (const char c : kLetters) add(std::string(1, c));
  for (const std::string& text : more.texts) add(text);
  model["merges"] = nlohmann::json::array();
  for (const auto& [left, right] : more.merges) model["merges"].push_back({left, right});
  return json.dump();
}

std::uint64_t converting_work(const std::string& text, std::size_t n) {
  std::string error;
  GgufWriter keys;
  const std::uint64_t work = work_of([&] {
    HfTokenizerFiles files;
    files.folder = "folder";
    auto document = parse_json(text, "tokenizer.json");
    const auto config = parse_json("{}", "config.json");
    if (!document.ok()) return void(error = document.error().message);
    files.tokenizer = std::move(*document);
    const auto notices = write_tokenizer(files, config->root(), static_cast<std::int64_t>(n) + 1000, "", keys);
    if (!notices.ok()) error = notices.error().message;
  });
  EXPECT_EQ(error, "");
  return work;
}

TEST(Vocabularies, TokenizerJsonByteLevel) {
  expect_growth(8000, [](std::size_t n) { return converting_work(tokenizer_json("tokenizer.json", n), n); });
}

TEST(Vocabularies, TokenizerJsonWithByteFallback) {
  expect_growth(8000, [](std::size_t n) { return converting_work(tokenizer_json("spm_tokenizer.json", n), n); });
}

// --- texts without a border ---

// Merges of one letter: two, four, ... 64 of them are a token each.
constexpr int kDoublings = 6;

std::uint64_t tokenising_work(const TokenizerSource& source, std::size_t n) {
  const auto tokenizer = Tokenizer::from_source(source);
  EXPECT_TRUE(tokenizer.ok());
  const std::string text(n, 'e');
  std::size_t n_ids = 0;
  const std::uint64_t work = work_of([&] { n_ids = tokenizer->encode(text, false)->size(); });
  EXPECT_EQ(n_ids, n >> kDoublings);  // every letter was merged
  return work;
}

TEST(OneLetter, Bpe) {
  TestVocabulary vocabulary = byte_vocabulary();
  for (int i = 0; i < kDoublings; ++i) {
    const std::string half(std::size_t{1} << i, 'e');
    vocabulary.add(half + half);
    vocabulary.merges.push_back(half + " " + half);
  }
  expect_growth(std::size_t{256} << 10, [&](std::size_t n) { return tokenising_work(vocabulary.bpe("gpt-2"), n); });
}

TEST(OneLetter, Spm) {
  TestVocabulary vocabulary = spm_vocabulary();
  for (int i = 0; i <= kDoublings; ++i)
    vocabulary.add(std::string(std::size_t{1} << i, 'e'), 1, static_cast<float>(-i));
  TokenizerSource source = vocabulary.spm();
  source.add_space_prefix = false;
  expect_growth(std::size_t{256} << 10, [&](std::size_t n) { return tokenising_work(source, n); });
}

// --- texts that a scanner could look through from every place ---

std::string repeated(std::string_view text, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += text;
  return out;
}

TEST(HostileTexts, EveryPreTokenizer) {
  for (const PreTokenizer& pre : pre_tokenizers()) {
    for (const std::string_view unit : {" ", "A\xE4\xB8\xAD", " \n", "A", "\xCC\x81", "\xFF'", "1 "}) {
      SCOPED_TRACE(std::string(pre.name) + " on " + testing::PrintToString(unit));
      expect_growth(20000, [&](std::size_t n) {
        const std::string text = repeated(unit, n) + "x";
        std::size_t total = 0;
        const std::uint64_t work =
            work_of([&] { split_words(pre.passes, text, [&](std::string_view word) { total += word.size(); }); });
        EXPECT_EQ(total, text.size());
        return work;
      });
    }
  }
}

// --- templates ---

TEST(Templates, Nested) {
  struct Form {
    const char *name, *before, *open, *between, *close;
  };
  for (const Form& form : {
           Form{"open parentheses", "{{ ", "(", "", ""},
           Form{"brackets", "{{ ", "[", "", "]"},
           Form{"not", "{{ ", "not ", "1", ""},
           Form{"attributes", "{{ x", ".a", "", ""},
           Form{"filters", "{{ x", "|trim", "", ""},
           Form{"conditions", "{{ 1", " if 1 else 1", "", ""},
           Form{"if", "", "{% if 1 %}", "", ""},
           Form{"macro", "", "{% macro m() %}", "", ""},
       }) {
    SCOPED_TRACE(form.name);
    expect_growth(10000, [&](std::size_t n) {
      const std::string source = form.before + repeated(form.open, n) + form.between + repeated(form.close, n);
      bool ok = true;
      const std::uint64_t work = work_of([&] { ok = ChatTemplate::parse(source).ok(); });
      EXPECT_FALSE(ok);
      return work;
    });
  }
}

// What a template may ask for is bounded by its limits: the counter ends the test where it is not.
TEST(Templates, LimitsBoundTheWork) {
  const std::string lists =
      "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}";
  for (const std::string& source : {
           std::string("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"),
           std::string("{{ ('\\n' * 100000 ~ 'x') | indent(10**6, blank=true) }}"),
           lists + "{{ ns.s }}",
           lists + "{{ ns.s|tojson }}",
           lists + "{% set a = ns.s %}" + lists + "{{ ns.s == a }}",
       }) {
    const auto parsed = ChatTemplate::parse(source);
    ASSERT_TRUE(parsed.ok()) << source;
    bool ok = true;
    EXPECT_LT(work_of([&] { ok = parsed->render(TemplateValue::make_dict({}), 0).ok(); }), kRunaway) << source;
    EXPECT_FALSE(ok) << source;
  }
}

}  // namespace
}  // namespace rowmax::test

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "doctor/checks/patient_test_util.h"
#include "doctor/test_patient.h"

namespace rowmax::doctor {
namespace {

using namespace testing_util;

CheckResult with(const Bytes& bytes, const std::string& key, const std::function<void(engine::GgufWriter&)>& add) {
  Rewrite rewrite;
  rewrite.drop_key = [&](std::string_view name) { return name == key; };
  rewrite.add = add;
  return examine(&check_tokenizer, rewritten(bytes, rewrite));
}

std::vector<std::string> strings_of(const Bytes& bytes, const std::string& key) {
  const auto file = engine::GgufFile::parse(bytes, "m.gguf");
  std::vector<std::string> out;
  for (const std::string_view text : (*file->get_array(key, engine::GgufType::kString))->strings)
    out.emplace_back(text);
  return out;
}
std::vector<std::int32_t> kinds_of(const Bytes& bytes) {
  const auto file = engine::GgufFile::parse(bytes, "m.gguf");
  const engine::GgufArray* array = *file->get_int_array("tokenizer.ggml.token_type");
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < array->size; ++i) out.push_back(static_cast<std::int32_t>(array->as_int(i)));
  return out;
}

TEST(TokenizerCheck, SoundModelsPass) {
  for (const std::string& arch : tools::synthetic_architectures()) {
    const CheckResult result = examine(&check_tokenizer, model_bytes(tools::odd_spec(arch)));
    EXPECT_EQ(result.verdict, Verdict::kPass) << arch << ": " << result.reason;
    EXPECT_GT(result.n_compared, 25) << arch;
  }
}

TEST(TokenizerCheck, TheStoryModelPasses) {
  std::ifstream in(std::string(ROWMAX_SOURCE_DIR) + "/models/stories.gguf", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  ASSERT_FALSE(text.empty());
  Bytes bytes(text.size());
  std::ranges::transform(text, bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
  const CheckResult result = examine(&check_tokenizer, bytes);
  EXPECT_EQ(result.verdict, Verdict::kPass) << result.reason;
  EXPECT_EQ(examine(&check_bytes, bytes).verdict, Verdict::kPass) << examine(&check_bytes, bytes).reason;
  EXPECT_EQ(examine(&check_closure, bytes).verdict, Verdict::kPass) << examine(&check_closure, bytes).reason;
  EXPECT_EQ(examine(&check_head, bytes).verdict, Verdict::kPass) << examine(&check_head, bytes).reason;
  EXPECT_EQ(examine(&check_kernels, bytes).verdict, Verdict::kPass) << examine(&check_kernels, bytes).reason;
}

TEST(TokenizerCheck, SpecialTokensThatAreCutIntoPieces) {
  const Bytes sound = model_bytes({});
  std::vector<std::int32_t> kinds = kinds_of(sound);
  std::vector<std::string> tokens = strings_of(sound, "tokenizer.ggml.tokens");
  tokens[1] = "<|turn|>";  // of no unmistakable name, which the engine would mark by itself
  kinds[1] = 1;
  Rewrite rewrite;
  rewrite.drop_key = [](std::string_view name) {
    return name == "tokenizer.ggml.tokens" || name == "tokenizer.ggml.token_type";
  };
  rewrite.add = [&](engine::GgufWriter& writer) {
    writer.set_strings("tokenizer.ggml.tokens", tokens);
    writer.set_int32s("tokenizer.ggml.token_type", kinds);
  };
  const CheckResult result = examine(&check_tokenizer, rewritten(sound, rewrite));
  EXPECT_EQ(result.verdict, Verdict::kFail);
  ASSERT_EQ(first_cause(result), "special_tokens") << result.reason;
  EXPECT_EQ(result.causes[0].evidence[0].second, "<|turn|>");
}

TEST(TokenizerCheck, IdsOfPlainWordsAndBeyondTheVocabulary) {
  const Bytes sound = model_bytes({});
  const auto tokens = strings_of(sound, "tokenizer.ggml.tokens");
  const auto id_of = [&](const char* text) {
    return static_cast<std::uint32_t>(std::ranges::find(tokens, std::string(text)) - tokens.begin());
  };
  const std::uint32_t word = id_of("ing"), sign = id_of("\"");
  ASSERT_LT(word, tokens.size());
  ASSERT_LT(sign, tokens.size());
  for (const auto& [key, cause] :
       {std::pair{"tokenizer.ggml.bos_token_id", "bos"}, std::pair{"tokenizer.ggml.eos_token_id", "stop_ids"}}) {
    const CheckResult plain =
        with(sound, key, [&, key = key](engine::GgufWriter& writer) { writer.set_uint32(key, word); });
    EXPECT_EQ(plain.verdict, Verdict::kFail) << key;
    EXPECT_TRUE(names(plain, cause)) << plain.reason;
    const CheckResult mark =
        with(sound, key, [&, key = key](engine::GgufWriter& writer) { writer.set_uint32(key, sign); });
    EXPECT_TRUE(names(mark, cause)) << mark.reason;
    const CheckResult beyond =
        with(sound, key, [&, key = key](engine::GgufWriter& writer) { writer.set_uint32(key, 100000); });
    EXPECT_EQ(beyond.verdict, Verdict::kFail) << key;
    EXPECT_TRUE(names(beyond, cause)) << beyond.reason;
  }
}

TEST(TokenizerCheck, Templates) {
  const Bytes sound = model_bytes({});
  const auto with_template = [&](const std::string& source) {
    return with(sound, "tokenizer.chat_template",
                [&](engine::GgufWriter& writer) { writer.set_string("tokenizer.chat_template", source); });
  };
  EXPECT_EQ(first_cause(with_template("{% for m in messages %}{{ m.content }}")), "template");
  EXPECT_EQ(first_cause(with_template("{% for m in messages %}{{ m.text }}{% endfor %}")), "template");
  EXPECT_EQ(first_cause(with_template(
                "{% for m in messages %}<|begin|>{{ m.role }}<|header|>{{ m.content }}<|stop|>{% endfor %}")),
            "template");
  // It closes turns with a token that ends nothing.
  EXPECT_EQ(
      first_cause(with_template("{% for m in messages %}{{ m.role }}: {{ m.content }}<|endoftext|>\n{% endfor %}")),
      "");
  tools::SyntheticSpec spec;
  spec.arch = "gemma3";
  const Bytes gemma = model_bytes(spec);
  const CheckResult open_end = with(gemma, "tokenizer.chat_template", [&](engine::GgufWriter& writer) {
    writer.set_string("tokenizer.chat_template",
                      "{{ bos_token }}{% for m in messages %}{{ m.role }}\n{{ m.content }}<pad>\n{% endfor %}");
  });
  EXPECT_EQ(first_cause(open_end), "stop_ids") << open_end.reason;
  // What opens every turn ends none, and is no fault.
  const CheckResult openings = with(gemma, "tokenizer.chat_template", [&](engine::GgufWriter& writer) {
    writer.set_string("tokenizer.chat_template",
                      "{{ bos_token }}{% for m in messages %}<pad>{{ m.role }}\n{{ m.content }}\n{% endfor %}");
  });
  EXPECT_EQ(openings.verdict, Verdict::kPass) << openings.reason;
  // Gemma without BOS.
  Rewrite rewrite;
  rewrite.drop_key = [](std::string_view name) {
    return name == "tokenizer.chat_template" || name == "tokenizer.ggml.add_bos_token";
  };
  rewrite.add = [](engine::GgufWriter& writer) {
    writer.set_bool("tokenizer.ggml.add_bos_token", false);
    writer.set_string("tokenizer.chat_template",
                      "{% for m in messages %}{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}");
  };
  EXPECT_EQ(first_cause(examine(&check_tokenizer, rewritten(gemma, rewrite))), "bos");
}

// Of a vocabulary with <|im_start|> and <|im_end|>.
TEST(TokenizerCheck, TemplatesOfOtherVocabulariesAndWithoutAnAnswer) {
  const Bytes sound = file_bytes("tests/golden/doctor/qwen2.gguf");
  ASSERT_FALSE(sound.empty());
  EXPECT_EQ(examine(&check_tokenizer, sound).verdict, Verdict::kPass);
  const auto with_template = [&](const std::string& source) {
    return with(sound, "tokenizer.chat_template",
                [&](engine::GgufWriter& writer) { writer.set_string("tokenizer.chat_template", source); });
  };
  // Llama 3's, whose first mark the tokenizer gives.
  const CheckResult other = with_template(
      "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content + "
      "'<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% "
      "endif %}");
  EXPECT_EQ(first_cause(other), "template") << other.reason;
  EXPECT_NE(other.reason.find("<|start_header_id|>"), std::string::npos) << other.reason;
  const std::string turns =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}";
  const CheckResult closed = with_template(turns);
  EXPECT_EQ(first_cause(closed), "template") << closed.reason;
  EXPECT_NE(closed.reason.find("add_generation_prompt"), std::string::npos) << closed.reason;
  EXPECT_EQ(with_template(turns + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}").verdict,
            Verdict::kPass);
  // Mistral's: an answer follows the question's end at once.
  const CheckResult at_once = with_template(
      "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]{% else %} {{ m.content "
      "}}<|im_end|>{% endif %}{% endfor %}");
  EXPECT_EQ(at_once.verdict, Verdict::kPass) << at_once.reason;
}

TEST(TokenizerCheck, APreTokenizerThatIsNotKnown) {
  const CheckResult result = with(model_bytes({}), "tokenizer.ggml.pre", [](engine::GgufWriter& writer) {
    writer.set_string("tokenizer.ggml.pre", "no-such");
  });
  EXPECT_EQ(result.verdict, Verdict::kFail);
  EXPECT_EQ(first_cause(result), "pre_tokenizer") << result.reason;
  const CheckResult none = with(model_bytes({}), "tokenizer.ggml.tokens", [](engine::GgufWriter&) {});
  EXPECT_EQ(none.verdict, Verdict::kFail);
  EXPECT_EQ(first_cause(none), "special_tokens") << none.reason;
}

TEST(TokenizerCheck, AFileThatIsNoneIsInconclusive) {
  EXPECT_EQ(examine(&check_tokenizer, Bytes(100)).verdict, Verdict::kInconclusive);
}

}  // namespace
}  // namespace rowmax::doctor

// No memory: every allocation of every public call of the engine fails once, and the call says kOutOfMemory, leaves
// everything as it was, and works the next time.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rowmax/engine/chat_template.h"
#include "rowmax/engine/convert.h"
#include "rowmax/engine/generate.h"
#include "rowmax/engine/gguf.h"
#include "rowmax/engine/grammar.h"
#include "rowmax/engine/layout_check.h"
#include "rowmax/engine/model.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/engine/session.h"
#include "rowmax/engine/tokenizer.h"
#include "tests/memory/test_failing_memory.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::memory_test {
namespace {

namespace fs = std::filesystem;
using engine::BatchItem;
using engine::GgufFile;
using engine::LogitsFor;
using engine::Model;
using engine::SequenceId;
using engine::Session;
using engine::TokenId;
using engine::Tokenizer;

constexpr std::string_view kText = "The cat's 12 hats, <|im_end|> and \xC3\xA9t\xC3\xA9\nend  of it";

template <class T>
std::string bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}
std::string bytes_of(const std::vector<TokenId>& ids) { return bytes_of(std::span<const TokenId>(ids)); }

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class OutOfMemory : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rowmax_memory_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    options_.isa = supported_isas().back();
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(std::string_view name) const { return (folder_ / name).string(); }

  std::string model_file(const std::string& arch, const std::string& type = "Q4_1") {
    tools::SyntheticSpec spec;
    spec.arch = arch;
    spec.type = type;
    const std::string name = path(arch + ".gguf");
    EXPECT_TRUE(tools::write_synthetic_model(spec, name).ok());
    return name;
  }
  Model model(const std::string& arch) { return std::move(Model::load(model_file(arch), options_, executor_)).value(); }

  // Every file below the folder with its bytes.
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      if (entry.is_regular_file()) found[entry.path().string()] = content(entry.path());
    }
    return found;
  }

  fs::path folder_;
  engine::ModelOptions options_;
  SerialExecutor executor_;
};

TEST_F(OutOfMemory, OpeningAFile) {
  const std::string name = model_file("llama");
  fail_each_allocation("GgufFile::open", [&](Fault& fault) -> Result<std::string> {
    const auto file = fault.during([&] { return GgufFile::open(name); });
    if (!file.ok()) return file.error();
    std::string text;
    for (const engine::GgufTensor& tensor : file->tensors()) text += std::string(tensor.name) + bytes_of(tensor.data);
    return text;
  });
}

TEST_F(OutOfMemory, AskingAFileForWhatItHasNot) {
  const auto file = GgufFile::open(model_file("llama"));
  ASSERT_TRUE(file.ok());
  fail_each_allocation("GgufFile::get_array", [&](Fault& fault) -> Result<std::string> {
    const auto found = fault.during(
        [&] { return file->get_array("tokenizer.ggml.tokens_of_some_other_file", engine::GgufType::kF32); });
    return found.error().code == ErrorCode::kNotFound ? Result<std::string>(found.error().message) : found.error();
  });
}

// A variant that fails leaves the model as it was.
TEST_F(OutOfMemory, AModelWithEdits) {
  const auto model = Model::load(model_file("llama"), options_, executor_);
  ASSERT_TRUE(model.ok());
  for (const engine::Edits& edits :
       {engine::Edits{{"qk_permutation", "none"}, {"add_bos", "false"}, {"rope_base", "77"}},
        engine::Edits{{"transpose", "blk.0.attn_q.weight"},
                      {"exchange", "blk.1.attn_k.weight:blk.1.attn_v.weight"},
                      {"tensor_factor", "blk.0.ffn_up.weight:0.5"},
                      {"norm_weights", "plus_one"}}}) {
    fail_each_allocation("Model::with_edits",
                         [&](Fault& fault) -> Result<std::string> {
                           const auto other = fault.during([&] { return model->with_edits(edits, executor_); });
                           if (!other.ok()) return other.error();
                           auto session = Session::create(*other, {}, executor_);
                           const SequenceId sequence = *session->open();
                           const std::vector<TokenId> tokens{1, 20, 30};
                           const BatchItem item{sequence, tokens, LogitsFor::kAll};
                           if (Status status = session->forward({&item, 1}); !status.ok()) return status.error();
                           return bytes_of(session->logits(0)) + bytes_of(session->logits(2));
                         },
                         {}, {.each = 60, .part = 20});
  }
  fail_each_allocation("editable_facts", [&](Fault& fault) -> Result<std::string> {
    const auto facts =
        fault.during([&] { return engine::editable_facts(model->file(), model->options(), &model->tokenizer()); });
    if (!facts.ok()) return facts.error();
    std::string text;
    for (const engine::EditableFact& fact : *facts) text += fact.value + fact.values;
    return text;
  });
}

TEST_F(OutOfMemory, LoadingAModel) {
  for (const char* arch : {"llama", "gemma3"}) {
    const std::string name = model_file(arch);
    fail_each_allocation("Model::load",
                         [&](Fault& fault) -> Result<std::string> {
                           const auto model = fault.during([&] { return Model::load(name, options_, executor_); });
                           if (!model.ok()) return model.error();
                           auto session = Session::create(*model, {}, executor_);
                           const SequenceId sequence = *session->open();
                           const std::vector<TokenId> tokens{1, 20, 30};
                           const BatchItem item{sequence, tokens, LogitsFor::kAll};
                           if (Status status = session->forward({&item, 1}); !status.ok()) return status.error();
                           return bytes_of(session->logits(0)) + bytes_of(session->logits(2));
                         },
                         {}, {.each = 100, .part = 40});
  }
}

TEST_F(OutOfMemory, DescribingAModel) {
  const auto file = GgufFile::open(model_file("gemma2"));
  ASSERT_TRUE(file.ok());
  fail_each_allocation("describe_model", [&](Fault& fault) -> Result<std::string> {
    const auto description = fault.during([&] { return engine::describe_model(*file); });
    if (!description.ok()) return description.error();
    return description->architecture + std::to_string(description->facts.size());
  });
  fail_each_allocation("report_keys", [&](Fault& fault) -> Result<std::string> {
    const auto keys = fault.during([&] { return engine::report_keys(*file); });
    if (!keys.ok()) return keys.error();
    std::string text;
    for (const engine::KeyReport& report : *keys) text.append(report.key).append(report.why);
    return text;
  });
}

TEST_F(OutOfMemory, Tokenizing) {
  for (const char* arch : {"llama", "gemma3"}) {
    const auto file = GgufFile::open(model_file(arch));
    ASSERT_TRUE(file.ok());
    fail_each_allocation("Tokenizer::from_gguf", [&](Fault& fault) -> Result<std::string> {
      const auto tokenizer = fault.during([&] { return Tokenizer::from_gguf(*file); });
      if (!tokenizer.ok()) return tokenizer.error();
      return bytes_of(*tokenizer->encode(kText, true));
    });
    const Tokenizer tokenizer = std::move(Tokenizer::from_gguf(*file)).value();
    std::string text;
    for (int i = 0; i < 40; ++i) text += std::string(kText) + std::to_string(i);
    const engine::TextPart parts[] = {{text, false}, {"<|im_end|>", true}, {text, false}};
    const std::vector<TokenId> ids = *tokenizer.encode(parts);
    fail_each_allocation("Tokenizer::encode", [&](Fault& fault) -> Result<std::string> {
      const auto found = fault.during([&] { return tokenizer.encode(parts); });
      if (!found.ok()) return found.error();
      return bytes_of(*found);
    });
    fail_each_allocation("Tokenizer::decode",
                         [&](Fault& fault) { return fault.during([&] { return tokenizer.decode(ids, true); }); });
  }
}

constexpr std::string_view kTemplate =
    "{%- set ns = namespace(n=0) -%}{%- macro turn(m) -%}<|im_start|>{{ m.role | title }}\n{{ m['content'] | trim }}"
    "<|im_end|>{%- endmacro -%}{%- for m in messages if m.role != 'x' -%}{%- set ns.n = ns.n + loop.index -%}"
    "{{ turn(m) }} {{ m.content.split(' ') | join('-') | replace('-', '+') | upper }}{{ m | tojson(indent=2) }}\n"
    "{{ '%s is %d' | format(m.role, ns.n) }}{{ (m.content ~ 'z') | list | sort | unique | first(1) if false else '' }}"
    "{{ strftime_now('%Y') }}{{ range(5) | map('string') | list }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}";

engine::TemplateValue messages() {
  using Value = engine::TemplateValue;
  std::vector<Value> list;
  for (int i = 0; i < 3; ++i) {
    list.push_back(
        Value::make_dict({{"role", Value::of("user")}, {"content", Value::of("  some words, number 1, and more ")}}));
  }
  return Value::make_dict(
      {{"messages", Value::make_list(std::move(list))}, {"add_generation_prompt", Value::of(true)}});
}

TEST_F(OutOfMemory, Templates) {
  const engine::TemplateValue globals = messages();
  fail_each_allocation("ChatTemplate::parse", [&](Fault& fault) -> Result<std::string> {
    const auto parsed = fault.during([&] { return engine::ChatTemplate::parse(kTemplate); });
    if (!parsed.ok()) return parsed.error();
    return parsed->render(globals, 0);
  });
  const auto parsed = engine::ChatTemplate::parse(kTemplate);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  fail_each_allocation("ChatTemplate::render",
                       [&](Fault& fault) { return fault.during([&] { return parsed->render(globals, 0); }); });
  fail_each_allocation("ChatTemplate::render_pieces", [&](Fault& fault) -> Result<std::string> {
    const auto pieces = fault.during([&] { return parsed->render_pieces(globals, 0); });
    if (!pieces.ok()) return pieces.error();
    std::string text;
    for (const engine::TemplatePiece& piece : *pieces) text += piece.text + (piece.from_user ? "1" : "0");
    return text;
  });
}

TEST_F(OutOfMemory, Sampling) {
  engine::SamplingParams params;
  // Which token comes is a matter of which ones the window of penalties holds.
  params.temperature = 0.2f;
  params.presence_penalty = 3;
  params.penalty_window = 3;
  params.logit_bias = {{3, 0.5f}};
  const std::vector<float> logits{1.0f, 1.1f, 0.9f, 0.8f, 1.2f, 0.7f};
  fail_each_allocation("Sampler", [&](Fault& fault) -> Result<std::string> {
    auto sampler = fault.during([&] { return engine::Sampler::create(params, 6); });
    if (!sampler.ok()) return sampler.error();
    std::string drawn;
    Error failed;
    for (int i = 0; i < 24; ++i) {
      auto token = fault.during([&] { return sampler->sample(logits); });
      if (!token.ok()) {  // the same call again gives what it would have given
        failed = token.error();
        token = sampler->sample(logits);
      }
      Status accepted = fault.during([&] { return sampler->accept(*token); });
      if (!accepted.ok()) {
        failed = accepted.error();
        accepted = sampler->accept(*token);
      }
      EXPECT_TRUE(accepted.ok());
      drawn += std::to_string(*token) + " ";
    }
    static const std::string kDrawn = drawn;  // no fault comes to the first trial's end without being repeated
    EXPECT_EQ(drawn, kDrawn);
    if (!failed.message.empty()) return failed;
    return drawn;
  });
}

// A batch of two sequences, one of which goes on behind what it holds, and whole pages that are published.
struct Batch {
  std::vector<TokenId> first, second;
  Batch() {
    for (int i = 0; i < 80; ++i) first.push_back(1 + i * 31 % 300);
    for (int i = 0; i < 20; ++i) second.push_back(1 + i * 17 % 300);
  }
};

std::string all_logits(const Session& session) {
  std::string bytes;
  for (std::int64_t row = 0; row < session.n_logit_rows(); ++row) bytes += bytes_of(session.logits(row));
  return bytes;
}

TEST_F(OutOfMemory, Sessions) {
  const Model loaded = model("llama");
  const Batch batch;
  const std::span<const TokenId> first(batch.first), second(batch.second);
  fail_each_allocation("Session", [&](Fault& fault) -> Result<std::string> {
    engine::SessionOptions options;
    options.max_sequences = 3;
    options.context = 128;
    auto session = fault.during([&] { return Session::create(loaded, options, executor_); });
    if (!session.ok()) return session.error();
    Error failed;
    const auto again = [&](Status status, auto&& call) {  // after a fault the same call works
      if (status.ok()) return;
      failed = status.error();
      const Status repeated = call();
      EXPECT_TRUE(repeated.ok()) << repeated.error().message;
    };
    const SequenceId a = *session->open(), b = *session->open();
    const BatchItem head{a, first.first(60), LogitsFor::kLast};
    const auto start = [&] { return session->forward({&head, 1}); };
    Status status = fault.during(start);
    if (!status.ok()) {
      EXPECT_TRUE(session->tokens(a).empty());
    }
    again(std::move(status), start);
    std::string text = all_logits(*session);

    const BatchItem both[] = {{a, first.subspan(60), LogitsFor::kLast}, {b, second, LogitsFor::kAll}};
    const auto go_on = [&] { return session->forward(both); };
    status = fault.during(go_on);
    if (!status.ok()) {
      EXPECT_EQ(bytes_of(session->tokens(a)), bytes_of(first.first(60)));
      EXPECT_TRUE(session->tokens(b).empty());
      EXPECT_EQ(session->n_logit_rows(), 0);
    }
    again(std::move(status), go_on);
    text += all_logits(*session);

    const SequenceId c = *session->open();
    std::int64_t cached = 0;
    const auto reuse = [&]() -> Status {
      auto n = session->reuse(c, first);
      if (!n.ok()) return n.error();
      cached = *n;
      return {};
    };
    status = fault.during(reuse);
    if (!status.ok()) {
      EXPECT_TRUE(session->tokens(c).empty());
    }
    again(std::move(status), reuse);
    const BatchItem rest{c, first.subspan(static_cast<std::size_t>(cached)), LogitsFor::kLast};
    const auto finish = [&] { return session->forward({&rest, 1}); };
    again(fault.during(finish), finish);
    text += all_logits(*session) + std::to_string(cached);
    // The same tokens in other batches, with other pages: the same bits.
    EXPECT_EQ(bytes_of(session->tokens(c)), bytes_of(first));
    // Every page is still there: all sequences take their full share, and share none.
    EXPECT_TRUE(session->truncate(c, 0).ok());
    for (const SequenceId sequence : {a, b, c}) {
      const std::size_t n = 128 - session->tokens(sequence).size();
      const std::vector<TokenId> fill(n, 7);
      const BatchItem item{sequence, fill, LogitsFor::kNone};
      const Status filled = session->forward({&item, 1});
      EXPECT_TRUE(filled.ok()) << filled.error().message;
    }
    static const std::string kBits = text;
    EXPECT_EQ(text, kBits) << "after a fault the same calls gave other bits";
    if (!failed.message.empty()) return failed;
    return text;
  });
}

TEST_F(OutOfMemory, Forks) {
  const Model loaded = model("qwen35"), windows = model("gemma3");
  const std::vector<TokenId> tokens = Batch().first, prompt(tokens.begin(), tokens.begin() + 20);
  engine::SessionOptions options;
  options.max_sequences = 3;
  options.context = 128;
  fail_each_allocation("Session::fork", [&](Fault& fault) -> Result<std::string> {
    auto session = Session::create(loaded, options, executor_);
    const SequenceId a = *session->open();
    const BatchItem head{a, tokens, LogitsFor::kLast, 10};
    EXPECT_TRUE(session->forward({&head, 1}).ok());
    const std::int64_t held = session->memory().kv_held_bytes;
    auto fork = fault.during([&] { return session->fork(a); });
    const bool failed = !fork.ok();
    const Error error = failed ? fork.error() : Error{};
    if (failed) {
      EXPECT_EQ(session->memory().kv_held_bytes, held);
      fork = session->fork(a);
      EXPECT_EQ(*fork, 1);
    }
    const BatchItem more{*fork, prompt, LogitsFor::kLast};
    EXPECT_TRUE(session->forward({&more, 1}).ok());
    const std::string bits = bytes_of(session->logits(0));
    static const std::string kBits = bits;
    EXPECT_TRUE(bits == kBits);
    if (failed) return error;
    return bits;
  });
  fail_each_allocation("a tree of drafts", [&](Fault& fault) -> Result<std::string> {
    auto session = Session::create(windows, options, executor_);
    engine::GenerationOptions greedy;
    auto generation = engine::Generation::start(*session, *session->open(), prompt, greedy);
    const BatchItem head = *generation->pending(19);
    EXPECT_TRUE(session->forward({&head, 1}).ok());
    const std::vector<TokenId> draft{5, 6, 7, 8};
    const std::vector<std::int32_t> parents{-1, 0, -1, 2};
    const auto compute = [&]() -> Status {
      if (auto n = generation->propose(draft, parents); !n.ok()) return n.error();
      const auto items = generation->pending_items();
      if (!items.ok()) return items.error();
      EXPECT_EQ(items->size(), 2u);
      return session->forward(*items);
    };
    const Status made = fault.during(compute);
    if (!made.ok()) {
      const Status again = compute();
      EXPECT_TRUE(again.ok()) << again.error().message;
    }
    const std::string bits = all_logits(*session);
    static const std::string kBits = bits;
    EXPECT_TRUE(bits == kBits);
    generation = engine::Generation::start(*session, generation->sequence(), prompt, greedy);
    EXPECT_TRUE(session->open().ok() && session->open().ok()) << "a fork was left open";
    if (!made.ok()) return made.error();
    return bits;
  });
}

TEST_F(OutOfMemory, Generating) {
  const Model loaded = model("llama");
  const std::vector<TokenId> prompt = *engine::encode_prompt(loaded, "the cat sat", false);
  fail_each_allocation("encode_prompt", [&](Fault& fault) -> Result<std::string> {
    const auto ids = fault.during([&] { return engine::encode_prompt(loaded, "the cat sat", false); });
    if (!ids.ok()) return ids.error();
    return bytes_of(*ids);
  });
  const auto chat = engine::ChatTemplate::parse(loaded.chat_template());
  ASSERT_TRUE(chat.ok());
  const std::vector<engine::ChatMessage> said{{"user", "hello <|im_end|> there"}};
  fail_each_allocation("encode_chat", [&](Fault& fault) -> Result<std::string> {
    std::string rendered;
    const auto ids = fault.during([&] { return engine::encode_chat(loaded, *chat, said, true, 0, &rendered); });
    if (!ids.ok()) return ids.error();
    return bytes_of(*ids) + rendered;
  });
  engine::GenerateOptions options;
  options.max_tokens = 12;
  options.ignore_eos = true;
  options.stop = {"\x01never"};
  fail_each_allocation("generate", [&](Fault& fault) -> Result<std::string> {
    auto session = Session::create(loaded, {}, executor_);
    const SequenceId sequence = *session->open();
    const auto made = fault.during([&] { return engine::generate(*session, sequence, prompt, options); });
    const auto once_more =
        made.ok() ? Result<engine::GenerateResult>(Error{}) : engine::generate(*session, sequence, prompt, options);
    const engine::GenerateResult& right = made.ok() ? *made : *once_more;
    EXPECT_TRUE(made.ok() || once_more.ok());
    const std::string text = bytes_of(right.tokens) + right.text;
    static const std::string kText = text;
    EXPECT_EQ(text, kText) << "after a fault the same call gave other tokens";
    if (!made.ok()) return made.error();
    return text;
  });
}

TEST_F(OutOfMemory, HoldingToAGrammar) {
  const std::string schema = R"({"type": "object", "properties": {"a": {"type": "string", "maxLength": 40},
      "b": {"anyOf": [{"enum": [1, 2]}, {"pattern": "^[a-c]{2,}$"}]}}})";
  fail_each_allocation("Grammar::from_json_schema", [&](Fault& fault) -> Result<std::string> {
    const auto grammar = fault.during([&] { return engine::Grammar::from_json_schema(schema); });
    if (!grammar.ok()) return grammar.error();
    return std::to_string(grammar->n_states());
  });
  const Model loaded = model("llama");
  const auto grammar = engine::Grammar::from_json_schema(schema);
  const auto vocabulary = engine::GrammarVocabulary::create(loaded.tokenizer());
  ASSERT_TRUE(grammar.ok() && vocabulary.ok());
  fail_each_allocation("a token mask", [&](Fault& fault) -> Result<std::string> {
    const auto constraint = engine::GrammarConstraint::create(*grammar, *vocabulary);
    const auto mask = constraint->token_mask();
    std::vector<std::uint64_t> allowed(static_cast<std::size_t>(vocabulary->size() + 63) / 64);
    const Status made = fault.during([&] { return (*mask)({}, allowed); });
    std::vector<std::uint64_t> again(allowed.size());
    EXPECT_TRUE((*mask)({}, again).ok());
    const auto text_of = [](const std::vector<std::uint64_t>& words) {
      return bytes_of(std::span<const std::uint64_t>(words));
    };
    static const std::string kMask = text_of(again);
    EXPECT_EQ(text_of(again), kMask) << "after a fault the same call gave another mask";
    if (!made.ok()) return made.error();
    return text_of(allowed);
  });
}

TEST_F(OutOfMemory, Scoring) {
  const Model loaded = model("llama");
  const std::vector<TokenId> tokens = Batch().first;
  engine::ScoreOptions options;
  options.window = 40;
  engine::SessionOptions session_options;
  session_options.context = 64;
  session_options.reuse_prefixes = false;  // what is kept for others takes memory, too
  auto session = Session::create(loaded, session_options, executor_);
  fail_each_allocation("score", [&](Fault& fault) -> Result<std::string> {
    const auto score = fault.during([&] { return engine::score(*session, tokens, options); });
    // The one sequence of the session is free again.
    const auto sequence = session->open();
    EXPECT_TRUE(sequence.ok()) << "a failed score keeps its sequence";
    if (sequence.ok()) session->close(*sequence);
    if (!score.ok()) return score.error();
    return bytes_of(std::span<const double>(score->log_probs));
  });
}

TEST_F(OutOfMemory, CheckingALayout) {
  // Random weights make no sense in any layout: all of them are tried.
  tools::SyntheticSpec spec;
  spec.arch = "bitnet";
  spec.type = "I2_S";
  spec.head_type = "F16";
  spec.values = "ternary";
  spec.layers = 1;
  spec.embd = spec.ff = 128;
  const std::string name = path("bitnet.gguf");
  ASSERT_TRUE(tools::write_synthetic_model(spec, name).ok());
  const engine::OpenFile open = [&](const engine::GgufOptions& options) { return GgufFile::open(name, options); };
  fail_each_allocation("check_layout",
                       [&](Fault& fault) -> Result<std::string> {
                         Model loaded = std::move(Model::load(name, options_, executor_)).value();
                         const auto check = fault.during([&] { return engine::check_layout(loaded, open, executor_); });
                         if (!check.ok()) return check.error();
                         EXPECT_FALSE(check->taken.empty());
                         return check->taken + check->better + std::to_string(check->loss);
                       },
                       {}, {.each = 12, .part = 4});
}

// What is written appears whole or not at all; nothing else is left in the folder.
class OutOfMemoryWriting : public OutOfMemory {
 protected:
  void expect_unchanged(const std::map<std::string, std::string>& before) {
    EXPECT_EQ(files(), before) << "the folder holds other files than before";
  }
  // The output's bytes; the output is taken away again.
  std::string take(const engine::ConvertReport& report) {
    std::string bytes;
    for (const std::string& file : report.files) {
      bytes += content(file);
      fs::remove(file);
    }
    for (const std::string& notice : report.notices) bytes += notice;
    return bytes;
  }
};

TEST_F(OutOfMemoryWriting, Quantizing) {
  const std::string input = model_file("llama", "F32"), output = path("out.gguf");
  engine::ConvertOptions options;
  options.types.type = "Q8_0";
  options.types.overrides = {{"ffn_(down|up)", "F16"}};
  const auto before = files();
  for (const std::uint64_t split : {std::uint64_t{0}, std::uint64_t{100'000}}) {
    options.split_max_bytes = split;
    fail_each_allocation(
        split == 0 ? "quantize_gguf" : "quantize_gguf, split",
        [&](Fault& fault) -> Result<std::string> {
          const auto report = fault.during([&] { return engine::quantize_gguf(input, output, options, executor_); });
          if (!report.ok()) return report.error();
          return take(*report);
        },
        [&] { expect_unchanged(before); });
  }
}

TEST_F(OutOfMemoryWriting, ConvertingAFolder) {
  const fs::path source = fs::path(ROWMAX_SOURCE_DIR) / "engine/convert/testdata";
  fs::copy(source / "llama", folder_ / "llama");
  fs::copy(source / "tokenizer.json", folder_ / "llama" / "tokenizer.json");
  const auto before = files();
  const std::string input = path("llama"), output = path("out.gguf");
  engine::ConvertOptions options;
  options.types.type = "F16";
  fail_each_allocation(
      "convert_folder",
      [&](Fault& fault) -> Result<std::string> {
        const auto report = fault.during([&] { return engine::convert_folder(input, output, options, executor_); });
        if (!report.ok()) return report.error();
        return take(*report);
      },
      [&] { expect_unchanged(before); });
}

TEST_F(OutOfMemoryWriting, WritingAFile) {
  tools::SyntheticSpec spec;
  const auto writer = tools::make_synthetic_model(spec);
  ASSERT_TRUE(writer.ok());
  const std::string output = path("out.gguf");
  const auto before = files();
  fail_each_allocation(
      "GgufWriter::write",
      [&](Fault& fault) -> Result<std::string> {
        const Status written = fault.during([&] { return writer->write(output); });
        if (!written.ok()) return written.error();
        std::string bytes = content(output);
        fs::remove(output);
        return bytes;
      },
      [&] { expect_unchanged(before); });
}

}  // namespace
}  // namespace rowmax::memory_test

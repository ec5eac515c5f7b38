// One answer: the logits of every position have the same bits for any thread count, prompt chunking, batch, cache state
// and instruction set. Compared by memcmp, on generated models with odd sizes and several key splits.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "rowmax/engine/session.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::session_bits_test {
namespace {

constexpr std::int64_t kLength = 1300;  // more than two splits of 512 keys, and no multiple of a tile
constexpr std::int64_t kHead = 577;     // more than one: short enough for plain C++ and for an emulator

std::vector<TokenId> random_tokens(std::int64_t n, std::int64_t n_vocab, std::uint64_t seed) {
  std::vector<TokenId> tokens(static_cast<std::size_t>(n));
  for (TokenId& token : tokens) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    token = static_cast<TokenId>((seed >> 33) % static_cast<std::uint64_t>(n_vocab));
  }
  return tokens;
}

struct Config {
  Isa isa = supported_isas().back();
  KernelChoice kernels = {};
  int threads = 1;
  Activations activations = Activations::kInt8;
  KvType kv_type = KvType::kF16;
  std::int64_t max_batch = 512;
  int max_sequences = 6;
};

// A model and a session; the bytes of the file stay alive beside them.
struct Engine {
  std::unique_ptr<Executor> pool;
  std::unique_ptr<Model> model;
  std::unique_ptr<Session> session;

  Engine(const std::vector<std::byte>& bytes, const Config& config) {
    pool = std::move(make_thread_pool(config.threads)).value();
    ModelOptions options;
    options.isa = config.isa;
    options.kernels = config.kernels;
    options.activations = config.activations;
    auto file = GgufFile::parse(bytes, "synthetic");
    EXPECT_TRUE(file.ok()) << file.error().message;
    auto loaded = Model::load(std::move(file).value(), options, *pool);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    model = std::make_unique<Model>(std::move(loaded).value());
    SessionOptions session_options;
    session_options.kv_type = config.kv_type;
    session_options.max_batch = config.max_batch;
    session_options.max_sequences = config.max_sequences;
    auto created = Session::create(*model, session_options, *pool);
    EXPECT_TRUE(created.ok()) << created.error().message;
    session = std::make_unique<Session>(std::move(created).value());
  }

  // Logits of all positions of one sequence, computed in chunks of the given size.
  std::vector<float> logits(std::span<const TokenId> tokens, std::int64_t chunk) {
    const SequenceId sequence = *session->open();
    std::vector<float> all;
    for (std::size_t begin = 0; begin < tokens.size(); begin += static_cast<std::size_t>(chunk)) {
      const std::size_t n = std::min(static_cast<std::size_t>(chunk), tokens.size() - begin);
      const BatchItem item{sequence, tokens.subspan(begin, n), LogitsFor::kAll};
      const Status status = session->forward({&item, 1});
      EXPECT_TRUE(status.ok()) << status.error().message;
      for (std::int64_t row = 0; row < session->n_logit_rows(); ++row) {
        all.insert(all.end(), session->logits(row).begin(), session->logits(row).end());
      }
    }
    session->close(sequence);
    return all;
  }
};

std::vector<std::byte> model_bytes(const std::string& arch, const char* type, bool product_norms = false) {
  tools::SyntheticSpec spec = tools::odd_spec(arch);
  spec.product_norms = product_norms;
  spec.context = 2048;
  spec.type = type;
  auto bytes = tools::synthetic_model_bytes(spec);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  return std::move(bytes).value();
}

void expect_same(const std::vector<float>& got, const std::vector<float>& want, std::int64_t n_vocab,
                 const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  ASSERT_FALSE(want.empty()) << what;
  if (std::memcmp(got.data(), want.data(), want.size() * sizeof(float)) == 0) return;
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(std::memcmp(&got[i], &want[i], sizeof(float)), 0)
        << what << ": position " << i / static_cast<std::size_t>(n_vocab) << " token "
        << i % static_cast<std::size_t>(n_vocab) << ": " << got[i] << " against " << want[i];
  }
}

struct Case {
  const char* arch;
  const char* type;
  Activations activations;
  KvType kv_type;
  std::uint64_t head_hash;  // of the first kHead positions
  std::uint64_t hash;
  bool product_norms = false;
};

class SameBits : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { compute(kLength); }

  void compute(std::int64_t length) {
    bytes_ = model_bytes(GetParam().arch, GetParam().type, GetParam().product_norms);
    config_.activations = GetParam().activations;
    config_.kv_type = GetParam().kv_type;
    Engine engine(bytes_, config_);
    n_vocab_ = engine.model->shape().n_vocab;
    tokens_ = random_tokens(kLength, n_vocab_, 7);
    want_ = engine.logits(std::span(tokens_).first(static_cast<std::size_t>(length)), length);
  }

  std::vector<std::byte> bytes_;
  Config config_;
  std::int64_t n_vocab_ = 0;
  std::vector<TokenId> tokens_;
  std::vector<float> want_;
};

TEST_P(SameBits, ForAnyChunkingOfThePrompt) {
  for (const std::int64_t chunk : {64, 7, 512}) {
    expect_same(Engine(bytes_, config_).logits(tokens_, chunk), want_, n_vocab_, "chunks of " + std::to_string(chunk));
  }
  const std::span<const TokenId> head(tokens_.data(), 600);
  const std::vector<float> want(want_.begin(), want_.begin() + 600 * n_vocab_);
  expect_same(Engine(bytes_, config_).logits(head, 1), want, n_vocab_, "token by token");
  Config small = config_;
  small.max_batch = 33;
  expect_same(Engine(bytes_, small).logits(tokens_, kLength), want_, n_vocab_, "batches of 33 rows");
}

TEST_P(SameBits, ForAnyNumberOfThreads) {
  for (const int threads : {2, 3, 7}) {
    Config config = config_;
    config.threads = threads;
    expect_same(Engine(bytes_, config).logits(tokens_, 512), want_, n_vocab_, std::to_string(threads) + " threads");
  }
}

TEST_P(SameBits, OnEveryInstructionSet) {
  // A head of the prompt has the same bits as in the whole.
  const std::span<const TokenId> head(tokens_.data(), static_cast<std::size_t>(kHead));
  const std::vector<float> want(want_.begin(), want_.begin() + kHead * n_vocab_);
  for (const Isa isa : supported_isas()) {
    Config config = config_;
    config.isa = isa;
    expect_same(Engine(bytes_, config).logits(head, 200), want, n_vocab_, std::string(isa_name(isa)));
  }
}

TEST_P(SameBits, WithEveryVariantOfKernels) {
  const std::span<const TokenId> head = std::span(tokens_).first(150);
  const std::vector<float> want = Engine(bytes_, {.isa = Isa::kScalar}).logits(head, 50);
  for (const KernelVariant& variant : kernel_variants()) {
    if (!variant.supported()) continue;
    Config config{.isa = Isa::kScalar};
    config.kernels.force = variant.name;
    Engine forced(bytes_, config);
    EXPECT_EQ(forced.session->kernels().name, variant.name);
    EXPECT_EQ(forced.model->kernels().name, variant.name);
    expect_same(forced.logits(head, 50), want, n_vocab_, std::string(variant.name));
  }
}

TEST_P(SameBits, InABatchOfFiveRaggedOthers) {
  Engine engine(bytes_, config_);
  std::vector<std::vector<TokenId>> others;
  for (const std::int64_t n : {1, 63, 64, 200, 515})
    others.push_back(random_tokens(n, n_vocab_, static_cast<std::uint64_t>(n) + 100));
  std::vector<BatchItem> items;
  for (int i = 0; i < 6; ++i) {
    const SequenceId sequence = *engine.session->open();
    items.push_back(i == 3
                        ? BatchItem{sequence, tokens_, LogitsFor::kAll}
                        : BatchItem{sequence, others[static_cast<std::size_t>(i < 3 ? i : i - 1)], LogitsFor::kNone});
  }
  ASSERT_TRUE(engine.session->forward(items).ok());
  std::vector<float> got;
  for (std::int64_t row = 0; row < engine.session->n_logit_rows(); ++row) {
    got.insert(got.end(), engine.session->logits(row).begin(), engine.session->logits(row).end());
  }
  expect_same(got, want_, n_vocab_, "batch of six");
}

TEST_P(SameBits, AfterAPrefixWasReused) {
  Engine engine(bytes_, config_);
  const SequenceId first = *engine.session->open();
  const std::span<const TokenId> all(tokens_);
  const BatchItem prefix{first, all.first(700), LogitsFor::kNone};
  ASSERT_TRUE(engine.session->forward({&prefix, 1}).ok());
  for (const bool another_sequence : {false, true}) {
    const SequenceId sequence = another_sequence ? *engine.session->open() : first;
    auto reused = engine.session->reuse(sequence, all);
    ASSERT_TRUE(reused.ok());
    // A recurrent state goes on from its own end, or from the last page edge of the prompt that was computed.
    ASSERT_GE(*reused, another_sequence ? 640 : 700);
    const BatchItem rest{sequence, all.subspan(static_cast<std::size_t>(*reused)), LogitsFor::kAll};
    ASSERT_TRUE(engine.session->forward({&rest, 1}).ok());
    std::vector<float> got;
    for (std::int64_t row = 0; row < engine.session->n_logit_rows(); ++row) {
      got.insert(got.end(), engine.session->logits(row).begin(), engine.session->logits(row).end());
    }
    const std::vector<float> want(want_.begin() + *reused * n_vocab_, want_.end());
    expect_same(got, want, n_vocab_, another_sequence ? "prefix of another sequence" : "own prefix");
  }
}

// Across machines: the hash of all logits, as x86-64 with plain C++ code first gave them. An AArch64 build runs this
// too; an emulator computes the whole of one model and the heads of the others.
class StoredBits : public SameBits {
 protected:
  void SetUp() override {
    whole_ = std::getenv("ROWMAX_EMULATED") == nullptr || GetParam().arch == std::string("llama");
    compute(whole_ ? kLength : kHead);
  }
  bool whole_ = true;
};

// FNV-1a, from where the hash of what lies before ended.
std::uint64_t fnv1a(std::span<const float> values, std::uint64_t hash = 0xCBF29CE484222325ull) {
  for (const float value : values) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; ++i) hash = (hash ^ ((bits >> (8 * i)) & 255u)) * 0x100000001B3ull;
  }
  return hash;
}

TEST_P(StoredBits, AreTheStoredOnes) {
  const std::span<const float> logits(want_);
  const auto n_head = static_cast<std::size_t>(kHead * n_vocab_);
  ASSERT_EQ(logits.size(), static_cast<std::size_t>((whole_ ? kLength : kHead) * n_vocab_));
  const std::uint64_t head_hash = fnv1a(logits.first(n_head));
  EXPECT_EQ(head_hash, GetParam().head_hash) << std::hex << head_hash;
  if (!whole_) return;
  const std::uint64_t hash = fnv1a(logits.subspan(n_head), head_hash);
  EXPECT_EQ(hash, GetParam().hash) << std::hex << hash;
}

const auto kCases = testing::Values(
    Case{"llama", "Q4_1", Activations::kInt8, KvType::kF16, 0xf5c0a9321f2a9971, 0x7d05ef1030a7743d},
    Case{"gemma3", "Q5_0", Activations::kInt8, KvType::kF16, 0x99db49cc80360834, 0xcbf129a363529247},
    Case{"qwen3", "Q8_0", Activations::kF32, KvType::kF32, 0x18b5352ce4cca559, 0x89d0a21557a70887},
    Case{"gemma2", "F16", Activations::kF32, KvType::kF16, 0xc52ec83ebc7d560c, 0xd0eb921120eb2c14},
    Case{"qwen3moe", "Q4_1", Activations::kInt8, KvType::kF16, 0x1ce7251e2d7c6aa1, 0xa60c90c6d5e76489},
    Case{"qwen35", "Q5_0", Activations::kInt8, KvType::kF16, 0x903622d2a5c773db, 0xa5e92dfe7832d10f},
    Case{"qwen35moe", "Q8_0", Activations::kF32, KvType::kF32, 0x6127d4bf0001e5be, 0xad31fe52f9220b65},
    Case{"gpt-oss", "MXFP4", Activations::kInt8, KvType::kF16, 0xfbc246b778445ea8, 0x9901e4fc65a4a317},
    Case{"gemma4", "Q4_0", Activations::kInt8, KvType::kF16, 0xc5f4aa02cf8fc15d, 0xb52614b5c2c45e4a},
    Case{"gemma4_moe", "Q4_0", Activations::kInt8, KvType::kF16, 0x2235a93a358a57b2, 0x06a9770c1d9078ff},
    Case{"phi3", "Q4_0", Activations::kInt8, KvType::kF16, 0xd9c21ba195ca7f74, 0xaad73f4fb9997053},
    Case{"qwen2", "Q4_0", Activations::kInt8, KvType::kQ80, 0x4ebd1f59a1c3e53c, 0x34047ea6bb53b429},
    Case{"lfm2", "Q4_0", Activations::kInt8, KvType::kF16, 0x46daaeb7b80d0eb7, 0xe17f0beace8c71b0},
    Case{"lfm2moe", "Q8_0", Activations::kF32, KvType::kF32, 0x7d50f87f239dfe57, 0x98d3a502f43dd373},
    Case{"deepseek2", "Q4_0", Activations::kInt8, KvType::kF16, 0xa799377fbe4c9a4b, 0x518ffdf515eae44e},
    Case{"qwen3", "Q5_0", Activations::kInt8, KvType::kF16, 0x33ee02ebb8ade763, 0xc3ec48ebf6058e8a, true});

std::string case_name(const testing::TestParamInfo<Case>& info) {
  std::string arch = info.param.arch;
  std::ranges::replace(arch, '-', '_');
  return arch + "_" + info.param.type + (info.param.activations == Activations::kInt8 ? "_int8" : "_f32");
}

INSTANTIATE_TEST_SUITE_P(Models, SameBits, kCases, case_name);
INSTANTIATE_TEST_SUITE_P(Models, StoredBits, kCases, case_name);

TEST(Session, OptionsThatMeanNothingAreRefused) {
  const std::vector<std::byte> bytes = model_bytes("llama", "Q4_0");
  Engine engine(bytes, {.isa = Isa::kScalar});
  const auto refused = [&](const std::function<void(SessionOptions&)>& change, const char* field, const char* found) {
    SessionOptions options;
    change(options);
    const auto session = Session::create(*engine.model, options, *engine.pool);
    ASSERT_FALSE(session.ok()) << field;
    EXPECT_NE(session.error().message.find(field), std::string::npos) << session.error().message;
    EXPECT_NE(session.error().message.find(found), std::string::npos) << session.error().message;
  };
  refused([](SessionOptions& o) { o.kv_budget_bytes = -1; }, "kv_budget_bytes", "-1");
  refused([](SessionOptions& o) { o.checkpoint_bytes = -7; }, "checkpoint_bytes", "-7");
  refused([](SessionOptions& o) { o.kv_type = static_cast<KvType>(7); }, "kv_type", "7");
  refused([](SessionOptions& o) { o.kv_type = KvType::kQ80; }, "kv_type q8_0: layer 0", "heads of 40");
  refused([](SessionOptions& o) { o.max_batch = 0; }, "max_batch", "0");
  SessionOptions options;
  options.max_batch = -1;
  EXPECT_FALSE(sequence_cost(engine.model->description(), 10, options).ok());
  auto session = Session::create(*engine.model, {}, *engine.pool);
  ASSERT_TRUE(session.ok());
  const SequenceId id = *session->open();
  const std::vector<TokenId> tokens{1, 2, -1};
  const BatchItem item{id, std::span(tokens).first(2), LogitsFor::kLast};
  ASSERT_TRUE(session->forward({&item, 1}).ok());
  const auto reused = session->reuse(id, tokens);
  ASSERT_FALSE(reused.ok());
  EXPECT_NE(reused.error().message.find("found -1"), std::string::npos) << reused.error().message;
  EXPECT_EQ(session->tokens(id).size(), 2u);  // nothing is forgotten for it
}

// A session's own choice goes before the model's, part by part.
TEST(Session, ChoosesItsKernels) {
  const std::vector<std::byte> bytes = model_bytes("llama", "Q4_0");
  const Isa highest = supported_isas().back();
  Engine engine(bytes, {.isa = Isa::kScalar});
  const auto session_of = [](Engine& from, std::optional<Isa> isa, std::optional<KernelChoice> kernels) {
    SessionOptions options;
    options.isa = isa;
    options.kernels = kernels;
    const auto session = Session::create(*from.model, options, *from.pool);
    return session.ok() ? std::string(session->kernels().name) : session.error().message;
  };
  const std::string fastest(choose_kernels({}, highest)->name);
  EXPECT_EQ(session_of(engine, {}, {}), "scalar");
  EXPECT_EQ(session_of(engine, highest, {}), fastest);
  EXPECT_EQ(session_of(engine, {}, KernelChoice{fastest, {}}), fastest);
  if (fastest != "scalar") {
    const KernelChoice without{"", {fastest}};
    EXPECT_EQ(session_of(engine, highest, without), choose_kernels(without, highest)->name);
    Config config{.isa = Isa::kScalar};
    config.kernels.force = fastest;
    Engine forced(bytes, config);
    EXPECT_EQ(session_of(forced, {}, {}), fastest);
    EXPECT_EQ(session_of(forced, Isa::kScalar, {}), "scalar");
  }
  for (const KernelVariant& variant : kernel_variants()) {
    if (variant.supported()) continue;
    const std::string error = session_of(engine, {}, KernelChoice{std::string(variant.name), {}});
    EXPECT_NE(error.find("cannot run here: " + variant.missing + "; supported: scalar"), std::string::npos) << error;
  }
  EXPECT_NE(session_of(engine, {}, KernelChoice{"mmx", {}}).find("unknown kernels 'mmx'"), std::string::npos);
}

TEST(Session, RefusesWhatDoesNotFitAndChangesNothing) {
  const std::vector<std::byte> bytes = model_bytes("llama", "F32");
  Config config;
  config.max_sequences = 2;
  Engine engine(bytes, config);
  Session& session = *engine.session;
  const SequenceId sequence = *session.open();
  const std::vector<TokenId> tokens = random_tokens(10, 431, 1);
  const BatchItem good{sequence, tokens, LogitsFor::kLast};
  ASSERT_TRUE(session.forward({&good, 1}).ok());
  const auto refused = [&](std::span<const BatchItem> items, ErrorCode code, const char* text) {
    const Status status = session.forward(items);
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_EQ(status.error().code, code);
    EXPECT_NE(status.error().message.find(text), std::string::npos) << status.error().message;
    EXPECT_EQ(session.tokens(sequence).size(), 10u);
  };
  const std::vector<TokenId> many(5000, 3), bad = {1, 431}, negative = {-1};
  const BatchItem too_long{sequence, many, LogitsFor::kNone}, unknown{sequence, bad, LogitsFor::kNone};
  const BatchItem below{sequence, negative, LogitsFor::kNone}, closed{1, tokens, LogitsFor::kNone};
  refused({&too_long, 1}, ErrorCode::kLimit, "context");
  refused({&unknown, 1}, ErrorCode::kInvalidArgument, "431");
  refused({&below, 1}, ErrorCode::kInvalidArgument, "-1");
  refused({&closed, 1}, ErrorCode::kInvalidArgument, "not open");
  const BatchItem twice[] = {good, good};
  refused(twice, ErrorCode::kInvalidArgument, "twice");
}

TEST(Session, NanOrInfinityInTheFileIsRefusedWithItsPlace) {
  struct Type {
    const char* name;
    std::size_t scale_at, scale_bytes;  // of a block
    int n_elements;
    std::uint32_t infinity;
  };
  for (const Type& type :
       {Type{"F32", 0, 4, 1, 0xFF800000}, Type{"F16", 0, 2, 1, 0xFC00}, Type{"BF16", 0, 2, 1, 0x7F80},
        Type{"Q8_0", 0, 2, 32, 0x7C00}, Type{"Q4_1", 2, 2, 32, 0xFC00}, Type{"Q6_K", 208, 2, 256, 0x7C01}}) {
    tools::SyntheticSpec spec;
    spec.type = type.name;
    spec.embd = 256;
    spec.ff = 512;
    auto bytes = tools::synthetic_model_bytes(spec);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    auto file = GgufFile::parse(*bytes, "damaged.gguf");
    const GgufTensor* up = file->find_tensor("blk.1.ffn_up.weight");
    ASSERT_NE(up, nullptr);
    std::byte* tensor = bytes->data() + (up->data.data() - bytes->data());
    const std::size_t blocks = static_cast<std::size_t>(256 / type.n_elements),
                      block_bytes = up->data.size() / 512 / blocks;
    // The last place first, so that the others stand before one that is damaged too: the first is what is named.
    for (const std::size_t at : {512 * blocks - 1, 300 * blocks + blocks / 3, std::size_t{0}}) {
      std::memcpy(tensor + at * block_bytes + type.scale_at, &type.infinity, type.scale_bytes);
      for (const int threads : {2}) {
        const auto pool = make_thread_pool(threads);
        ASSERT_TRUE(pool.ok());
        auto model = Model::load(std::move(GgufFile::parse(*bytes, "damaged.gguf")).value(), {}, **pool);
        ASSERT_FALSE(model.ok()) << type.name;
        EXPECT_EQ(model.error().code, ErrorCode::kCorrupt);
        EXPECT_EQ(model.error().message,
                  "damaged.gguf: tensor 'blk.1.ffn_up.weight': expected finite numbers, found NaN or infinity in " +
                      std::string(type.name) + " block " + std::to_string(at % blocks) + " (row " +
                      std::to_string(at / blocks) + "); the file is damaged");
      }
    }
  }
}

TEST(Session, ANonFiniteLogitIsAnErrorThatNamesThePosition) {
  // Finite weights, but so large that the logits leave f32's range.
  tools::SyntheticSpec spec;
  spec.type = "F32";
  auto bytes = tools::synthetic_model_bytes(spec);
  ASSERT_TRUE(bytes.ok());
  auto file = GgufFile::parse(*bytes, "synthetic");
  ASSERT_TRUE(file.ok());
  const GgufTensor* norm = file->find_tensor("output_norm.weight");
  ASSERT_NE(norm, nullptr);
  const float huge = 3e38f;
  for (std::size_t at = 0; at < norm->data.size(); at += sizeof huge) {
    std::memcpy(bytes->data() + (norm->data.data() - bytes->data()) + at, &huge, sizeof huge);
  }
  Config config;
  Engine engine(*bytes, config);
  const SequenceId sequence = *engine.session->open();
  const std::vector<TokenId> tokens = random_tokens(5, 200, 1);
  const BatchItem item{sequence, tokens, LogitsFor::kLast};
  const Status status = engine.session->forward({&item, 1});
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kNumericFault);
  EXPECT_NE(status.error().message.find("position 4"), std::string::npos) << status.error().message;
  EXPECT_TRUE(engine.session->tokens(sequence).empty());
}

}  // namespace
}  // namespace rowmax::engine::session_bits_test

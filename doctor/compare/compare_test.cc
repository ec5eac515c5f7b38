// Planted faults are found by name: the foreign engine is rowmax with another convention, or with other bytes in its file;
// where nothing differs nothing is named.
#include "rowmax/doctor/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/half.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::doctor {
namespace {

using engine::Model;
using engine::SessionOptions;
using engine::Stage;

const std::vector<engine::TokenId> kTokens = {5, 17, 99, 17, 230, 8, 1, 64, 33, 12, 150, 7};

// A tensor's bytes in a file's, to be changed.
using Change = std::function<void(std::byte* data, std::size_t n_bytes)>;

class Engine {
 public:
  explicit Engine(const tools::SyntheticSpec& spec) : bytes_(std::move(tools::synthetic_model_bytes(spec)).value()) {
    model = load();
  }
  // The same file with some of its tensors changed.
  std::unique_ptr<Model> changed(const std::function<bool(std::string_view name)>& which, const Change& change) {
    other_bytes_ = bytes_;
    const auto file = engine::GgufFile::parse(bytes_, "m.gguf").value().reopen();
    const auto parsed = engine::GgufFile::parse(other_bytes_, "m.gguf");
    for (const engine::GgufTensor& tensor : parsed->tensors()) {
      if (!which(tensor.name)) continue;
      change(const_cast<std::byte*>(tensor.data.data()), tensor.data.size());
      ++n_changed;
    }
    return load(other_bytes_);
  }
  Reference reference(const engine::Edits& edits = {}, const Model* of = nullptr) {
    SessionOptions options;
    options.activations = engine::Activations::kF32;
    options.kv_type = engine::KvType::kF32;
    const Model* used = of != nullptr ? of : model.get();
    std::unique_ptr<Model> edited;
    auto info = std::ranges::find_if(engine::edit_table(), [&](const engine::EditInfo& each) {
      return !edits.empty() && each.name == edits[0].first && each.scope == engine::EditScope::kTensor;
    });
    if (info != engine::edit_table().end()) {
      edited = std::make_unique<Model>(std::move(used->with_edits(edits, executor)).value());
      used = edited.get();
    } else {
      options.edits = edits;
    }
    auto made = run_reference(*used, options, kTokens, executor);
    EXPECT_TRUE(made.ok()) << made.error().message;
    made->name = "theirs";
    made->metadata = {{"activations", "f32"}, {"kv_type", "f32"}};
    return std::move(*made);
  }
  Comparison compared(const Reference& reference, const CompareOptions& options = {}) {
    auto made = compare(*model, reference, options, executor);
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(*made);
  }

  std::unique_ptr<Model> model;
  SerialExecutor executor;
  int n_changed = 0;

 private:
  std::unique_ptr<Model> load() { return load(bytes_); }
  std::unique_ptr<Model> load(std::span<const std::byte> bytes) {
    engine::ModelOptions options;
    options.isa = supported_isas().back();
    auto file = engine::GgufFile::parse(bytes, "m.gguf");
    auto loaded = Model::load(std::move(*file), options, executor);
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    return std::make_unique<Model>(std::move(*loaded));
  }
  std::vector<std::byte> bytes_, other_bytes_;
};

tools::SyntheticSpec spec_of(const std::string& arch, bool untied = false) {
  tools::SyntheticSpec spec = tools::odd_spec(arch);
  spec.untied = untied;
  return spec;
}

struct Planted {
  const char* arch;
  const char* fact;
  const char* value;
  const char* stage;  // where it must show first
};
void PrintTo(const Planted& planted, std::ostream* out) { *out << planted.arch << " " << planted.fact; }

class PlantedEdit : public testing::TestWithParam<Planted> {};

TEST_P(PlantedEdit, IsNamed) {
  const Planted& planted = GetParam();
  Engine engine(spec_of(planted.arch, std::string(planted.fact) == "tied_head"));
  const Comparison found = engine.compared(engine.reference({{planted.fact, planted.value}}));
  EXPECT_EQ(found.verdict, Verdict::kFail);
  ASSERT_NE(found.first(), nullptr);
  EXPECT_EQ(engine::stage_name(found.first()->stage), planted.stage);
  ASSERT_FALSE(found.explanations.empty()) << found.summary;
  EXPECT_EQ(found.explanations[0].edit, std::string(planted.fact) + "=" + planted.value) << found.summary;
  EXPECT_LT(found.explanations[0].residual, 1e-5);
  EXPECT_EQ(found.explanations.size(), 1u) << found.summary;
  // What follows a fault is not blamed for it.
  for (const StageDifference& d : found.stages) {
    if (std::string_view(planted.fact).starts_with("rope_") && d.diverges()) {
      EXPECT_TRUE(d.stage == Stage::kQ || d.stage == Stage::kK) << stage_text(d.stage, d.layer);
    }
  }
  // In the first layer that has such a stage, from the first token where it can be seen.
  EXPECT_LE(found.first()->layer, 5);
  EXPECT_LE(found.first()->token, 1);
}

INSTANTIATE_TEST_SUITE_P(
    Facts, PlantedEdit,
    testing::Values(
        Planted{"llama", "rope_pairing", "halves", "q"}, Planted{"qwen2", "rope_pairing", "adjacent", "q"},
        Planted{"llama", "rope_base", "500000", "q"}, Planted{"qwen3", "rope_base", "10000", "q"},
        Planted{"llama", "rope_scale", "0.25", "q"}, Planted{"llama", "rope_dimensions", "20", "q"},
        Planted{"llama", "rms_norm_eps", "0.001", "attn_norm"}, Planted{"llama", "attention_scale", "1", "scores"},
        Planted{"gemma2", "attention_softcap", "0", "scores"}, Planted{"gemma2", "final_softcap", "0", "logits"},
        Planted{"gemma3", "embedding_scale", "1", "embedding"}, Planted{"llama", "ffn_activation", "gelu_tanh", "act"},
        Planted{"bitnet-b1.58", "ffn_activation", "silu", "act"},
        Planted{"bitnet-b1.58", "sub_norms", "no", "attn_out"}, Planted{"qwen3", "qk_norm", "no", "q"},
        Planted{"qwen3moe", "expert_used_count", "1", "block_out"},
        Planted{"qwen35", "attention_output_gate", "no", "attn_out"},
        Planted{"lfm2", "short_conv_runs", "c_b_x", "attn_out"}, Planted{"qwen2", "qk_permutation", "llama", "q_raw"},
        Planted{"llama", "tied_head", "yes", "logits"}),
    [](const auto& info) {
      std::string name = std::string(info.param.arch) + "_" + info.param.fact;
      for (char& letter : name) letter = std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
      return name;
    });

// Numbers that are on no list of known mistakes are solved for.
INSTANTIATE_TEST_SUITE_P(Numbers, PlantedEdit,
                         testing::Values(Planted{"llama", "attention_scale", "0.2", "scores"},
                                         Planted{"qwen2", "attention_scale", "0.4321", "scores"},
                                         Planted{"llama", "rope_base", "23456", "q"},
                                         Planted{"qwen2", "rope_scale", "0.3", "q"},
                                         Planted{"llama", "rms_norm_eps", "0.0007", "attn_norm"},
                                         Planted{"gemma2", "attention_softcap", "7", "scores"},
                                         Planted{"gemma2", "final_softcap", "17", "logits"},
                                         Planted{"gemma3", "embedding_scale", "3.7", "embedding"},
                                         Planted{"llama", "residual_scale", "0.37", "ffn_norm"}),
                         [](const auto& info) { return std::string(info.param.arch) + "_" + info.param.fact; });

// Another file's bytes: what an engine does that takes them otherwise.
struct OtherBytes {
  const char* name;
  const char* arch;
  const char* type;
  const char* tensor;  // how its name ends
  Change change;
  const char* edit;            // how the explanation begins
  std::size_t n_products = 1;  // that read those bytes, each with an explanation of its own
};
void PrintTo(const OtherBytes& planted, std::ostream* out) { *out << planted.name; }

Change each_float(float (*change)(float)) {
  return [change](std::byte* data, std::size_t n_bytes) {
    for (std::size_t at = 0; at < n_bytes; at += sizeof(float)) {
      float value;
      std::memcpy(&value, data + at, sizeof value);
      value = change(value);
      std::memcpy(data + at, &value, sizeof value);
    }
  };
}
Change each_block(std::size_t block_bytes, void (*change)(std::byte* block)) {
  return [=](std::byte* data, std::size_t n_bytes) {
    for (std::size_t at = 0; at < n_bytes; at += block_bytes) change(data + at);
  };
}

class PlantedBytes : public testing::TestWithParam<OtherBytes> {};

TEST_P(PlantedBytes, AreTracedToOperationAndFormat) {
  const OtherBytes& planted = GetParam();
  tools::SyntheticSpec spec;
  spec.arch = planted.arch;
  spec.type = planted.type;
  spec.biases = spec.arch == "llama";
  spec.heads = spec.kv_heads = 4;
  Engine engine(spec);
  const auto other =
      engine.changed([&](std::string_view name) { return name.ends_with(planted.tensor); }, planted.change);
  ASSERT_GT(engine.n_changed, 0);
  const Comparison found = engine.compared(engine.reference({}, other.get()));
  ASSERT_FALSE(found.explanations.empty()) << found.summary;
  EXPECT_NE(found.explanations[0].edit.find(planted.edit), std::string::npos) << found.summary;
  ASSERT_EQ(found.explanations.size(), planted.n_products) << found.summary;
  for (const auto& explanation : found.explanations) {
    EXPECT_NE(explanation.edit.find(planted.edit), std::string::npos) << found.summary;
    EXPECT_LT(explanation.residual, 1e-5);
  }
  const bool of_layers = std::string_view(planted.tensor) != "output_norm.weight";
  EXPECT_EQ(found.explanations[0].layers.size(), of_layers ? static_cast<std::size_t>(engine.n_changed) : 0);
}

INSTANTIATE_TEST_SUITE_P(
    Files, PlantedBytes,
    testing::Values(OtherBytes{"q4_1_minimum", "llama", "Q4_1", "ffn_down.weight",
                               each_block(20, [](std::byte* block) { block[2] = block[3] = std::byte{0}; }),
                               "ffn_down.weight, format Q4_1: without the block minimum"},
                    OtherBytes{"q4_1_minimum_of_one", "llama", "Q4_1", "blk.1.ffn_down.weight",
                               each_block(20, [](std::byte* block) { block[2] = block[3] = std::byte{0}; }),
                               "blk.1.ffn_down.weight, format Q4_1: without the block minimum"},
                    OtherBytes{"q5_1_minimum_sign", "qwen3", "Q5_1", "attn_output.weight",
                               each_block(24, [](std::byte* block) { block[3] ^= std::byte{0x80}; }),
                               "attn_output.weight, format Q5_1: the sign of the block minimum turned"},
                    OtherBytes{"q4_0_halves", "llama", "Q4_0", "ffn_up.weight",
                               each_block(18,
                                          [](std::byte* block) {
                                            for (int i = 2; i < 18; ++i) block[i] = (block[i] << 4) | (block[i] >> 4);
                                          }),
                               "ffn_up.weight, format Q4_0: the halves of each byte swapped"},
                    OtherBytes{"norm_plus_one", "llama", "F32", "attn_norm.weight",
                               each_float([](float w) { return w + 1; }), "attn_norm: weight + 1"},
                    OtherBytes{"norm_weight_lost", "qwen2", "F32", "ffn_norm.weight",
                               each_float([](float) { return 1.0f; }), "ffn_norm: without the weight"},
                    OtherBytes{"last_norm_plus_one", "qwen3", "F32", "output_norm.weight",
                               each_float([](float w) { return w + 1; }), "output_norm: weight + 1"},
                    OtherBytes{"q_bias_lost", "llama", "F32", "attn_q.bias", each_float([](float) { return 0.0f; }),
                               "without attn_q.bias"},
                    OtherBytes{"k_bias_lost", "qwen2", "F32", "attn_k.bias", each_float([](float) { return 0.0f; }),
                               "without attn_k.bias"},
                    OtherBytes{"q4_1_minimum_of_q_k_and_v", "phi3", "Q4_1", "attn_qkv.weight",
                               each_block(20, [](std::byte* block) { block[2] = block[3] = std::byte{0}; }),
                               "attn_qkv.weight, format Q4_1: without the block minimum", 3},
                    OtherBytes{"gate_and_up_exchanged", "phi3", "Q8_0", "ffn_up.weight",
                               [](std::byte* data, std::size_t n) { std::rotate(data, data + n / 2, data + n); },
                               "ffn_up.weight, format Q8_0: the rows of its neighbour", 2},
                    OtherBytes{"k_and_v_exchanged", "phi3", "Q8_0", "attn_qkv.weight",
                               [](std::byte* data, std::size_t n) {  // as many heads of each
                                 std::rotate(data + n / 3, data + n / 3 * 2, data + n);
                               },
                               "attn_qkv.weight, format Q8_0: the rows of its neighbour", 2},
                    OtherBytes{"gate_and_up_in_turns", "phi3", "F32", "blk.0.ffn_up.weight",
                               [](std::byte* data, std::size_t n) {  // rows of 64 numbers
                                 constexpr std::size_t kRow = 64 * sizeof(float);
                                 const std::vector<std::byte> was(data, data + n);
                                 for (std::size_t i = 0; i < n / kRow / 2; ++i) {
                                   std::copy_n(&was[2 * i * kRow], kRow, data + i * kRow);
                                   std::copy_n(&was[(2 * i + 1) * kRow], kRow, data + n / 2 + i * kRow);
                                 }
                               },
                               "blk.0.ffn_up.weight, format F32: its rows and its neighbour's in turns", 2},
                    OtherBytes{"v_bias_lost", "qwen2", "F32", "attn_v.bias", each_float([](float) { return 0.0f; }),
                               "attn_v.weight, format F32: without the bias"}),
    [](const auto& info) { return std::string(info.param.name); });

class NothingPlanted : public testing::TestWithParam<const char*> {};

TEST_P(NothingPlanted, NamesNothing) {
  Engine engine(spec_of(GetParam()));
  Comparison found = engine.compared(engine.reference());
  EXPECT_EQ(found.verdict, Verdict::kPass) << found.summary;
  EXPECT_GT(found.n_compared, 1000);
  EXPECT_TRUE(found.explanations.empty());
  EXPECT_LT(found.logits.kl, 1e-9);
  // Numbers of coarser arithmetic, which says nothing of itself.
  SessionOptions options;
  options.activations = engine::Activations::kInt8;
  options.kv_type = engine::KvType::kF16;
  auto coarse = run_reference(*engine.model, options, kTokens, engine.executor);
  ASSERT_TRUE(coarse.ok());
  found = engine.compared(*coarse);
  EXPECT_EQ(found.verdict, Verdict::kPass) << found.summary;
  EXPECT_TRUE(found.explanations.empty());
  // And with its word for it: the same bits.
  coarse->metadata = {{"activations", "int8"}, {"kv_type", "f16"}};
  found = engine.compared(*coarse);
  EXPECT_EQ(found.verdict, Verdict::kPass) << found.summary;
  for (const StageDifference& d : found.stages) EXPECT_EQ(d.max_abs, 0) << stage_text(d.stage, d.layer);
}

INSTANTIATE_TEST_SUITE_P(Models, NothingPlanted,
                         testing::Values("llama", "qwen2", "qwen3", "gemma2", "gemma3", "bitnet-b1.58", "qwen3moe",
                                         "qwen35", "qwen35moe", "phi3", "lfm2", "lfm2moe"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& letter : name)
                             letter = std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
                           return name;
                         });

TEST(Compare, TwoFaultsAreBothNamed) {
  Engine engine(spec_of("llama"));
  const Comparison found =
      engine.compared(engine.reference({{"rope_pairing", "halves"}, {"ffn_activation", "gelu_tanh"}}));
  ASSERT_EQ(found.explanations.size(), 2u) << found.summary;
  EXPECT_EQ(found.explanations[0].edit, "rope_pairing=halves");
  EXPECT_EQ(found.explanations[1].edit, "ffn_activation=gelu_tanh");
}

TEST(Compare, AStageThatIsNoKnownVariantIsSaidToBeNone) {
  Engine engine(spec_of("llama"));
  Reference reference = engine.reference();
  for (StageValues& stage : reference.stages) {
    if (stage.stage != Stage::kAttnOut || stage.layer != 1) continue;
    for (std::size_t i = 0; i < stage.values.size(); ++i) stage.values[i] += 0.5f * std::abs(stage.values[i] - 0.25f);
  }
  const Comparison found = engine.compared(reference);
  ASSERT_NE(found.first(), nullptr);
  EXPECT_EQ(stage_text(found.first()->stage, found.first()->layer), "blk.1.attn_out");
  EXPECT_TRUE(found.explanations.empty()) << found.summary;
  EXPECT_NE(found.summary.find("No known variant"), std::string::npos);
}

// Few stages alone: what lies between them is judged together.
TEST(Compare, ResidualsAloneNameTheFault) {
  Engine engine(spec_of("llama"));
  Reference reference = engine.reference({{"rope_base", "500000"}});
  std::erase_if(reference.stages, [](const StageValues& stage) { return stage.stage != Stage::kResidual; });
  const Comparison found = engine.compared(reference);
  ASSERT_FALSE(found.explanations.empty()) << found.summary;
  EXPECT_EQ(found.explanations[0].edit, "rope_base=500000");
}

// A reference of more tokens than are computed at once, with and without its own numbers put in.
TEST(Compare, ALongReferenceIsComputedInPieces) {
  for (const char* arch : {"llama", "qwen35"}) {
    Engine engine(spec_of(arch));
    std::vector<engine::TokenId> tokens;
    for (int i = 0; i < 150; ++i) tokens.push_back(i * 7 % 200);
    SessionOptions session;
    session.activations = engine::Activations::kInt8;
    session.kv_type = engine::KvType::kF16;
    auto reference = run_reference(*engine.model, session, tokens, engine.executor);
    ASSERT_TRUE(reference.ok());
    reference->metadata = {{"activations", "int8"}, {"kv_type", "f16"}};
    // Asked three times a pass, of which there are two where all agrees.
    int n_asked = 0;
    CompareOptions options;
    options.progress = [&](std::string_view) { return ++n_asked > 0; };
    const Comparison found = engine.compared(*reference, options);
    EXPECT_EQ(found.verdict, Verdict::kPass) << found.summary;
    for (const StageDifference& d : found.stages) EXPECT_EQ(d.max_abs, 0) << stage_text(d.stage, d.layer);
    EXPECT_GE(n_asked, 6) << arch;
    for (int n = 0; n < n_asked; ++n) {
      int left = n;
      options.progress = [&](std::string_view) { return left-- > 0; };
      const auto cancelled = compare(*engine.model, *reference, options, engine.executor);
      ASSERT_FALSE(cancelled.ok()) << n;
      EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
      EXPECT_EQ(left, -1) << "asked on after a no";
    }
  }
}

TEST(Compare, AReferenceOfAnotherModelIsSaidToBe) {
  Engine engine(spec_of("llama"));
  Reference reference = engine.reference();
  EXPECT_TRUE(engine.compared(reference).origin.differences.empty());
  reference.metadata["model"] = "other.gguf";
  reference.metadata["facts"] = R"({"architecture":"gemma3","rope_base":"77","attention_softcap":"50","x":"y"})";
  StageValues& logits = *std::ranges::find(reference.stages, Stage::kLogits, &StageValues::stage);
  for (float& value : logits.values) value = 0.25f * static_cast<float>(&value - logits.values.data());
  logits.width = std::ssize(logits.values) / std::ssize(logits.positions) / 2;
  logits.values.resize(static_cast<std::size_t>(logits.width) * logits.positions.size());
  StageValues beyond = reference.stages[3];
  beyond.layer = 40;
  beyond.values[0] += 1;
  reference.stages.push_back(beyond);
  ASSERT_TRUE(check_reference(reference).ok());
  const ReferenceOrigin origin = engine.compared(reference).origin;
  EXPECT_EQ(origin.model, "other.gguf");
  const engine::ModelShape& shape = engine.model->shape();
  const std::string n_vocab = std::to_string(shape.n_vocab), half = std::to_string(shape.n_vocab / 2);
  EXPECT_EQ(origin.differences,
            (std::vector<std::string>{"architecture: gemma3 there, llama here", "rope_base: 77 there, 10000 here",
                                      "vocabulary: " + half + " there, " + n_vocab + " here",
                                      "layers: 41 there, " + std::to_string(shape.n_layer) + " here"}));
}

TEST(Compare, NothingInCommonIsInconclusive) {
  Engine engine(spec_of("llama"));
  Reference reference = engine.reference();
  for (StageValues& stage : reference.stages) stage.layer += 100;
  std::erase_if(reference.stages, [](const StageValues& stage) { return stage.layer < 100; });
  const Comparison found = engine.compared(reference);
  EXPECT_EQ(found.verdict, Verdict::kInconclusive);
  EXPECT_EQ(found.n_compared, 0);
  EXPECT_EQ(found.not_compared.size(), reference.stages.size());
}

TEST(Compare, TokensMustBeTheModels) {
  Engine engine(spec_of("llama"));
  Reference reference = engine.reference();
  reference.tokens[3] = 100000;
  const auto refused = compare(*engine.model, reference, {}, engine.executor);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("token 3 has the id 100000"), std::string::npos) << refused.error().message;
}

TEST(CompareReferences, SayWhereTheyPart) {
  Engine engine(spec_of("llama"));
  const Reference ours = engine.reference();
  EXPECT_EQ(compare_references(ours, engine.reference(), 0)->verdict, Verdict::kPass);
  Reference theirs = engine.reference();
  StageValues& stage = theirs.stages[9];
  float& value = stage.values[static_cast<std::size_t>(stage.width) * 2 + 1];
  value = std::nextafter(value, 2 * value);
  const auto found = compare_references(ours, theirs, 0);
  ASSERT_NE(found->first(), nullptr);
  EXPECT_EQ(found->first()->stage, stage.stage);
  EXPECT_EQ(found->first()->token, 2);
  theirs.tokens[0] = 6;
  EXPECT_FALSE(compare_references(ours, theirs, 0).ok());
}

TEST(CompareLogprobs, NamesTheFactThatGivesThem) {
  Engine engine(spec_of("llama"));
  for (const char* base : {"", "500000"}) {
    const Reference reference =
        *base == '\0' ? engine.reference() : engine.reference({{"rope_base", base}, {"attention_scale", "1"}});
    const StageValues& logits = *reference.find(Stage::kLogits, -1);
    ServedLogprobs served;
    served.name = "server";
    served.tokens = kTokens;
    for (std::size_t row = 0; row < logits.positions.size(); ++row) {
      const auto values = logits.row(row);
      double sum = 0;
      for (const float value : values) sum += std::exp(static_cast<double>(value));
      const auto best = std::ranges::max_element(values);
      served.values.push_back(
          {logits.positions[row], static_cast<engine::TokenId>(best - values.begin()), *best - std::log(sum)});
    }
    CompareOptions options;
    options.tolerance = 1e-4;
    const auto found = compare_logprobs(*engine.model, served, options, engine.executor);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->verdict, *base == '\0' ? Verdict::kPass : Verdict::kFail);
    EXPECT_EQ(found->n_compared, std::ssize(kTokens));
    EXPECT_TRUE(found->explanations.empty()) << found->summary;  // two faults at once are none that is tried
    served.values[0].logprob = std::nan("");
    EXPECT_FALSE(compare_logprobs(*engine.model, served, options, engine.executor).ok());
  }
}

}  // namespace
}  // namespace rowmax::doctor

// What an observer of the forward pass is shown: the stages of every block, with rows that say whose they are, and
// nothing that changes what is computed.

#include "rowmax/engine/trace.h"
#include "rowmax/engine/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "rowmax/engine/edits.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine {
namespace {

using Key = std::pair<Stage, std::int64_t>;

struct Seen {
  std::vector<TraceRow> rows;
  std::int64_t n_group = 0, width = 0;
  std::vector<float> values;  // [row][n_group * width]
  std::span<const float> row(std::size_t i) const {
    const auto n = static_cast<std::size_t>(n_group * width);
    return std::span(values).subspan(i * n, n);
  }
};

class Recorder final : public TraceObserver {
 public:
  bool wants(Stage stage, std::int64_t) override { return only == Stage::kCount || stage == only; }
  void see(const TraceView& view) override {
    Seen& seen = found[{view.stage, view.layer}];
    seen.n_group = view.n_group;
    seen.width = view.width;
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      seen.rows.push_back(view.rows[i]);
      const float* row = view.data + static_cast<std::int64_t>(i) * view.row_stride;
      seen.values.insert(seen.values.end(), row, row + view.n_group * view.width);
    }
  }
  Stage only = Stage::kCount;
  std::map<Key, Seen> found;
};

struct Engine {
  explicit Engine(const std::string& arch, const SessionOptions& options = {}) {
    bytes = std::move(tools::synthetic_model_bytes(tools::odd_spec(arch))).value();
    ModelOptions loading;
    loading.isa = supported_isas().back();
    model = std::make_unique<Model>(
        std::move(Model::load(std::move(GgufFile::parse(bytes, "m.gguf")).value(), loading, executor)).value());
    EXPECT_TRUE(open(options).ok());
  }
  Status edited(const std::string& name, const std::string& value) {
    SessionOptions options;
    options.edits = {{name, value}};
    return open(options);
  }
  Status open(const SessionOptions& options) {
    SessionOptions chosen = options;
    chosen.max_sequences = 2;
    auto made = Session::create(*model, chosen, executor);
    if (!made.ok()) return made.error();
    session = std::make_unique<Session>(std::move(made).value());
    return {};
  }
  std::vector<float> logits(std::span<const TokenId> tokens) {
    const SequenceId sequence = *session->open();
    const BatchItem item{sequence, tokens, LogitsFor::kAll};
    const Status status = session->forward({&item, 1});
    EXPECT_TRUE(status.ok()) << status.error().message;
    std::vector<float> all;
    for (std::int64_t row = 0; row < session->n_logit_rows(); ++row) {
      all.insert(all.end(), session->logits(row).begin(), session->logits(row).end());
    }
    session->close(sequence);
    return all;
  }
  std::vector<std::byte> bytes;
  SerialExecutor executor;
  std::unique_ptr<Model> model;
  std::unique_ptr<Session> session;
};

const std::vector<TokenId> kTokens = {5, 17, 99, 17, 230, 8, 1, 64, 33};

bool same(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

class Trace : public testing::TestWithParam<const char*> {};

TEST_P(Trace, ShowsEveryStageAndChangesNothing) {
  Engine engine(GetParam());
  const std::vector<float> want = engine.logits(kTokens);
  Recorder recorder;
  engine.session->set_observer(&recorder);
  const std::vector<float> got = engine.logits(kTokens);
  EXPECT_TRUE(same(got, want));
  const Seen& logits = recorder.found[{Stage::kLogits, -1}];
  EXPECT_TRUE(same(logits.values, want));
  ASSERT_EQ(logits.rows.size(), kTokens.size());
  const bool post_norms = std::string(GetParam()).starts_with("gemma");
  const ModelShape& shape = engine.model->shape();
  const Seen* stream = &recorder.found[{Stage::kEmbedding, -1}];
  for (std::int64_t layer = 0; layer < shape.n_layer; ++layer) {
    const auto at = [&](Stage stage) -> const Seen& {
      const Seen& seen = recorder.found[{stage, layer}];
      EXPECT_FALSE(seen.values.empty()) << stage_name(stage) << " of layer " << layer;
      for (const float value : seen.values) EXPECT_TRUE(std::isfinite(value)) << stage_name(stage);
      return seen;
    };
    for (const Stage stage : {Stage::kAttnNorm, Stage::kQRaw, Stage::kQ, Stage::kKRaw, Stage::kK, Stage::kV,
                              Stage::kAttnOut, Stage::kFfnNorm, Stage::kGate, Stage::kUp, Stage::kAct}) {
      EXPECT_EQ(at(stage).rows.size(), kTokens.size()) << stage_name(stage);
      EXPECT_EQ(at(stage).rows.back().position, 8) << stage_name(stage);
    }
    const Seen &mixer = at(Stage::kMixerOut), &block = at(Stage::kBlockOut), &residual = at(Stage::kResidual);
    ASSERT_EQ(residual.values.size(), stream->values.size());
    for (std::size_t i = 0; !post_norms && i < residual.values.size(); ++i) {
      ASSERT_EQ(residual.values[i], stream->values[i] + mixer.values[i] + block.values[i]) << layer;
    }
    stream = &residual;
    const auto scores = recorder.found.find({Stage::kScores, layer});
    const bool attends = scores != recorder.found.end();
    EXPECT_NE(attends, recorder.found.contains({Stage::kState, layer})) << "either keys or a state, layer " << layer;
    if (!attends) continue;
    ASSERT_EQ(scores->second.rows.size(), kTokens.size());
    for (std::size_t row = 0; row < kTokens.size(); ++row) {
      for (std::int64_t head = 0; head < scores->second.n_group; ++head) {
        const auto weights =
            scores->second.row(row).subspan(static_cast<std::size_t>(head * scores->second.width), kTokens.size());
        double sum = 0;
        for (std::size_t key = 0; key < weights.size(); ++key) {
          sum += static_cast<double>(weights[key]);
          if (key > row) {
            EXPECT_EQ(weights[key], 0.0f) << "a key of the future has weight";
          }
        }
        EXPECT_NEAR(sum, 1, 1e-5);
      }
    }
  }
  engine.session->set_observer(nullptr);
  recorder.found.clear();
  EXPECT_TRUE(same(engine.logits(kTokens), want));
  EXPECT_TRUE(recorder.found.empty());
}

// Values of experts belong to the token's row, whatever order they were computed in.
TEST_P(Trace, RowsAreTheSameInAnyBatch) {
  Engine engine(GetParam());
  Recorder whole, pieces;
  engine.session->set_observer(&whole);
  engine.logits(kTokens);
  engine.session->set_observer(&pieces);
  const SequenceId a = *engine.session->open(), b = *engine.session->open();
  const std::vector<TokenId> other = {7, 7, 300};
  for (std::size_t i = 0; i < kTokens.size(); i += 3) {
    const BatchItem items[] = {{b, other, LogitsFor::kNone}, {a, std::span(kTokens).subspan(i, 3), LogitsFor::kAll}};
    ASSERT_TRUE(engine.session->forward(items).ok());
  }
  std::size_t n_compared = 0;
  for (const auto& [key, seen] : whole.found) {
    if (key.first == Stage::kScores || key.first == Stage::kState) continue;  // as wide, as often as the batches
    const Seen& part = pieces.found[key];
    for (std::size_t i = 0; i < part.rows.size(); ++i) {
      if (part.rows[i].sequence != a) continue;
      EXPECT_TRUE(same(part.row(i), seen.row(static_cast<std::size_t>(part.rows[i].position))))
          << stage_name(key.first) << " of layer " << key.second << " at " << part.rows[i].position;
      ++n_compared;
    }
  }
  EXPECT_GT(n_compared, kTokens.size() * 20);
}

TEST_P(Trace, AFactSetToItsOwnValueChangesNothingAndToAnotherSomething) {
  Engine engine(GetParam());
  const std::vector<float> want = engine.logits(kTokens);
  const std::map<std::string, std::string> others = {{"rms_norm_eps", "0.5"},    {"embedding_scale", "3"},
                                                     {"attention_scale", "0.9"}, {"attention_softcap", "0.5"},
                                                     {"final_softcap", "0.5"},   {"rope_base", "17"},
                                                     {"rope_scale", "0.3"},      {"rope_dimensions", "4"},
                                                     {"sliding_window", "2"},    {"qk_norm", "no"},
                                                     {"sub_norms", "no"},        {"attention_output_gate", "no"},
                                                     {"expert_used_count", "1"}, {"expert_renormalise", "no"}};
  int n_changed = 0;
  for (const EditInfo& info : edit_table()) {
    const std::string name(info.name);
    if (info.scope != EditScope::kSession) {
      EXPECT_FALSE(engine.edited(name, "x").ok());
      continue;
    }
    const auto value = edit_value(*engine.model, name);
    ASSERT_TRUE(value.ok()) << name;
    if (value->empty()) {  // no layer has it
      const Status status = engine.edited(name, "1");
      ASSERT_FALSE(status.ok()) << name;
      EXPECT_NE(status.error().message.find(name), std::string::npos);
      continue;
    }
    const bool only_off = others.contains(name) && others.at(name) == "no" && name != "expert_renormalise";
    if (value->find(',') == std::string::npos && !(only_off && *value == "yes")) {
      ASSERT_TRUE(engine.edited(name, *value).ok()) << name << "=" << *value;
      EXPECT_TRUE(same(engine.logits(kTokens), want)) << name << "=" << *value;
    }
    std::string other = others.contains(name)        ? others.at(name)
                        : name == "rope_pairing"     ? (*value == "halves" ? "adjacent" : "halves")
                        : name == "delta_head_order" ? "grouped"
                                                     : (*value == "silu" ? "gelu_tanh" : "silu");
    if (other == *value) continue;
    ASSERT_TRUE(engine.edited(name, other).ok()) << name << "=" << other;
    EXPECT_FALSE(same(engine.logits(kTokens), want)) << name << "=" << other << " changed nothing";
    ++n_changed;
    const Status wrong = engine.edited(name, "sideways");
    ASSERT_FALSE(wrong.ok()) << name;
    EXPECT_EQ(wrong.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(wrong.error().message.find("sideways"), std::string::npos);
  }
  EXPECT_GE(n_changed, 9);
  EXPECT_NE(engine.edited("rope_paring", "halves").error().message.find("rope_pairing"), std::string::npos);
}

// Puts what another pass was seen to compute in the place of what this one does.
class Replacer final : public TraceObserver {
 public:
  Replacer(const Recorder& from, Stage only) : from_(from), only_(only) {}
  bool wants(Stage, std::int64_t) override { return false; }
  void see(const TraceView&) override { ADD_FAILURE() << "was shown what it does not want"; }
  bool replaces(Stage stage, std::int64_t) override { return only_ == Stage::kCount || stage == only_; }
  void replace(const TraceEdit& edit) override {
    ++n_replaced;
    const Seen& seen = from_.found.at({edit.stage, edit.layer});
    ASSERT_EQ(seen.rows.size(), edit.rows.size());
    for (std::size_t i = 0; i < edit.rows.size(); ++i) {
      ASSERT_EQ(seen.rows[i].position, edit.rows[i].position);
      const auto row = seen.row(i);
      std::copy(row.begin(), row.end(), edit.data + static_cast<std::int64_t>(i) * edit.row_stride);
    }
  }
  int n_replaced = 0;

 private:
  const Recorder& from_;
  Stage only_;
};

TEST_P(Trace, GoesOnWithWhatStagesAreReplacedBy) {
  Engine engine(GetParam());
  const std::vector<float> own = engine.logits(kTokens);
  Recorder recorder;
  ASSERT_TRUE(engine.edited("rms_norm_eps", "0.5").ok());
  engine.session->set_observer(&recorder);
  const std::vector<float> other = engine.logits(kTokens);
  ASSERT_FALSE(same(own, other));
  for (int i = 0; i <= static_cast<int>(Stage::kCount); ++i) {
    const auto stage = static_cast<Stage>(i);
    ASSERT_TRUE(engine.edited("rms_norm_eps", edit_value(*engine.model, "rms_norm_eps").value()).ok());
    Replacer replacer(recorder, stage);
    engine.session->set_observer(&replacer);
    const std::vector<float> got = engine.logits(kTokens);
    // What comes last before the head is the other pass's: so are the logits.
    if (stage == Stage::kOutputNorm || stage == Stage::kCount) {
      EXPECT_TRUE(same(got, other)) << stage_name(stage);
    } else if (replacer.n_replaced == 0 || stage == Stage::kEmbedding) {
      EXPECT_TRUE(same(got, own)) << stage_name(stage);  // embeddings are the same in both
    } else {
      EXPECT_FALSE(same(got, own)) << stage_name(stage) << " was replaced without effect";
    }
    EXPECT_TRUE(stage == Stage::kCount || can_be_replaced(stage) || replacer.n_replaced == 0) << stage_name(stage);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Trace,
                         testing::Values("llama", "gemma3", "bitnet-b1.58", "qwen3moe", "qwen35", "qwen35moe"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& letter : name)
                             letter = std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
                           return name;
                         });

// The instruction set and the kind of activations belong to the session: the weights stay as they are.
TEST(SessionOptionsOfComputation, AreTheModelsUnlessGiven) {
  Engine engine("llama");
  const std::vector<float> want = engine.logits(kTokens);
  SessionOptions options;
  options.isa = Isa::kScalar;
  ASSERT_TRUE(engine.open(options).ok());
  EXPECT_TRUE(same(engine.logits(kTokens), want));
}

TEST(Stages, HaveTheirNames) {
  for (int i = 0; i < static_cast<int>(Stage::kCount); ++i) {
    const auto stage = static_cast<Stage>(i);
    EXPECT_EQ(find_stage(stage_name(stage)), stage);
  }
  EXPECT_FALSE(find_stage("Q").has_value());
}

}  // namespace
}  // namespace rowmax::engine

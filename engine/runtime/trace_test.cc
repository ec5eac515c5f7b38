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
#include <tuple>
#include <vector>

#include "rowmax/engine/edits.h"
#include "rowmax/probe.h"
#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::engine::trace_test {
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
  explicit Engine(const std::string& arch, const SessionOptions& options = {})
      : Engine(tools::odd_spec(arch), options) {}
  explicit Engine(const tools::SyntheticSpec& spec, const SessionOptions& options = {}) {
    bytes = std::move(tools::synthetic_model_bytes(spec)).value();
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

// The state is what the convolution will see of the last tokens: b times x.
void expect_conv_state(const Seen& runs, const Seen& state) {
  const auto n = static_cast<std::size_t>(runs.width), n_token = static_cast<std::size_t>(state.n_group);
  ASSERT_EQ(runs.n_group, 3);
  ASSERT_EQ(state.width, runs.width);
  ASSERT_EQ(state.rows.size(), 1u);
  EXPECT_EQ(state.rows[0].position, runs.rows.back().position);
  for (std::size_t i = 0; i < n_token * n; ++i) {
    const std::span<const float> row = runs.row(runs.rows.size() - n_token + i / n);
    ASSERT_EQ(state.values[i], row[i % n] * row[2 * n + i % n]) << i;
  }
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
    const bool short_conv = std::string(GetParam()).starts_with("lfm2") && layer != 2;
    if (short_conv) expect_conv_state(at(Stage::kQRaw), at(Stage::kState));
    for (const Stage stage : {Stage::kAttnNorm, Stage::kQRaw, Stage::kQ, Stage::kKRaw, Stage::kK, Stage::kV,
                              Stage::kAttnOut, Stage::kFfnNorm, Stage::kGate, Stage::kUp, Stage::kAct}) {
      if (short_conv && (stage == Stage::kQ || stage == Stage::kKRaw || stage == Stage::kK || stage == Stage::kV)) {
        EXPECT_FALSE(recorder.found.contains({stage, layer})) << stage_name(stage);
        continue;
      }
      EXPECT_EQ(at(stage).rows.size(), kTokens.size()) << stage_name(stage);
      EXPECT_EQ(at(stage).rows.back().position, 8) << stage_name(stage);
    }
    // Of deepseek2 in all layers but the first; of gemma4_moe the dense FFN.
    const std::string arch = GetParam();
    const bool gelu = arch == "gemma4_moe";
    const bool shared = gelu || arch == "qwen35moe" || (arch == "deepseek2" && layer > 0), sinks = arch == "gpt-oss";
    for (const Stage stage : {Stage::kSharedGate, Stage::kSharedUp, Stage::kSharedAct}) {
      EXPECT_EQ(recorder.found.contains({stage, layer}), shared) << stage_name(stage) << " of layer " << layer;
    }
    for (std::size_t i = 0; shared && !gelu && i < at(Stage::kSharedAct).values.size(); ++i) {
      const auto gate = static_cast<double>(at(Stage::kSharedGate).values[i]);
      const double act = gate / (1 + std::exp(-gate)) * static_cast<double>(at(Stage::kSharedUp).values[i]);
      ASSERT_NEAR(static_cast<double>(at(Stage::kSharedAct).values[i]), act, 1e-5 * (1 + std::abs(act))) << layer;
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
        if (sinks) {  // which take the rest
          EXPECT_TRUE(sum > 0 && sum < 1) << sum;
        } else {
          EXPECT_NEAR(sum, 1, 1e-5);
        }
      }
    }
  }
  engine.session->set_observer(nullptr);
  recorder.found.clear();
  EXPECT_TRUE(same(engine.logits(kTokens), want));
  EXPECT_TRUE(recorder.found.empty());
}

// Rows of attention as the library's probe shows them, named by the session's sequences and positions.
class RowRecorder final : public TraceObserver {
 public:
  bool wants(Stage stage, std::int64_t) override { return stage == Stage::kScores || stage == Stage::kResidual; }
  void see(const TraceView& view) override {
    if (view.stage != Stage::kScores) return;
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      for (std::int64_t head = 0; head < view.n_group; ++head) {
        const float* row = view.data + static_cast<std::int64_t>(i) * view.row_stride + head * view.width;
        weights[{view.layer, view.rows[i].sequence, view.rows[i].position, head}].assign(row, row + view.width);
      }
    }
  }
  bool probes(std::int64_t layer) override { return layer != skipped; }
  bool probes_row(std::int64_t, const TraceRow& token, std::int64_t head) noexcept override {
    return token.position % 2 == 1 && head < 2;
  }
  void see_row(std::int64_t layer, const ProbeRow& row) noexcept override { rows.emplace_back(layer, row); }
  std::int64_t skipped = -1;
  std::map<std::tuple<std::int64_t, SequenceId, std::int64_t, std::int64_t>, std::vector<float>> weights;
  std::vector<std::pair<std::int64_t, ProbeRow>> rows;
};

TEST_P(Trace, RowsOfAttentionAreProbedWhereAskedFor) {
  Engine engine(GetParam());
  const std::vector<float> want = engine.logits(kTokens);
  RowRecorder recorder;
  engine.session->set_observer(&recorder);
  // Beside another sequence that was opened earlier, and in two pieces: sequence and position are the session's.
  const SequenceId other = *engine.session->open(), id = *engine.session->open();
  const TokenId single[] = {7};
  std::vector<float> got;
  for (const std::size_t begin : {std::size_t{0}, std::size_t{4}}) {
    const BatchItem items[] = {{id, std::span(kTokens).subspan(begin, begin == 0 ? 4 : 5), LogitsFor::kAll},
                               {other, single, LogitsFor::kNone}};
    ASSERT_TRUE(engine.session->forward(items).ok());
    for (std::int64_t row = 0; row < engine.session->n_logit_rows(); ++row) {
      got.insert(got.end(), engine.session->logits(row).begin(), engine.session->logits(row).end());
    }
  }
  EXPECT_TRUE(same(got, want));
  std::size_t n_mine = 0;
  for (const auto& [layer, row] : recorder.rows) {
    EXPECT_EQ(row.position % 2, 1);
    EXPECT_LT(row.head, 2);
    EXPECT_FALSE(judge(row).failed()) << probe_text(row);
    if (row.sequence != id) continue;
    ++n_mine;
    EXPECT_EQ(row.n_kv, row.position < 4 ? 4 : 9);  // of the piece that the token came in
    const std::vector<float>& weights = recorder.weights[{layer, id, row.position, row.head}];
    for (int i = 0; i < row.n_edge; ++i) {
      EXPECT_EQ(row.first_weights[i], weights[static_cast<std::size_t>(row.first_keys[i])]) << probe_text(row);
    }
  }
  std::int64_t n_attention = 0;
  for (std::int64_t layer = 0; layer < engine.model->shape().n_layer; ++layer) {
    n_attention += recorder.weights.contains({layer, id, 0, 0}) ? 1 : 0;
  }
  EXPECT_EQ(n_mine, static_cast<std::size_t>(n_attention) * 4 * 2);  // tokens 1, 3, 5, 7 and two heads
  recorder.skipped = recorder.rows.back().first;
  recorder.rows.clear();
  engine.session->close(other);
  engine.logits(kTokens);
  for (const auto& [layer, row] : recorder.rows) EXPECT_NE(layer, recorder.skipped);
}

// Every norm: its output is what the definition makes of its input and of the weights that lie in the file.
class NormRecorder final : public TraceObserver {
 public:
  struct Row {
    std::string name;
    std::int64_t layer;
    TraceRow token;
    float eps;
    std::vector<float> x, y;  // of one group
  };
  bool wants(Stage, std::int64_t) override { return false; }
  void see(const TraceView&) override {}
  bool wants_norms() override { return true; }
  void see_norm(const NormView& view) override {
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      for (std::int64_t group = 0; group < view.n_group; ++group) {
        const float* x = view.x + static_cast<std::int64_t>(i) * view.x_stride + group * view.width;
        const float* y = view.y + static_cast<std::int64_t>(i) * view.y_stride + group * view.width;
        rows.push_back(
            {std::string(view.name), view.layer, view.rows[i], view.eps, {x, x + view.width}, {y, y + view.width}});
      }
    }
  }
  std::vector<Row> rows;
};

TEST_P(Trace, NormsAreShownWithTheirInputs) {
  Engine engine(GetParam());
  const std::vector<float> want = engine.logits(kTokens);
  NormRecorder recorder;
  engine.session->set_observer(&recorder);
  EXPECT_TRUE(same(engine.logits(kTokens), want));
  std::set<std::pair<std::string, std::int64_t>> seen;
  for (const NormRecorder::Row& row : recorder.rows) {
    seen.insert({row.name, row.layer});
    if (row.name == "v_norm") continue;  // has no weights
    const std::string tensor = (row.layer < 0 ? "" : "blk." + std::to_string(row.layer) + ".") + row.name +
                               (row.name.ends_with(".scale") ? "" : ".weight");
    SCOPED_TRACE(tensor);
    EXPECT_EQ(*edit_value(*engine.model, "rms_norm_eps"), row.eps == 1e-5f ? "1e-05" : "1e-06");
    const GgufTensor* weights = engine.model->file().find_tensor(tensor);
    if (weights == nullptr)
      weights = engine.model->file().find_tensor("blk." + std::to_string(row.layer) + ".post_attention_norm.weight");
    if (weights == nullptr && row.name == "output_norm")  // LFM2's files
      weights = engine.model->file().find_tensor("token_embd_norm.weight");
    ASSERT_NE(weights, nullptr);
    double squares = 0, length = 0, shown = 0;
    for (const float x : row.x) squares += static_cast<double>(x) * static_cast<double>(x);
    const double factor = 1 / std::sqrt(squares / static_cast<double>(row.x.size()) + static_cast<double>(row.eps));
    const bool as_it_is = row.name != "attn_q_norm" && row.name != "attn_k_norm" && row.name != "ssm_norm";
    for (std::size_t i = 0; i < row.x.size(); ++i) {
      float weight = 0;
      std::memcpy(&weight, weights->data.data() + i * sizeof weight, sizeof weight);
      const double y = static_cast<double>(row.x[i]) * factor * static_cast<double>(weight);
      length += y * y;
      shown += static_cast<double>(row.y[i]) * static_cast<double>(row.y[i]);
      if (as_it_is) {
        ASSERT_NEAR(row.y[i], y, 1e-5 * (1 + std::fabs(y))) << i;
      }
    }
    if (row.name != "ssm_norm") {  // RoPE turns, the gate does more
      EXPECT_NEAR(std::sqrt(shown), std::sqrt(length), 1e-4 * (1 + std::sqrt(length)));
    }
  }
  // As many as the file has, each for every token.
  std::set<std::pair<std::string, std::int64_t>> named;
  for (const GgufTensor& tensor : engine.model->file().tensors()) {
    std::string name(tensor.name);
    const bool of_router = name.ends_with("ffn_gate_inp.scale");
    if (name.find("norm") == std::string::npos && !of_router) continue;
    std::int64_t layer = -1;
    if (name == "token_embd_norm.weight") name = "output_norm.weight";  // LFM2's files
    if (name.starts_with("blk.")) {
      layer = std::stoll(name.substr(4));
      name = name.substr(name.find('.', 4) + 1);
    }
    named.insert({of_router ? name : name.substr(0, name.size() - std::string(".weight").size()), layer});
  }
  for (std::int64_t i = 0; std::string(GetParam()) == "gemma4_moe" && i < engine.model->shape().n_layer; ++i) {
    named.insert({"v_norm", i});
  }
  EXPECT_EQ(seen.size(), named.size());
  for (const auto& norm : named) {
    const bool other_name = norm.first == "post_attention_norm" && !seen.contains(norm);
    EXPECT_TRUE(seen.contains(other_name ? std::pair{std::string("ffn_norm"), norm.second} : norm)) << norm.first;
  }
  std::map<std::pair<std::string, std::int64_t>, std::set<std::int64_t>> tokens;
  for (const NormRecorder::Row& row : recorder.rows) tokens[{row.name, row.layer}].insert(row.token.position);
  for (const auto& [norm, positions] : tokens) EXPECT_EQ(positions.size(), kTokens.size()) << norm.first;
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
  std::string other_order = "1,0";
  for (std::int64_t i = 2; i < engine.model->shape().n_layer; ++i) other_order += "," + std::to_string(i);
  const std::map<std::string, std::string> others = {
      {"norm_kind", "layer"},
      {"norm_place", "output"},
      {"rms_norm_eps", "0.5"},
      {"embedding_scale", "3"},
      {"residual_scale", "0.5"},
      {"logit_scale", "0.5"},
      {"attention_scale", "0.9"},
      {"attention_temperature", "0.5"},
      {"attention_softcap", "0.5"},
      {"final_softcap", "0.5"},
      {"rope_base", "17"},
      {"rope_scale", "0.3"},
      {"rope_scaling", "none"},
      {"rope_scale_global", "0.3"},
      {"rope_factors", "8,1,4,16"},
      {"rope_dimensions", "4"},
      {"rope_denominator", "head"},
      {"rope_layers", "exchanged"},
      {"nope_layers", "2"},
      {"sliding_window", "2"},
      {"head_mapping", "interleaved"},
      {"kv_heads", "1"},
      {"head_count", "6"},
      {"kv_order", "v_k"},
      {"biases", "no"},
      {"sinks", "no"},
      {"attention_output_gate", "no"},
      {"attention_gate_layout", "flat"},
      {"qk_norm", "no"},
      {"qk_norm_place", "after_rope"},
      {"sub_norms", "no"},
      {"post_norms", "no"},
      {"product_norms", "no"},
      {"gate_order", "up_gate"},
      {"ffn_limit", "0.01"},
      {"ffn_up_offset", "0.5"},
      {"v_norm", "no"},
      {"layer_embeddings", "no"},
      {"layer_output_scale", "no"},
      {"expert_biases", "no"},
      {"yarn_ramp", "exact"},
      {"delta_head_order", "grouped"},
      {"delta_conv_activation", "none"},
      {"delta_gate_activation", "sigmoid"},
      {"conv_channels", "v_q_k"},
      {"short_conv_runs", "c_b_x"},
      {"state_type", "bf16"},
      {"expert_used_count", "1"},
      {"expert_renormalise", "no"},
      {"expert_gate", "sigmoid"},
      {"expert_scale", "2"},
      {"expert_shift", "1"},
      {"expert_choice_bias", "no"},
      {"shared_expert", "no"},
      {"shared_expert_gate", "no"},
      {"expert_factors", "no"},
      {"router_norm", "no"},
      {"branch_norms", "no"},
      {"skip_mixer", "1"},
      {"skip_ffn", "0"},
      {"layer_order", other_order},
  };
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
    if (value->find(',') == std::string::npos) {
      ASSERT_TRUE(engine.edited(name, *value).ok()) << name << "=" << *value;
      EXPECT_TRUE(same(engine.logits(kTokens), want)) << name << "=" << *value;
    }
    const std::string other = others.contains(name)    ? others.at(name)
                              : name == "rope_pairing" ? (*value == "halves" ? "adjacent" : "halves")
                                                       : (*value == "silu" ? "gelu_tanh" : "silu");
    if (other == *value) continue;
    // Gemma 4 has divisors for each pair that turns, and heads of two sizes.
    const bool fixed = name == "rope_dimensions" || name == "rope_layers";
    if (fixed && std::string(GetParam()) == "gemma4_moe") continue;
    ASSERT_TRUE(engine.edited(name, other).ok()) << name << "=" << other;
    EXPECT_FALSE(same(engine.logits(kTokens), want)) << name << "=" << other << " changed nothing";
    ++n_changed;
    const Status wrong = engine.edited(name, "sideways");
    ASSERT_FALSE(wrong.ok()) << name;
    EXPECT_EQ(wrong.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(wrong.error().message.find("sideways"), std::string::npos);
  }
  EXPECT_GE(n_changed, 15);
  EXPECT_NE(engine.edited("rope_paring", "halves").error().message.find("rope_pairing"), std::string::npos);
}

// A fact of one layer; all of them together are what the model's value lists.
TEST_P(Trace, AFactOfALayer) {
  Engine engine(GetParam());
  const std::int64_t n_layer = engine.model->shape().n_layer;
  for (const EditInfo& info : edit_table()) {
    if (info.scope != EditScope::kSession) {
      EXPECT_FALSE(edit_value(*engine.model, info.name, 0).ok()) << info.name;
      continue;
    }
    std::set<std::string> values;
    for (std::int64_t layer = 0; layer < n_layer; ++layer) {
      const auto value = edit_value(*engine.model, info.name, layer);
      ASSERT_TRUE(value.ok()) << info.name;
      EXPECT_EQ(value->find(','), std::string::npos) << info.name << " of one layer: " << *value;
      if (!value->empty()) values.insert(*value);
    }
    // How layers differ from one another: of one alone there is nothing to say.
    if (info.name == "rope_layers" || info.name == "rope_scale_global") continue;
    std::string all;
    for (const std::string& value : values) all += (all.empty() ? "" : ",") + value;
    EXPECT_EQ(all, *edit_value(*engine.model, info.name)) << info.name;
  }
  for (const std::int64_t layer : {std::int64_t{-1}, n_layer}) {
    EXPECT_EQ(edit_value(*engine.model, "rope_base", layer).error().code, ErrorCode::kInvalidArgument);
  }
  if (std::string(GetParam()) == "gemma3") {  // five layers with a window and 10000, then one without
    EXPECT_EQ(*edit_value(*engine.model, "rope_base", 4), "10000");
    EXPECT_EQ(*edit_value(*engine.model, "sliding_window", 5), "0");
    EXPECT_NE(*edit_value(*engine.model, "rope_base", 5), "10000");
  }
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
                         testing::Values("llama", "gemma3", "bitnet-b1.58", "qwen3moe", "qwen35", "qwen35moe",
                                         "gpt-oss", "gemma4_moe", "deepseek2", "lfm2", "lfm2moe"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& letter : name)
                             letter = std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
                           return name;
                         });

// Softmax of q times the keys of K/V head h mod n_kv_head, from what was shown of both.
TEST(TraceScores, OfInterleavedHeadsAreThoseOfTheirKeys) {
  Engine engine(tools::SyntheticSpec{});
  ASSERT_TRUE(engine.edited("head_mapping", "interleaved").ok());
  Recorder recorder;
  engine.session->set_observer(&recorder);
  engine.logits(kTokens);
  const ModelShape& shape = engine.model->shape();
  ASSERT_EQ(shape.n_head, 4);
  ASSERT_EQ(shape.n_kv_head, 2);
  const Seen &q = recorder.found[{Stage::kQ, 1}], &k = recorder.found[{Stage::kK, 1}];
  const Seen& scores = recorder.found[{Stage::kScores, 1}];
  const auto d = static_cast<std::size_t>(shape.head_dim), n = kTokens.size();
  for (std::size_t h = 0; h < 4; ++h) {
    std::vector<double> weights;
    double sum = 0;
    for (std::size_t j = 0; j < n; ++j) {
      double score = 0;
      for (std::size_t i = 0; i < d; ++i) {
        score += static_cast<double>(q.row(n - 1)[h * d + i]) * static_cast<double>(k.row(j)[h % 2 * d + i]);
      }
      weights.push_back(std::exp(score / std::sqrt(static_cast<double>(d))));
      sum += weights.back();
    }
    for (std::size_t j = 0; j < n; ++j) {
      EXPECT_NEAR(static_cast<double>(scores.row(n - 1)[h * n + j]), weights[j] / sum, 2e-3) << h << " " << j;
    }
  }
}

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
}  // namespace rowmax::engine::trace_test

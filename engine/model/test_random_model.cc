#include "engine/model/test_random_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include "engine/model/recurrent_layout.h"
#include "engine/quant/format.h"

namespace rowmax::engine {
namespace {

const FormatInfo* f32() { return find_format("F32"); }

reference::Vector numbers(Dice& dice, std::size_t n, float low, float high) {
  reference::Vector out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(static_cast<double>(dice.uniform(low, high)));
  return out;
}

// What keeps a random model lively: norms about 1, decays below 0, the rest of the size that a product keeps.
std::pair<float, float> range_of(const WeightInfo& info, std::int64_t cols) {
  if (info.id == W::kDeltaDecay) return {-1.5f, -0.05f};
  if (info.id == W::kAttnSinks || info.id == W::kRouter) return {-1.0f, 1.0f};
  if (info.id == W::kRouterBias) return {-0.3f, 0.3f};
  if (info.id == W::kRouterNorm) return {3.0f, 9.0f};  // or the router would hardly tell experts apart
  const float most = 2.0f / std::sqrt(static_cast<float>(cols));
  return is_matrix(info.kind) ? std::pair{-most, most} : std::pair{0.5f, 1.5f};
}

// Each block by itself: what it gives beside its definition of what the engine gave it.
class BlockChecker final : public TraceObserver {
 public:
  explicit BlockChecker(const RandomModel& model) : sequences_{{model.spec, model.raw}, {model.spec, model.raw}} {}

  bool wants(Stage stage, std::int64_t) override {
    return stage == Stage::kAttnNorm || stage == Stage::kMixerOut || stage == Stage::kFfnNorm ||
           stage == Stage::kBlockOut;
  }
  bool wants_norms() override { return true; }
  // The stream, where experts or their router have a norm of their own.
  void see_norm(const NormView& view) override {
    if (view.name != "pre_ffw_norm_2" && view.name != "ffn_gate_inp.scale") return;
    streams_.clear();
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      const float* row = view.x + static_cast<std::int64_t>(i) * view.x_stride;
      streams_.emplace_back(row, row + view.width);
    }
  }
  void see(const TraceView& view) override {
    const bool input = view.stage == Stage::kAttnNorm || view.stage == Stage::kFfnNorm;
    if (input) inputs_.clear();
    if (view.stage == Stage::kAttnNorm) streams_.clear();
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      const float* row = view.data + static_cast<std::int64_t>(i) * view.row_stride;
      if (input) {
        inputs_.emplace_back(row, row + view.width);
      } else {
        check(view, i, row);
      }
    }
  }
  double margin() const { return std::min(sequences_[0].margin(), sequences_[1].margin()); }
  double worst = 0;  // of the largest number of its row

 private:
  void check(const TraceView& view, std::size_t at, const float* got) {
    const TraceRow& row = view.rows[at];
    const reference::Vector& x = inputs_[at];
    reference::Blocks& blocks = sequences_[row.sequence];
    const auto layer = static_cast<std::size_t>(view.layer);
    const reference::Vector wanted = view.stage == Stage::kMixerOut ? blocks.mixer(layer, row.position, x)
                                     : at < streams_.size()         ? blocks.ffn(layer, x, streams_[at])
                                                                    : blocks.ffn(layer, x, reference::Vector(x.size()));
    double most = 0, range = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      most = std::max(most, std::isfinite(got[i]) ? std::abs(static_cast<double>(got[i]) - wanted[i]) : 1e30);
      range = std::max(range, std::abs(wanted[i]));
    }
    worst = std::max(worst, range == 0 && most == 0 ? 0 : most / range);
  }
  reference::Blocks sequences_[2];
  std::vector<reference::Vector> inputs_, streams_;
};

// The same batches once more with nobody looking on, and logits of some rows alone: what is not computed then must not have
// mattered, so they are those of `watched`, bit for bit.
class Unwatched {
 public:
  Unwatched(const ModelSpec& spec, Forward forward)
      : n_vocab_(static_cast<std::size_t>(spec.shape.n_vocab)), forward_(std::move(forward)), memory_(spec) {}

  void run(std::span<const TokenId> tokens, std::span<const ForwardSequence> sequences,
           const std::vector<float>& watched) {
    std::vector<ForwardSequence> own(sequences.begin(), sequences.end());
    for (ForwardSequence& sequence : own) {
      std::vector<float>& state = states_[sequence.id];
      state.resize(static_cast<std::size_t>(memory_.n_state()));
      sequence.state = state.data();
    }
    std::vector<std::int32_t> rows;
    const std::int64_t one_in = dice_.between(1, 5);
    for (std::int32_t row = 0; row < std::ssize(tokens); ++row) {
      if (dice_.one_in(one_in)) rows.push_back(row);
    }
    if (dice_.one_in(6)) rows.clear();
    std::vector<float> logits(rows.size() * n_vocab_);
    const Status status = forward_.run({tokens, own, rows}, memory_.layers, logits.data());
    EXPECT_TRUE(status.ok()) << status.error().message;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(std::memcmp(logits.data() + i * n_vocab_, watched.data() + static_cast<std::size_t>(rows[i]) * n_vocab_,
                            n_vocab_ * sizeof(float)),
                0)
          << "row " << rows[i] << " of " << tokens.size() << ", " << rows.size() << " wanted";
    }
  }

 private:
  std::size_t n_vocab_;
  Forward forward_;
  Memory memory_;
  std::map<SequenceId, std::vector<float>> states_;
  Dice dice_{77};
};

}  // namespace

RandomModel::RandomModel(ModelSpec spec, Dice& dice) : spec(std::move(spec)) {
  const auto n_table = static_cast<std::size_t>(this->spec.shape.n_embd * this->spec.shape.n_vocab);
  sources_.token_embedding = matrix("token_embd.weight", raw.embedding, dice, this->spec.shape.n_vocab, n_table);
  sources_.output = matrix("output.weight", raw.output, dice, this->spec.shape.n_vocab, n_table);
  raw.output_norm = numbers(dice, static_cast<std::size_t>(this->spec.shape.n_embd), 0.5f, 1.5f);
  sources_.output_norm = {"output_norm.weight", f32(), 1, this->spec.shape.n_embd, 1, bytes_of(raw.output_norm)};
  if (const std::int64_t n = this->spec.layer_embd() * std::ssize(this->spec.layers); n > 0) {
    const auto size = static_cast<std::size_t>(n);
    sources_.layer_embedding =
        matrix("per_layer_token_embd.weight", raw.layer_embeddings.table, dice, this->spec.shape.n_vocab,
               size * static_cast<std::size_t>(this->spec.shape.n_vocab));
    sources_.layer_projection = matrix("per_layer_model_proj.weight", raw.layer_embeddings.projection, dice, n,
                                       size * static_cast<std::size_t>(this->spec.shape.n_embd));
    raw.layer_embeddings.norm = numbers(dice, static_cast<std::size_t>(this->spec.layer_embd()), 0.5f, 1.5f);
    sources_.layer_projection_norm = {"per_layer_proj_norm.weight", f32(), 1,
                                      this->spec.layer_embd(),      1,     bytes_of(raw.layer_embeddings.norm)};
  }
  raw.layers.resize(this->spec.layers.size());
  sources_.layers.resize(this->spec.layers.size());
  for (std::size_t i = 0; i < this->spec.layers.size(); ++i) add_layer(i, dice);
  auto loaded = load_weights(std::move(sources_), "random", **panel::choose_table({}, default_isa().value()), executor_,
                             [](auto) { return Status(); });
  EXPECT_TRUE(loaded.ok()) << loaded.error().message;
  weights = std::move(loaded).value();
}

std::span<const std::byte> RandomModel::bytes_of(const reference::Vector& values) {
  storage_.push_back(std::make_unique<std::vector<float>>(values.begin(), values.end()));
  return std::as_bytes(std::span(*storage_.back()));
}

WeightSource RandomModel::matrix(const char* name, reference::Vector& raw_values, Dice& dice, std::int64_t rows,
                                 std::size_t n) {
  const auto cols = static_cast<std::int64_t>(n) / rows;
  const float most = 2.0f / std::sqrt(static_cast<float>(cols));
  raw_values = numbers(dice, n, -most, most);
  return {name, f32(), rows, cols, 1, bytes_of(raw_values)};
}

void RandomModel::add_layer(std::size_t i, Dice& dice) {
  const LayerSpec& layer = spec.layers[i];
  for (const WeightInfo& info : weight_table()) {
    const Presence presence = info.presence(layer);
    if (presence == Presence::kNever || (presence == Presence::kOptional && dice.one_in(2))) continue;
    const WeightShape shape = info.shape(spec.shape, layer);
    const auto [low, high] = range_of(info, shape.cols);
    reference::Vector values = numbers(dice, static_cast<std::size_t>(shape.cols * shape.rows * shape.n), low, high);
    sources_.layers[i][info.id] = {info.name, f32(), shape.rows, shape.cols, shape.n, bytes_of(values)};
    raw.layers[i][info.id] = std::move(values);
  }
}

Memory::Memory(const ModelSpec& spec) : n_state_(RecurrentLayout(spec).n_floats()) {
  layers.n_group = 1;
  for (const LayerSpec& layer : spec.layers) {
    const AttentionSpec& a = layer.attention;
    const bool has_kv = layer.attends() && a.has_kv();
    const auto n = static_cast<std::size_t>(has_kv ? kPages * a.kv_width() * kKeyTile : 1);
    // What no token wrote must not be looked at.
    pools_.push_back(std::make_unique<std::vector<float>>(2 * n, std::numeric_limits<float>::quiet_NaN()));
    layers.views.push_back(has_kv ? page_view(DType::kF32, a.n_kv_head, a.head_dim, a.v_in_k) : KvView{});
    layers.keys.push_back(pools_.back()->data());
    layers.values.push_back(pools_.back()->data() + (a.v_in_k > 0 ? 0 : n));
    layers.group_of_layer.push_back(0);
  }
}

Memory::OneSequence Memory::sequence(std::vector<std::int32_t> pages) const {
  const std::int32_t* table = pages.data();
  return {std::move(pages), table, std::vector<float>(static_cast<std::size_t>(n_state_)), 0};
}

Outcome compare(const RandomModel& model, Dice& dice) {
  SerialExecutor executor;
  constexpr std::int64_t kMaxRows = 40;
  const auto create = [&] {
    auto forward = Forward::create(model.spec, model.weights,
                                   {.max_rows = kMaxRows,
                                    .max_context = 200,
                                    .max_sequences = 2,
                                    .activations = Activations::kF32,
                                    .kernels = panel::choose_table({}, default_isa().value()).value()},
                                   *cpu_backend(executor));
    EXPECT_TRUE(forward.ok()) << forward.error().message;
    return std::move(forward).value();
  };
  Forward forward = create();
  Unwatched unwatched(model.spec, create());
  BlockChecker checker(model);
  forward.set_observer(&checker);
  Memory memory(model.spec);
  Memory::OneSequence sequences[] = {memory.sequence({5, 2, 7}), memory.sequence({0, 6, 1})};
  const std::int64_t lengths[] = {dice.between(66, 90), dice.between(3, 30)};
  reference::Model references[] = {{model.spec, model.raw}, {model.spec, model.raw}};
  Outcome outcome;
  while (sequences[0].position < lengths[0] || sequences[1].position < lengths[1]) {
    std::vector<TokenId> tokens;
    std::vector<ForwardSequence> rows;
    std::vector<std::int32_t> logit_rows;
    std::vector<reference::Vector> wanted;
    for (std::size_t s = 0; s < 2; ++s) {
      const std::int64_t n = std::min(lengths[s] - sequences[s].position, dice.between(0, kMaxRows / 2));
      if (n == 0) continue;
      rows.push_back({static_cast<std::int64_t>(tokens.size()),
                      n,
                      sequences[s].position,
                      {&sequences[s].table, 1},
                      static_cast<SequenceId>(s),
                      sequences[s].state.data()});
      for (std::int64_t i = 0; i < n; ++i) {
        logit_rows.push_back(static_cast<std::int32_t>(tokens.size()));
        tokens.push_back(static_cast<TokenId>(dice.between(0, model.spec.shape.n_vocab - 1)));
        wanted.push_back(references[s].next(tokens.back()));
      }
      sequences[s].position += n;
    }
    if (tokens.empty()) continue;
    std::vector<float> logits(wanted.size() * static_cast<std::size_t>(model.spec.shape.n_vocab));
    const Status status = forward.run({tokens, rows, logit_rows}, memory.layers, logits.data());
    EXPECT_TRUE(status.ok()) << status.error().message;
    unwatched.run(tokens, rows, logits);
    for (std::size_t row = 0; row < wanted.size(); ++row) {
      double most = 0, range = 0;
      for (std::size_t i = 0; i < wanted[row].size(); ++i) {
        const double got = static_cast<double>(logits[row * wanted[row].size() + i]);
        most = std::max(most, std::isfinite(got) ? std::abs(got - wanted[row][i]) : 1e30);
        range = std::max(range, std::abs(wanted[row][i]));
      }
      outcome.worst = std::max(outcome.worst, most / range);
    }
  }
  outcome.worst_block = checker.worst;
  outcome.margin = std::min({checker.margin(), references[0].margin(), references[1].margin()});
  return outcome;
}

}  // namespace rowmax::engine

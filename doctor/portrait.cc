#include "rowmax/doctor/portrait.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/guarded.h"
#include "base/math/f64.h"
#include "rowmax/engine/chat.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/engine/session.h"
#include "rowmax/engine/trace.h"
#include "rowmax/probe.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Stage;
using engine::TraceView;

double rms_of(const TraceView& view, double* largest = nullptr) {
  double sum = 0;
  std::int64_t n = 0;
  for (std::size_t row = 0; row < view.rows.size(); ++row) {
    const float* values = view.data + static_cast<std::int64_t>(row) * view.row_stride;
    for (std::int64_t i = 0; i < view.n_group * view.width; ++i, ++n) {
      const double value = values[i];
      sum += value * value;
      if (largest != nullptr) *largest = std::max(*largest, std::abs(value));
    }
  }
  return n == 0 ? 0 : std::sqrt(sum / static_cast<double>(n));
}

double entropy_of(std::span<const float> weights) {
  double entropy = 0;
  for (const float weight : weights) {
    if (weight > 0) entropy -= static_cast<double>(weight) * base::log_f64(static_cast<double>(weight));
  }
  return entropy;
}

class Painter final : public engine::TraceObserver {
 public:
  Painter(Portrait& portrait, const engine::ModelShape& shape, std::int64_t n_tokens, std::int64_t max_maps)
      : portrait_(portrait), n_(n_tokens) {
    portrait_.layers.resize(static_cast<std::size_t>(shape.n_layer));
    for (std::int64_t i = 0; i < shape.n_layer; ++i) portrait_.layers[static_cast<std::size_t>(i)].layer = i;
    const std::int64_t all = std::max<std::int64_t>(1, shape.n_layer * shape.n_head);
    stride_ = std::max<std::int64_t>(1, (all + max_maps - 1) / std::max<std::int64_t>(1, max_maps));
  }
  bool wants(Stage stage, std::int64_t) override {
    return stage == Stage::kScores || stage == Stage::kResidual || stage == Stage::kMixerOut ||
           stage == Stage::kBlockOut || stage == Stage::kAttnNorm;
  }
  bool probes(std::int64_t) override { return true; }
  void see_row(std::int64_t layer, const ProbeRow& row) noexcept override {
    if (row.n_visible == 0) return;
    LayerPortrait& portrait = portrait_.layers[static_cast<std::size_t>(layer)];
    const bool first = !std::exchange(portrait.attends, true);
    const double low = row.after_mask_min, high = row.after_mask_max;
    portrait.score_min = first ? low : std::min(portrait.score_min, low);
    portrait.score_max = first ? high : std::max(portrait.score_max, high);
  }
  void see(const TraceView& view) override {
    LayerPortrait& layer = portrait_.layers[static_cast<std::size_t>(view.layer)];
    switch (view.stage) {
      case Stage::kResidual: layer.residual_rms = rms_of(view, &layer.residual_max); break;
      case Stage::kMixerOut: layer.mixer_rms = rms_of(view); break;
      case Stage::kBlockOut: layer.ffn_rms = rms_of(view); break;
      case Stage::kAttnNorm: layer.norm_rms = rms_of(view); break;
      case Stage::kScores: see_scores(view, layer); break;
      default: break;
    }
  }

 private:
  void see_scores(const TraceView& view, LayerPortrait& layer) {
    layer.attends = true;
    layer.entropy_min = 1e30;
    double sum = 0;
    for (std::int64_t head = 0; head < view.n_group; ++head) {
      const bool map = counter_++ % stride_ == 0;
      AttentionMap drawn{view.layer, head, n_, {}};
      if (map) drawn.weights.assign(static_cast<std::size_t>(n_ * n_), 0.0F);
      double of_head = 0;
      for (std::size_t row = 0; row < view.rows.size(); ++row) {
        const std::span weights(view.data + static_cast<std::int64_t>(row) * view.row_stride + head * view.width,
                                static_cast<std::size_t>(view.width));
        of_head += entropy_of(weights);
        const auto n = static_cast<std::size_t>(std::min(view.width, n_));
        if (map && std::ssize(view.rows) <= n_)
          std::copy_n(weights.data(), n, &drawn.weights[row * static_cast<std::size_t>(n_)]);
      }
      of_head /= static_cast<double>(std::max<std::size_t>(1, view.rows.size()));
      layer.entropy_min = std::min(layer.entropy_min, of_head);
      layer.entropy_max = std::max(layer.entropy_max, of_head);
      sum += of_head;
      if (map) portrait_.maps.push_back(std::move(drawn));
    }
    layer.entropy_mean = sum / static_cast<double>(std::max<std::int64_t>(1, view.n_group));
  }

  Portrait& portrait_;
  std::int64_t n_, stride_ = 1, counter_ = 0;
};

void add_prediction(Portrait& portrait, std::span<const float> logits, engine::TokenId next) {
  const float highest = *std::ranges::max_element(logits);
  double sum = 0, weighted = 0;
  for (const float logit : logits) {
    const double x = static_cast<double>(logit) - static_cast<double>(highest);
    const double e = base::exp_f64(x);
    sum += e;
    weighted += e * x;
  }
  portrait.top.push_back(1 / sum);
  portrait.entropy.push_back(base::log_f64(sum) - weighted / sum);
  portrait.nll.push_back(next < 0 ? 0 : -engine::log_probability(logits, next));
}

}  // namespace

Result<Portrait> portray(const engine::Model& model, std::string_view text, const PortraitOptions& options,
                         Executor& executor) {
  return base::guarded([&]() -> Result<Portrait> {
    ROWMAX_TRY(tokens, engine::encode_prompt(model, text, false));
    if (std::ssize(tokens) > options.max_tokens) tokens.resize(static_cast<std::size_t>(options.max_tokens));
    Portrait portrait;
    for (const engine::TokenId token : tokens) {
      ROWMAX_TRY(piece, model.tokenizer().piece(token, true));
      portrait.tokens.push_back(std::move(piece));
    }
    engine::SessionOptions session_options;
    session_options.context = std::max<std::int64_t>(1, std::ssize(tokens));
    ROWMAX_TRY(session, engine::Session::create(model, session_options, executor));
    Painter painter(portrait, model.shape(), std::ssize(tokens), options.max_maps);
    session.set_observer(&painter);
    ROWMAX_TRY(sequence, session.open());
    const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kAll};
    ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      add_prediction(portrait, session.logits(static_cast<std::int64_t>(i)),
                     i + 1 < tokens.size() ? tokens[i + 1] : -1);
    }
    return portrait;
  });
}

}  // namespace rowmax::doctor

#include "apps/server/attention_look.h"

#include <algorithm>
#include <numeric>
#include <span>

namespace rowmax::server {

using text::Json;

namespace {

std::span<const float> row_of(const engine::TraceView& view, std::int64_t head) {
  return {view.data + head * view.width, static_cast<std::size_t>(view.width)};
}

template <class Numbers>
Json floats_json(const Numbers& numbers) {
  Json list = Json::array();
  for (const float number : numbers) list.push_back(text::shortest(number));
  return list;
}

}  // namespace

void AttentionLook::see(const engine::TraceView& view) {
  n_token_ = view.width;
  Overview overview;
  overview.layer = view.layer;
  for (std::int64_t head = 0; head < view.n_group; ++head) {
    const std::span<const float> row = row_of(view, head);
    const auto largest = std::ranges::max_element(row);
    double sum = 0, squares = 0;
    for (const float weight : row) {
      const auto x = static_cast<double>(weight);
      sum += x;
      squares += x * x;
    }
    overview.largest.push_back(text::shortest(*largest));
    overview.largest_at.push_back(largest - row.begin());
    overview.effective.push_back(sum * sum / squares);
    if (wish_.key) overview.key.push_back(text::shortest(row[static_cast<std::size_t>(*wish_.key)]));
  }
  overviews_.push_back(std::move(overview));
  if (!wish_.layers || std::ranges::find(*wish_.layers, view.layer) != wish_.layers->end()) keep(view);
}

void AttentionLook::keep(const engine::TraceView& view) {
  if (error_) return;
  Layer layer{view.layer, wish_.heads, {}};
  if (layer.heads.empty()) {
    layer.heads.resize(static_cast<std::size_t>(view.n_group));
    std::iota(layer.heads.begin(), layer.heads.end(), 0);
  }
  for (const std::int64_t head : layer.heads) {
    if (head < view.n_group) continue;
    error_ = ApiError{400,
                      "heads: layer " + std::to_string(view.layer) + " has the heads 0 to " +
                          std::to_string(view.n_group - 1) + ", found " + std::to_string(head),
                      "heads", "invalid_value"};
    return;
  }
  const std::int64_t n_rows = wish_.reduce == HeadReduction::kNone ? std::ssize(layer.heads) : 1;
  n_weights_ += n_rows * view.width;
  if (n_weights_ > kMostWeights) {
    error_ = too_many_weights(n_weights_);
    return;
  }
  if (wish_.reduce == HeadReduction::kNone) {
    for (const std::int64_t head : layer.heads) {
      const std::span<const float> row = row_of(view, head);
      layer.weights.insert(layer.weights.end(), row.begin(), row.end());
    }
  } else {
    for (std::int64_t i = 0; i < view.width; ++i) {
      double sum = 0, largest = 0;
      for (const std::int64_t head : layer.heads) {
        const auto weight = static_cast<double>(row_of(view, head)[static_cast<std::size_t>(i)]);
        sum += weight;
        largest = std::max(largest, weight);
      }
      const double mean = sum / static_cast<double>(layer.heads.size());
      layer.weights.push_back(static_cast<float>(wish_.reduce == HeadReduction::kMean ? mean : largest));
    }
  }
  layers_.push_back(std::move(layer));
}

std::optional<ApiError> AttentionLook::error() const {
  if (error_) return error_;
  std::string known;
  for (const Overview& overview : overviews_) known += (known.empty() ? "" : ", ") + std::to_string(overview.layer);
  if (overviews_.empty()) return ApiError{501, "this model has no attention", "model", "not_supported"};
  for (const std::int64_t layer : wish_.layers.value_or(std::vector<std::int64_t>())) {
    if (std::ranges::find(layers_, layer, &Layer::layer) != layers_.end()) continue;
    return ApiError{400, "layers: expected layers with attention (" + known + "), found " + std::to_string(layer),
                    "layers", "invalid_value"};
  }
  return std::nullopt;
}

Json AttentionLook::layers_json() const {
  Json list = Json::array();
  for (const Layer& layer : layers_) {
    Json json = {{"layer", layer.layer}, {"heads", layer.heads}};
    const std::span<const float> all = layer.weights;
    const auto width = static_cast<std::size_t>(n_token_);
    Json rows = Json::array();
    for (std::size_t at = 0; at < all.size(); at += width) rows.push_back(floats_json(all.subspan(at, width)));
    json.append("weights", std::move(rows));
    list.push_back(std::move(json));
  }
  return list;
}

Json AttentionLook::overview_json() const {
  Json list = Json::array();
  for (const Overview& overview : overviews_) {
    Json json = {{"layer", overview.layer},
                 {"largest", overview.largest},
                 {"largest_at", overview.largest_at},
                 {"effective", overview.effective}};
    if (wish_.key) json.append("key", Json(overview.key));
    list.push_back(std::move(json));
  }
  return list;
}

ApiError too_many_weights(std::int64_t found) {
  return {400,
          "layers, heads: expected at most " + std::to_string(kMostWeights) + " weights, found " +
              std::to_string(found) + " or more: fewer layers or heads, or reduce",
          "layers", "invalid_value"};
}

}  // namespace rowmax::server

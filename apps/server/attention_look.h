// What a request wants to see of one token's attention, and an observer (rowmax/engine/trace.h) that keeps it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "apps/server/api_error.h"
#include "apps/text/json.h"
#include "rowmax/engine/trace.h"

namespace rowmax::server {

// Of several heads their rows, or one row made of them.
enum class HeadReduction : std::uint8_t { kNone, kMean, kMax };

// Most weights in one answer.
inline constexpr std::int64_t kMostWeights = std::int64_t{1} << 17;
ApiError too_many_weights(std::int64_t found);

struct AttentionWish {
  std::optional<std::vector<std::int64_t>> layers = {};  // whose weights are given; none: all
  std::vector<std::int64_t> heads = {};                  // of each of them; empty: all
  HeadReduction reduce = HeadReduction::kNone;
  std::optional<std::int64_t> key = {};  // a token whose weight the overview has, too
};

// The token is the only row of its batch (ObserveRequest). see() takes memory for what is wanted alone.
class AttentionLook final : public engine::TraceObserver {
 public:
  explicit AttentionLook(AttentionWish wish) : wish_(std::move(wish)) {}

  bool wants(engine::Stage stage, std::int64_t /*layer*/) override { return stage == engine::Stage::kScores; }
  void see(const engine::TraceView& view) override;

  // Why the wish could not be met, once the token was computed: a layer that has no attention, a head that is not there,
  // too many weights.
  std::optional<ApiError> error() const;
  // [{"layer", "heads", "weights": a row for each head, or one of all}], and of all layers with attention
  // [{"layer", "largest", "largest_at", "effective", "key"}], a number for each head.
  text::Json layers_json() const;
  text::Json overview_json() const;

 private:
  struct Layer {
    std::int64_t layer = 0;
    std::vector<std::int64_t> heads;
    std::vector<float> weights;  // [heads or one, n]
  };
  struct Overview {
    std::int64_t layer = 0;
    std::vector<double> largest, effective, key;  // of each head
    std::vector<std::int64_t> largest_at;
  };

  void keep(const engine::TraceView& view);

  const AttentionWish wish_;
  std::vector<Layer> layers_;
  std::vector<Overview> overviews_;
  std::int64_t n_token_ = 0, n_weights_ = 0;
  std::optional<ApiError> error_;
};

}  // namespace rowmax::server

// What --debug says: an observer of the forward pass that makes one line of text of each event.
//
//   debug KIND layer=3 head=0 token=17 key=value ...
//
// -1 stands for none. Values with spaces are in quotes; numbers are as short as they read back (f32) or have 9 digits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/cli/non_finite_tracer.h"
#include "rowmax/engine/model.h"
#include "rowmax/engine/session.h"
#include "rowmax/engine/trace.h"
#include "rowmax/probe.h"

namespace rowmax::cli {

enum class DebugKind : std::uint8_t {
  kScale,    // the scale of the scores, once a layer
  kRange,    // scores after the mask, of each row and head
  kMax,      // the row's maximum, the largest exponential
  kSum,      // of the exponentials, of the weights
  kRmsNorm,  // every norm, the final one too
  kGqa,      // heads of q and of K/V, which goes with which
  kLogits,
  kMlp,    // gate, up, and their product behind the activation
  kRope,   // what turns q, and its length before and after
  kQuant,  // formats of a layer's matrices, once a layer
  kNan,    // where the first number that is not finite came from
  kCount,
};
std::string_view debug_kind_name(DebugKind kind);  // "scale", "range", ...

struct DebugChoice {
  std::set<DebugKind> kinds;
  std::optional<std::set<std::int64_t>> layers, tokens;  // none: all
};

class DebugObserver final : public engine::TraceObserver {
 public:
  // The session that it is to observe, and which must outlive it; say gets whole lines, without a line end.
  DebugObserver(DebugChoice choice, const engine::Session& session, std::function<void(const std::string&)> say);

  bool wants(engine::Stage stage, std::int64_t layer) override;
  void see(const engine::TraceView& view) override;
  bool wants_norms() override { return wants_kind(DebugKind::kRmsNorm); }
  void see_norm(const engine::NormView& view) override;
  bool probes(std::int64_t layer) override;
  bool probes_row(std::int64_t layer, const engine::TraceRow& token, std::int64_t head) noexcept override;
  void see_row(std::int64_t layer, const ProbeRow& row) noexcept override;

 private:
  struct Event;
  using RowKey = std::pair<engine::SequenceId, std::int64_t>;  // sequence and position
  // What a row of the layer in hand has shown so far.
  struct RowNotes {
    std::int64_t n_head = 0, n_kv_head = 0, head_dim = 0;
    double q_mean = 0, q_norm = 0, q_raw_norm = 0;
    std::vector<float> q_raw;
    std::int64_t q_raw_width = 0;
    std::string k_means, v_means, gate, up;
  };

  bool wants_kind(DebugKind kind) const { return choice_.kinds.contains(kind); }
  bool chosen_layer(std::int64_t layer) const {
    return !choice_.layers || layer < 0 || choice_.layers->contains(layer);
  }
  bool chosen_token(std::int64_t token) const { return !choice_.tokens || choice_.tokens->contains(token); }
  bool needs(engine::Stage stage) const;
  void say_row(std::int64_t layer, const ProbeRow& row);
  void say_rope(std::int64_t layer, const ProbeRow& row, const RowNotes& notes);
  void say_logits(const engine::TraceRow& row, std::span<const float> logits);
  void say_formats(std::int64_t layer);
  void note_row(const engine::TraceView& view, const engine::TraceRow& row, std::span<const float> values);
  std::string source_of(std::string_view fact) const;
  std::string layer_value(std::string_view fact, std::int64_t layer) const;

  DebugChoice choice_;
  const engine::Session& session_;
  const engine::Model& model_;
  std::function<void(const std::string&)> say_;
  NonFiniteTracer tracer_;
  std::set<std::int64_t> scaled_, formatted_;  // layers that were told of
  std::map<RowKey, RowNotes> notes_;
};

}  // namespace rowmax::cli

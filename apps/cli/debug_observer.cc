#include "apps/cli/debug_observer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>

#include "rowmax/engine/edits.h"

namespace rowmax::cli {
namespace {

using engine::Stage;

constexpr std::string_view kKindNames[] = {"scale",  "range", "max",  "sum",   "rmsnorm", "gqa",
                                           "logits", "mlp",   "rope", "quant", "nan"};
static_assert(std::size(kKindNames) == static_cast<std::size_t>(DebugKind::kCount));

constexpr std::size_t kTop = 5;

std::string text_of(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::general, 9).ptr;
  return {text, end};
}

struct Digest {
  double mean = 0, mean_square = 0, min = std::numeric_limits<double>::infinity(), max = -min;
};
Digest digest_of(std::span<const float> values) {
  Digest digest;
  for (const float value : values) {
    const auto x = static_cast<double>(value);
    digest.mean += x;
    digest.mean_square += x * x;
    digest.min = std::min(digest.min, x);
    digest.max = std::max(digest.max, x);
  }
  digest.mean /= static_cast<double>(values.size());
  digest.mean_square /= static_cast<double>(values.size());
  return digest;
}

double squares_of(std::span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0,
                         [](double sum, float x) { return sum + static_cast<double>(x) * static_cast<double>(x); });
}

// The mean of each group, with commas.
std::string means_of(std::span<const float> row, std::int64_t n_group) {
  std::string text;
  const std::size_t width = row.size() / static_cast<std::size_t>(n_group);
  for (std::size_t at = 0; at < row.size(); at += width) {
    text += (at == 0 ? "" : ",") + text_of(digest_of(row.subspan(at, width)).mean);
  }
  return text;
}

}  // namespace

std::string_view debug_kind_name(DebugKind kind) { return kKindNames[static_cast<std::size_t>(kind)]; }

// A line as it grows.
struct DebugObserver::Event {
  Event(DebugKind kind, std::int64_t layer, std::int64_t head, const engine::TraceRow& token)
      : line("debug " + std::string(debug_kind_name(kind)) + " layer=" + std::to_string(layer) +
             " head=" + std::to_string(head) + " token=" + std::to_string(token.position)) {
    if (token.sequence != 0) add("sequence", token.sequence);
  }
  Event& add(std::string_view key, const std::string& value) {
    const bool quoted = value.empty() || value.find_first_of(" \"") != std::string::npos;
    line += " " + std::string(key) + "=" + (quoted ? "\"" + value + "\"" : value);
    return *this;
  }
  Event& add(std::string_view key, std::int64_t value) { return add(key, std::to_string(value)); }
  Event& add(std::string_view key, int value) { return add(key, std::to_string(value)); }
  Event& add(std::string_view key, double value) { return add(key, text_of(value)); }
  Event& add(std::string_view key, const Digest& digest) {
    const std::string name(key);
    return add(name + "_min", digest.min)
        .add(name + "_max", digest.max)
        .add(name + "_rms", std::sqrt(digest.mean_square));
  }
  std::string line;
};

DebugObserver::DebugObserver(DebugChoice choice, const engine::Session& session,
                             std::function<void(const std::string&)> say)
    : choice_(std::move(choice)), session_(session), model_(session.model()), say_(std::move(say)) {}

bool DebugObserver::needs(Stage stage) const {
  const auto any = [&](std::initializer_list<DebugKind> kinds) {
    return std::ranges::any_of(kinds, [&](DebugKind kind) { return wants_kind(kind); });
  };
  switch (stage) {
    case Stage::kAttnNorm: return any({DebugKind::kQuant});
    case Stage::kQRaw:
    case Stage::kQ: return any({DebugKind::kRope, DebugKind::kGqa, DebugKind::kScale});
    case Stage::kK:
    case Stage::kV: return any({DebugKind::kGqa});
    case Stage::kGate:
    case Stage::kUp:
    case Stage::kAct:
    case Stage::kSharedGate:
    case Stage::kSharedUp:
    case Stage::kSharedAct: return any({DebugKind::kMlp});
    case Stage::kLogits: return any({DebugKind::kLogits});
    default: return false;
  }
}

bool DebugObserver::wants(Stage stage, std::int64_t layer) {
  return wants_kind(DebugKind::kNan) || (chosen_layer(layer) && needs(stage));
}

// The tracer looks at every layer and token: where something began does not depend on what is chosen to be shown.
void DebugObserver::see(const engine::TraceView& view) {
  if (wants_kind(DebugKind::kNan)) {
    tracer_.see(view, [&](const NonFiniteTracer::Origin& origin) {
      Event event(DebugKind::kNan, origin.layer, origin.head, origin.token);
      event.add("stage", std::string(engine::stage_name(origin.stage)))
          .add("op", std::string(NonFiniteTracer::operation(origin.stage)))
          .add("row", origin.row)
          .add("column", origin.column)
          .add("value", static_cast<double>(origin.value))
          .add("non_finite", origin.n_non_finite)
          .add("inputs", origin.inputs == NonFiniteTracer::Inputs::kWeights ? "weights" : "finite");
      if (origin.n_kv >= 0) event.add("visible", origin.n_visible).add("keys", origin.n_kv);
      say_(event.line);
    });
  }
  if (!chosen_layer(view.layer) || !needs(view.stage)) return;
  if (view.stage == Stage::kAttnNorm && formatted_.insert(view.layer).second) say_formats(view.layer);
  if (view.stage == Stage::kQRaw || view.stage == Stage::kGate) notes_.clear();  // another layer, or its other half
  for (std::size_t i = 0; i < view.rows.size(); ++i) {
    if (!chosen_token(view.rows[i].position)) continue;
    note_row(view, view.rows[i],
             {view.data + static_cast<std::int64_t>(i) * view.row_stride,
              static_cast<std::size_t>(view.n_group * view.width)});
  }
}

void DebugObserver::note_row(const engine::TraceView& view, const engine::TraceRow& row,
                             std::span<const float> values) {
  if (view.stage == Stage::kLogits) return say_logits(row, values);
  if (view.stage == Stage::kAttnNorm) return;
  RowNotes& notes = notes_[{row.sequence, row.position}];
  switch (view.stage) {
    case Stage::kQRaw:
      notes.q_raw.assign(values.begin(), values.end());
      notes.q_raw_width = view.width;
      break;
    case Stage::kQ:
      notes.n_head = view.n_group;
      notes.head_dim = view.width;
      notes.q_mean = digest_of(values).mean;
      notes.q_norm = std::sqrt(squares_of(values));
      notes.q_raw_norm = 0;  // of heads without the gates that may lie behind them
      for (std::size_t at = 0; at < notes.q_raw.size(); at += static_cast<std::size_t>(notes.q_raw_width)) {
        notes.q_raw_norm += squares_of(std::span(notes.q_raw).subspan(at, static_cast<std::size_t>(view.width)));
      }
      notes.q_raw_norm = std::sqrt(notes.q_raw_norm);
      break;
    case Stage::kK:
      notes.n_kv_head = view.n_group;
      notes.k_means = means_of(values, view.n_group);
      break;
    case Stage::kV: notes.v_means = means_of(values, view.n_group); break;
    case Stage::kGate:
      notes.gate = Event(DebugKind::kMlp, view.layer, -1, row).add("gate", digest_of(values)).line;
      break;
    case Stage::kSharedGate:
      notes.gate =
          Event(DebugKind::kMlp, view.layer, -1, row).add("expert", "shared").add("gate", digest_of(values)).line;
      break;
    case Stage::kSharedUp:
    case Stage::kUp: {
      Event event(DebugKind::kMlp, view.layer, -1, row);
      event.line = notes.gate;
      notes.gate = event.add("up", digest_of(values)).line;
      break;
    }
    case Stage::kSharedAct:
    case Stage::kAct: {
      Event event(DebugKind::kMlp, view.layer, -1, row);
      event.line = notes.gate;
      event.add("act", digest_of(values))
          .add("zeros", std::ranges::count(values, 0.0f))
          .add("width", std::ssize(values));
      say_(event.line);
      break;
    }
    default: break;
  }
}

void DebugObserver::see_norm(const engine::NormView& view) {
  if (!chosen_layer(view.layer)) return;
  for (std::size_t i = 0; i < view.rows.size(); ++i) {
    if (!chosen_token(view.rows[i].position)) continue;
    const float* x = view.x + static_cast<std::int64_t>(i) * view.x_stride;
    const float* y = view.y + static_cast<std::int64_t>(i) * view.y_stride;
    for (std::int64_t group = 0; group < view.n_group; ++group) {
      const auto width = static_cast<std::size_t>(view.width);
      const std::span<const float> in(x + group * view.width, width), out(y + group * view.width, width);
      const double mean_square = squares_of(in) / static_cast<double>(width);
      Event event(DebugKind::kRmsNorm, view.layer, view.n_group > 1 ? group : -1, view.rows[i]);
      event.add("norm", std::string(view.name))
          .add("mean_square", mean_square)
          .add("rms", std::sqrt(mean_square))
          .add("output_l2", std::sqrt(squares_of(out)))
          .add("eps", static_cast<double>(view.eps))
          .add("source", source_of("rms_norm_eps"))
          .add("non_finite", std::ranges::count_if(in, [](float value) { return !std::isfinite(value); }));
      say_(event.line);
    }
  }
}

bool DebugObserver::probes(std::int64_t layer) {
  if (wants_kind(DebugKind::kNan)) return true;
  if (!chosen_layer(layer)) return false;
  for (const DebugKind kind :
       {DebugKind::kScale, DebugKind::kRange, DebugKind::kMax, DebugKind::kSum, DebugKind::kGqa, DebugKind::kRope}) {
    if (wants_kind(kind)) return true;
  }
  return false;
}

bool DebugObserver::probes_row(std::int64_t layer, const engine::TraceRow& token, std::int64_t head) noexcept {
  if (head == 0 && wants_kind(DebugKind::kNan)) return true;
  if (!chosen_layer(layer) || !chosen_token(token.position)) return false;
  if (wants_kind(DebugKind::kRange) || wants_kind(DebugKind::kMax) || wants_kind(DebugKind::kSum)) return true;
  return head == 0;
}

void DebugObserver::see_row(std::int64_t layer, const ProbeRow& row) noexcept {
  try {
    if (wants_kind(DebugKind::kNan)) tracer_.see_row(layer, row);
    if (chosen_layer(layer) && chosen_token(row.position)) say_row(layer, row);
  } catch (...) {  // no memory for a line: the next ones may have it
  }
}

void DebugObserver::say_row(std::int64_t layer, const ProbeRow& row) {
  const engine::TraceRow token{static_cast<engine::SequenceId>(row.sequence), row.position};
  const RowNotes& notes = notes_[{token.sequence, token.position}];
  if (row.head == 0 && wants_kind(DebugKind::kScale) && scaled_.insert(layer).second) {
    Event event(DebugKind::kScale, layer, row.head, token);
    event.add("scale", row.scale)
        .add("expected", 1 / std::sqrt(static_cast<double>(notes.head_dim)))
        .add("head_dim", notes.head_dim)
        .add("measured", row.measured_scale)
        .add("error", row.scale_error)
        .add("softcap", static_cast<double>(row.softcap))
        .add("source", source_of("attention_scale"));
    say_(event.line);
  }
  if (row.head == 0 && wants_kind(DebugKind::kGqa)) {
    Event event(DebugKind::kGqa, layer, -1, token);
    event.add("heads", notes.n_head).add("head_dim", notes.head_dim).add("keys", row.n_kv).add("q_mean", notes.q_mean);
    if (notes.n_kv_head > 0) {
      std::string map;
      const std::int64_t group = notes.n_head / notes.n_kv_head;
      for (std::int64_t head = 0; head < notes.n_head; ++head) {
        map += (head == 0 ? "" : ",") + std::to_string(head) + ":" + std::to_string(head / group);
      }
      event.add("kv_heads", notes.n_kv_head)
          .add("map", map)
          .add("k_means", notes.k_means)
          .add("v_means", notes.v_means);
    } else {
      event.add("kv_heads", "another layer's");
    }
    say_(event.line);
  }
  if (row.head == 0 && wants_kind(DebugKind::kRope)) say_rope(layer, row, notes);
  if (wants_kind(DebugKind::kRange)) {
    Event event(DebugKind::kRange, layer, row.head, token);
    event.add("min", static_cast<double>(row.after_mask_min))
        .add("max", static_cast<double>(row.after_mask_max))
        .add("rms", std::sqrt(row.after_mask_mean_square))
        .add("visible", row.n_visible)
        .add("keys", row.n_kv);
    say_(event.line);
  }
  if (wants_kind(DebugKind::kMax)) {
    Event event(DebugKind::kMax, layer, row.head, token);
    event.add("max", static_cast<double>(row.row_max)).add("largest_exp", static_cast<double>(row.largest_exp));
    say_(event.line);
  }
  if (wants_kind(DebugKind::kSum)) {
    Event event(DebugKind::kSum, layer, row.head, token);
    event.add("sum", row.sum).add("weights", row.weights_sum).add("lse", static_cast<double>(row.lse));
    say_(event.line);
  }
}

void DebugObserver::say_rope(std::int64_t layer, const ProbeRow& row, const RowNotes& notes) {
  Event event(DebugKind::kRope, layer, -1, {static_cast<engine::SequenceId>(row.sequence), row.position});
  const std::string pairing = layer_value("rope_pairing", layer);
  event.add("pairing", pairing.empty() ? "none" : pairing);
  if (!pairing.empty()) {
    event.add("base", layer_value("rope_base", layer))
        .add("dims", layer_value("rope_dimensions", layer))
        .add("scale", layer_value("rope_scale", layer));
  }
  say_(event.add("q_before", notes.q_raw_norm).add("q_after", notes.q_norm).line);
}

void DebugObserver::say_logits(const engine::TraceRow& row, std::span<const float> logits) {
  const Digest digest = digest_of(logits);
  double squares = 0;
  for (const float value : logits) {
    const double distance = static_cast<double>(value) - digest.mean;
    squares += distance * distance;
  }
  std::vector<std::int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto n = std::min(kTop, order.size());
  const auto larger = [&](std::int64_t a, std::int64_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    if (std::isnan(x) || std::isnan(y)) return std::isnan(x) == std::isnan(y) ? a < b : std::isnan(y);
    return x != y ? x > y : a < b;
  };
  std::ranges::partial_sort(order, order.begin() + static_cast<std::ptrdiff_t>(n), larger);
  std::string top;
  for (const std::int64_t id : std::span(order).first(n)) {
    top += (top.empty() ? "" : ",") + std::to_string(id) + ":" +
           text_of(static_cast<double>(logits[static_cast<std::size_t>(id)]));
  }
  Event event(DebugKind::kLogits, -1, -1, row);
  event.add("mean", digest.mean)
      .add("std", std::sqrt(squares / static_cast<double>(logits.size())))
      .add("min", digest.min)
      .add("max", digest.max)
      .add("top", top);
  say_(event.line);
}

// What the layer's matrices are stored as, and what meets them. Those of no layer come with the first.
void DebugObserver::say_formats(std::int64_t layer) {
  const auto say = [&](std::int64_t of, auto mine) {
    Event event(DebugKind::kQuant, of, -1, {0, -1});
    const bool exact = model_.options().activations == engine::Activations::kF32;
    event.add("activations", exact ? "f32" : "int8").add("kernels", std::string(session_.kernels().name));
    for (const engine::GgufTensor& tensor : model_.file().tensors()) {
      if (tensor.shape.size() < 2 || !mine(tensor.name)) continue;
      std::string_view name = tensor.name;
      if (of >= 0) name.remove_prefix(name.find('.', 4) + 1);
      if (name.ends_with(".weight")) name.remove_suffix(7);
      event.add(name, std::string(engine::gguf_tensor_format_name(tensor)));
    }
    say_(event.line);
  };
  if (formatted_.size() == 1) say(-1, [](std::string_view name) { return !name.starts_with("blk."); });
  const std::string start = "blk." + std::to_string(layer) + ".";
  say(layer, [&](std::string_view name) { return name.starts_with(start); });
}

// Where the engine has a fact from; what --convention says goes before the file.
std::string DebugObserver::source_of(std::string_view fact) const {
  for (const auto& [name, value] : model_.options().edits) {
    if (name == fact) return "convention " + name + "=" + value;
  }
  for (const engine::ModelFact& known : model_.description().facts) {
    if (known.name == fact) return known.source;
  }
  return "unknown";
}

std::string DebugObserver::layer_value(std::string_view fact, std::int64_t layer) const {
  auto value = engine::edit_value(model_, fact, layer);
  return value.ok() ? std::move(value).value() : std::string();
}

}  // namespace rowmax::cli

// References: read from files, checked, and made by our own engine.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include "base/guarded.h"
#include "base/half.h"
#include "engine/io/json.h"
#include "engine/io/mapped_file.h"
#include "engine/io/npz.h"
#include "engine/io/safetensors.h"
#include "engine/io/text.h"
#include "rowmax/doctor/compare.h"
#include "rowmax/try.h"

namespace rowmax::doctor {
namespace {

using engine::Stage;
using engine::TokenId;

constexpr std::size_t kMostBytes = std::size_t{4} << 30;

// A tensor of either kind of file.
struct RawTensor {
  std::string name, dtype;  // "F32" or "<f4"
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

template <class T>
T element(std::span<const std::byte> data, std::size_t i) {
  T value;
  std::memcpy(&value, data.data() + i * sizeof(T), sizeof value);
  return value;
}

template <class T, class Convert>
std::vector<float> converted(std::span<const std::byte> data, Convert convert) {
  std::vector<float> out(data.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = convert(element<T>(data, i));
  return out;
}

std::optional<std::vector<float>> floats_of(const RawTensor& tensor) {
  const std::string& type = tensor.dtype;
  const auto plain = [](auto value) { return static_cast<float>(value); };
  if (type == "F32" || type == "<f4") return converted<float>(tensor.data, plain);
  if (type == "F64" || type == "<f8") return converted<double>(tensor.data, plain);
  if (type == "F16" || type == "<f2") return converted<std::uint16_t>(tensor.data, base::f16_to_f32);
  if (type == "BF16") return converted<std::uint16_t>(tensor.data, base::bf16_to_f32);
  return std::nullopt;
}

std::optional<std::vector<TokenId>> ids_of(const RawTensor& tensor) {
  const auto fits = [](std::int64_t id) { return id >= 0 && id <= 0x7FFFFFFF; };
  std::vector<TokenId> out;
  const bool wide = tensor.dtype == "I64" || tensor.dtype == "<i8";
  if (!wide && tensor.dtype != "I32" && tensor.dtype != "<i4") return std::nullopt;
  for (std::size_t i = 0; i < tensor.data.size() / (wide ? 8 : 4); ++i) {
    const std::int64_t id = wide ? element<std::int64_t>(tensor.data, i) : element<std::int32_t>(tensor.data, i);
    if (!fits(id)) return std::nullopt;
    out.push_back(static_cast<TokenId>(id));
  }
  return out;
}

// "blk.3.q" and "logits"; nothing for a name that is no stage.
std::optional<std::pair<Stage, std::int64_t>> parse_name(std::string_view name) {
  constexpr std::string_view kBlock = "blk.";
  if (!name.starts_with(kBlock)) {
    const auto stage = engine::find_stage(name);
    const bool whole = stage == Stage::kEmbedding || stage == Stage::kOutputNorm || stage == Stage::kLogits;
    if (!whole) return std::nullopt;
    return std::pair{*stage, std::int64_t{-1}};
  }
  name.remove_prefix(kBlock.size());
  std::int64_t layer = 0;
  const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (code != std::errc() || layer < 0 || end == name.data() + name.size() || *end != '.') return std::nullopt;
  const auto stage = engine::find_stage(name.substr(static_cast<std::size_t>(end - name.data()) + 1));
  if (!stage) return std::nullopt;
  return std::pair{*stage, layer};
}

Status add_stage(Reference& reference, const RawTensor& tensor) {
  const auto place = parse_name(tensor.name);
  const std::string where = reference.name + ": " + tensor.name;
  if (!place) {
    reference.notices.push_back(where + " is no stage of a forward pass, and is not compared");
    return {};
  }
  auto values = floats_of(tensor);
  if (!values) {
    return Error{ErrorCode::kCorrupt, where + ": expected f64, f32, f16 or bf16, found " + tensor.dtype};
  }
  // [1, ..., 1, tokens, width ...]: leading 1s are a batch, unless that 1 is the last token's row.
  const auto n_token = static_cast<std::int64_t>(reference.tokens.size());
  std::span<const std::int64_t> shape = tensor.shape;
  while (shape.size() > 2 && shape[0] == 1 && shape[1] == n_token) shape = shape.subspan(1);
  const std::int64_t n_row = shape.empty() ? 0 : shape.size() == 1 ? 1 : shape[0];
  if (n_row != n_token && n_row != 1) {
    return Error{ErrorCode::kCorrupt, where + ": expected a row for each of the " + std::to_string(n_token) +
                                          " tokens, or one for the last, found " + std::to_string(n_row)};
  }
  StageValues stage;
  stage.stage = place->first;
  stage.layer = place->second;
  stage.width = static_cast<std::int64_t>(values->size()) / n_row;
  if (stage.width == 0) return Error{ErrorCode::kCorrupt, where + ": has no numbers"};
  for (std::int64_t i = 0; i < n_row; ++i) stage.positions.push_back(n_token - n_row + i);
  stage.values = std::move(*values);
  reference.stages.push_back(std::move(stage));
  return {};
}

std::string list_of(std::span<const TokenId> tokens) {
  std::string out;
  for (std::size_t i = 0; i < std::min<std::size_t>(tokens.size(), 12); ++i) {
    out += (i == 0 ? "" : ",") + std::to_string(tokens[i]);
  }
  return out + (tokens.size() > 12 ? ",..." : "");
}

Status take_tokens(Reference& reference, std::span<const RawTensor> tensors, std::span<const TokenId> given) {
  for (const RawTensor& tensor : tensors) {
    if (tensor.name != "tokens" && tensor.name != "input_ids") continue;
    auto ids = ids_of(tensor);
    if (!ids) {
      return Error{ErrorCode::kCorrupt, reference.name + ": " + tensor.name + ": expected token ids as i32 or i64"};
    }
    reference.tokens = std::move(*ids);
  }
  if (const auto text = reference.metadata.find("tokens"); text != reference.metadata.end()) {
    ROWMAX_TRY(json, engine::parse_json(text->second, reference.name + ": tokens"));
    reference.tokens.clear();
    for (const engine::Json id : json.root().elements()) {
      const std::int64_t value = id.as_int().value_or(-1);
      if (value < 0 || value > 0x7FFFFFFF) {
        return Error{ErrorCode::kCorrupt, reference.name + ": tokens: expected a list of ids, found " + id.text()};
      }
      reference.tokens.push_back(static_cast<TokenId>(value));
    }
    reference.metadata.erase(text);
  }
  if (reference.tokens.empty()) reference.tokens.assign(given.begin(), given.end());
  if (reference.tokens.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 reference.name + ": does not say its token ids (metadata or array `tokens`); they must be given"};
  }
  if (!given.empty() && !std::ranges::equal(given, reference.tokens)) {
    const auto [a, b] = std::ranges::mismatch(given, reference.tokens);
    return Error{ErrorCode::kInvalidArgument, reference.name + ": was made from other token ids: expected " +
                                                  list_of(given) + ", found " + list_of(reference.tokens) +
                                                  "; the first difference is token " +
                                                  std::to_string(a - given.begin())};
  }
  return {};
}

bool is_stream(Stage stage) {
  constexpr Stage kStreams[] = {Stage::kEmbedding, Stage::kAttnNorm, Stage::kMixerOut,  Stage::kFfnNorm,
                                Stage::kBlockOut,  Stage::kResidual, Stage::kOutputNorm};
  return std::ranges::find(kStreams, stage) != std::end(kStreams);
}

// Without a norm in front of its mixer (OLMo 2) a layer sees what the one before it gave.
bool is_seen(const StageValues& input, const StageValues& given) {
  if (input.stage != Stage::kAttnNorm) return false;
  return input.layer == 0 ? given.stage == Stage::kEmbedding
                          : given.stage == Stage::kResidual && given.layer == input.layer - 1;
}

// Stages whose numbers no computation makes equal bit for bit: one stage of two layers, or two of the stream.
bool must_differ(const StageValues& a, const StageValues& b) {
  if (a.values.size() != b.values.size()) return false;
  if (a.stage == b.stage) {
    // With one token every head gives it the whole weight.
    const bool few = a.stage == Stage::kScores || a.stage == Stage::kExperts || a.stage == Stage::kRouter;
    return !few;
  }
  return is_stream(a.stage) && is_stream(b.stage) && !is_seen(a, b) && !is_seen(b, a);
}

Status check_distinct(const Reference& reference) {
  std::map<std::uint64_t, std::vector<const StageValues*>> by_hash;
  for (const StageValues& stage : reference.stages) {
    std::uint64_t hash = 1469598103934665603u;
    bool zero = true;
    for (const float value : stage.values) {
      std::uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      hash = (hash ^ bits) * 1099511628211u;
      zero &= value == 0;
    }
    if (zero) continue;
    for (const StageValues* other : by_hash[hash]) {
      if (!must_differ(*other, stage) || other->values != stage.values) continue;
      return Error{ErrorCode::kCorrupt, reference.name + ": " + stage_text(other->stage, other->layer) + " and " +
                                            stage_text(stage.stage, stage.layer) +
                                            " hold the same bits: the dump stored pointers to buffers that were used "
                                            "again; copy each stage when it is computed"};
    }
    by_hash[hash].push_back(&stage);
  }
  return {};
}

Result<std::vector<RawTensor>> tensors_of(const engine::SafetensorsFile& file) {
  std::vector<RawTensor> out;
  for (const engine::SafetensorsTensor& tensor : file.tensors()) {
    out.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.data});
  }
  return out;
}

Result<Reference> reference_of(std::string name, std::map<std::string, std::string> metadata,
                               std::span<const RawTensor> tensors, std::span<const TokenId> tokens) {
  Reference reference;
  reference.name = std::move(name);
  reference.metadata = std::move(metadata);
  ROWMAX_RETURN_IF_ERROR(take_tokens(reference, tensors, tokens));
  for (const RawTensor& tensor : tensors) {
    if (tensor.name == "tokens" || tensor.name == "input_ids") continue;
    ROWMAX_RETURN_IF_ERROR(add_stage(reference, tensor));
  }
  ROWMAX_RETURN_IF_ERROR(check_reference(reference));
  return reference;
}

// Embedding, the layers, what follows them.
std::pair<std::int64_t, Stage> order_of(const StageValues& stage) {
  const bool behind = stage.layer < 0 && stage.stage != Stage::kEmbedding;
  return {behind ? INT64_MAX : stage.layer, stage.stage};
}

// Keeps a copy of everything.
class Collector final : public engine::TraceObserver {
 public:
  explicit Collector(std::int64_t n_token) : n_token_(n_token) {}
  bool wants(Stage, std::int64_t) override { return n_bytes < kMostBytes; }
  void see(const engine::TraceView& view) override {
    StageValues& to = at(view);
    if (view.stage == Stage::kState) {  // the last one stands
      to.positions.clear();
      to.values.clear();
    }
    // Scores are as wide as there are keys when they are computed; in the end, as many as tokens.
    const std::int64_t width = view.stage == Stage::kScores ? n_token_ : view.width;
    to.width = view.n_group * width;
    for (std::size_t i = 0; i < view.rows.size(); ++i) {
      to.positions.push_back(view.rows[i].position);
      for (std::int64_t group = 0; group < view.n_group; ++group) {
        const float* from = view.data + static_cast<std::int64_t>(i) * view.row_stride + group * view.width;
        to.values.insert(to.values.end(), from, from + view.width);
        to.values.resize(to.values.size() + static_cast<std::size_t>(width - view.width), 0.0f);
      }
      n_bytes += static_cast<std::size_t>(to.width) * sizeof(float);
    }
  }
  std::vector<StageValues> stages;
  std::size_t n_bytes = 0;

 private:
  StageValues& at(const engine::TraceView& view) {
    const auto found = std::ranges::find_if(
        stages, [&](const StageValues& s) { return s.stage == view.stage && s.layer == view.layer; });
    if (found != stages.end()) return *found;
    stages.emplace_back();
    stages.back().stage = view.stage;
    stages.back().layer = view.layer;
    return stages.back();
  }
  std::int64_t n_token_;
};

}  // namespace

std::string stage_text(Stage stage, std::int64_t layer) {
  const std::string name(engine::stage_name(stage));
  return layer < 0 ? name : "blk." + std::to_string(layer) + "." + name;
}

const StageValues* Reference::find(Stage stage, std::int64_t layer) const {
  const auto found =
      std::ranges::find_if(stages, [&](const StageValues& s) { return s.stage == stage && s.layer == layer; });
  return found == stages.end() ? nullptr : &*found;
}

Status check_reference(Reference& reference) {
  std::ranges::stable_sort(reference.stages, {}, order_of);
  for (std::size_t i = 0; i < reference.stages.size(); ++i) {
    const StageValues& stage = reference.stages[i];
    const std::string where = reference.name + ": " + stage_text(stage.stage, stage.layer);
    if (i > 0 && order_of(reference.stages[i - 1]) == order_of(stage)) {
      return Error{ErrorCode::kCorrupt, where + " is there twice"};
    }
    const auto bad = std::ranges::find_if(stage.values, [](float value) { return !std::isfinite(value); });
    if (bad == stage.values.end()) continue;
    const std::int64_t at = bad - stage.values.begin();
    return Error{ErrorCode::kNumericFault,
                 where + ": number " + std::to_string(at % stage.width) + " of token " +
                     std::to_string(stage.positions[static_cast<std::size_t>(at / stage.width)]) +
                     (std::isnan(*bad) ? " is NaN" : " is infinite") + "; a reference must be finite"};
  }
  return check_distinct(reference);
}

Result<Reference> read_reference(const std::string& path, std::span<const TokenId> tokens) {
  return base::guarded([&]() -> Result<Reference> {
    if (path.ends_with(".npz")) {
      ROWMAX_TRY(map, engine::MappedFile::open(path));
      ROWMAX_TRY(arrays, engine::read_npz(map.bytes(), path));
      std::vector<RawTensor> tensors;
      for (const engine::NpyArray& array : arrays)
        tensors.push_back({array.name, array.dtype, array.shape, array.data});
      return reference_of(path, {}, tensors, tokens);
    }
    ROWMAX_TRY(file, engine::SafetensorsFile::open(path));
    ROWMAX_TRY(tensors, tensors_of(file));
    return reference_of(path, file.metadata(), tensors, tokens);
  });
}

Result<Reference> run_reference(const engine::Model& model, const engine::SessionOptions& options,
                                std::span<const TokenId> tokens, Executor& executor) {
  return base::guarded([&]() -> Result<Reference> {
    engine::SessionOptions chosen = options;
    chosen.context = std::max<std::int64_t>(std::ssize(tokens), 1);
    chosen.checkpoint_bytes = 0;
    ROWMAX_TRY(session, engine::Session::create(model, chosen, executor));
    Collector collector(std::ssize(tokens));
    session.set_observer(&collector);
    ROWMAX_TRY(sequence, session.open());
    const engine::BatchItem item{sequence, tokens, engine::LogitsFor::kAll};
    ROWMAX_RETURN_IF_ERROR(session.forward({&item, 1}));
    if (collector.n_bytes >= kMostBytes) {
      return Error{ErrorCode::kLimit,
                   "the stages of " + std::to_string(tokens.size()) + " tokens take more than 4096 MiB: fewer tokens"};
    }
    Reference reference;
    reference.name = "rowmax";
    reference.tokens.assign(tokens.begin(), tokens.end());
    reference.stages = std::move(collector.stages);
    std::ranges::stable_sort(reference.stages, {}, order_of);
    return reference;
  });
}

}  // namespace rowmax::doctor

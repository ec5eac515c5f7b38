#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include "engine/model/spec_edits.h"

namespace rowmax::engine {
namespace {

// get: the value; empty where no tensor has it. set: what is expected instead of a value that cannot be; empty where it
// was set.
struct Fact {
  EditInfo info;
  std::string (*get)(const WeightSources& sources);
  std::string (*set)(ModelSpec& spec, WeightSources& sources, const std::string& value);
};

// ---- tensors of the file

struct Use {
  WeightSource* source;
  WeightKind kind;
};

// What each tensor is used for; that of a tied head twice.
std::vector<Use> all_uses(WeightSources& sources) {
  std::vector<Use> out{{&sources.token_embedding, WeightKind::kMatrix},
                       {&sources.output_norm, WeightKind::kVector},
                       {&sources.output, WeightKind::kMatrix}};
  if (sources.layer_embedding.present()) {
    out.push_back({&sources.layer_embedding, WeightKind::kMatrix});
    out.push_back({&sources.layer_projection, WeightKind::kMatrix});
    out.push_back({&sources.layer_projection_norm, WeightKind::kVector});
  }
  for (LayerSources& layer : sources.layers) {
    for (const WeightInfo& info : weight_table()) {
      if (layer[info.id].present()) out.push_back({&layer[info.id], info.kind});
    }
  }
  return out;
}
std::vector<Use> uses_of(WeightSources& sources, std::string_view name) {
  std::vector<Use> out = all_uses(sources);
  std::erase_if(out, [&](const Use& use) { return use.source->name != name; });
  return out;
}

std::string no_tensor(std::string_view name) {
  return "tensors that the model uses ('" + std::string(name) + "' is none)";
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::string or_else(const std::string& changed, const char* as_stored) { return changed.empty() ? as_stored : changed; }
const char* yes_no(bool value) { return value ? "yes" : "no"; }

// ---- the head, rows of q and k, norms

std::string tie_head(ModelSpec&, WeightSources& sources, const std::string& value) {
  if (value == "no") return "yes (the file has no output.weight)";
  if (value != "yes") return "yes or no";
  sources.output = sources.token_embedding;
  sources.tied = true;
  return {};
}

// Of models that have rows of k.
std::string get_permutation(const WeightSources& sources) {
  const bool any =
      std::ranges::any_of(sources.layers, [](const LayerSources& layer) { return layer[W::kAttnK].present(); });
  return !any ? "" : sources.qk_rows == RopePairing::kAdjacent ? "llama" : "none";
}

// What converters do to q and k for RoPE of adjacent pairs is done or undone, as they do it: over whole heads.
std::string permute_heads(ModelSpec& spec, WeightSources& sources, const std::string& value) {
  if (value != "none" && value != "llama") return "none or llama";
  const bool in_pairs = value == "llama";
  for (std::size_t i = 0; i < sources.layers.size(); ++i) {
    const AttentionSpec& attention = spec.layers[i].attention;
    if (spec.layers[i].mixer != MixerKind::kAttention) continue;
    const RowOrder keys{attention.head_dim, attention.head_dim / 2, in_pairs};
    RowOrder queries = keys;
    if (attention.output_gate) queries.run *= 2;  // a head's gate lies behind its q
    for (const W id : {W::kAttnQ, W::kAttnQBias}) sources.layers[i][id].order = queries;
    for (const W id : {W::kAttnK, W::kAttnKBias}) sources.layers[i][id].order = keys;
  }
  sources.qk_rows = in_pairs ? RopePairing::kAdjacent : RopePairing::kHalves;
  return {};
}

// A delta net's own norm counts as it is even where the others' weights are stored less one (Qwen 3.5).
constexpr W kNorms[] = {W::kAttnNorm,        W::kAttnQNorm,   W::kAttnKNorm,   W::kAttnSubNorm,   W::kFfnSubNorm,
                        W::kPostAttnNorm,    W::kFfnNorm,     W::kPostFfnNorm, W::kExpertsNorm,   W::kPostDenseNorm,
                        W::kPostExpertsNorm, W::kLatentQNorm, W::kLatentNorm,  W::kLayerInputNorm};

std::string shift_norms(ModelSpec&, WeightSources& sources, const std::string& value) {
  if (value != "plain" && value != "plus_one" && value != "minus_one") return "plain, plus_one or minus_one";
  const float shift = value == "plain" ? 0.0f : value == "plus_one" ? 1.0f : -1.0f;
  sources.output_norm.shift = shift;
  sources.layer_projection_norm.shift = shift;
  for (LayerSources& layer : sources.layers) {
    for (const W id : kNorms) layer[id].shift = shift;
  }
  sources.norm_weights = value;
  return {};
}

std::string get_taps(const WeightSources& sources) {
  const bool any = std::ranges::any_of(sources.layers, [](const LayerSources& layer) {
    return layer[W::kDeltaConv].present() || layer[W::kShortConv].present();
  });
  return any ? or_else(sources.conv_taps, "forward") : "";
}
std::string turn_taps(ModelSpec&, WeightSources& sources, const std::string& value) {
  if (value != "forward" && value != "reversed") return "forward or reversed";
  for (LayerSources& layer : sources.layers) {
    for (const W id : {W::kDeltaConv, W::kShortConv}) layer[id].reversed = value == "reversed";
  }
  sources.conv_taps = value;
  return {};
}

// ---- matrices that are stored turned

std::string get_hadamard(const WeightSources& sources) {
  return sources.hadamards.empty() ? "no" : or_else(sources.hadamard_block, "yes");
}

void leave_turned(ModelSpec& spec, WeightSources& sources) {
  for (const Use& use : all_uses(sources)) use.source->hadamard = nullptr;
  sources.hadamards.clear();
  spec.for_layers([](LayerSpec& layer) { layer.delta.output_grouped = false; });
}

// Those that `rowmax convert --hadamard` turns, but for signs, which only a file's keys could tell.
std::string take_for_turned(WeightSources& sources, std::int64_t block) {
  std::vector<WeightSource*> turned;
  if (!sources.tied) turned = {&sources.token_embedding, &sources.output};
  for (LayerSources& layer : sources.layers) {
    for (const WeightInfo& info : weight_table()) {
      const WeightSource& source = layer[info.id];
      const bool whole = !source.columns && source.first_row == 0;
      if (info.hadamard && source.present() && whole) turned.push_back(&layer[info.id]);
    }
  }
  for (const WeightSource* source : turned) {
    if (source->cols % block == 0) continue;
    return "no or a block that divides the " + std::to_string(source->cols) + " columns of '" +
           std::string(source->name) + "'";
  }
  sources.hadamards.push_back(std::make_unique<const Hadamard>(Hadamard{block, {}}));
  for (WeightSource* source : turned) source->hadamard = sources.hadamards.back().get();
  return {};
}

std::string set_hadamard(ModelSpec& spec, WeightSources& sources, const std::string& value) {
  if (value == "yes") return "no (the file has no matrix that is stored turned)";
  std::int64_t block = 0;
  const auto number = std::from_chars(value.data(), value.data() + value.size(), block);
  const bool whole = number.ec == std::errc() && number.ptr == value.data() + value.size();
  if (value != "no" && (!whole || block < 2 || (block & (block - 1)) != 0)) return "no or a block (a power of two)";
  leave_turned(spec, sources);
  sources.hadamard_block = value;
  return value == "no" ? std::string() : take_for_turned(sources, block);
}

// ---- ternary codes

bool any_codes(const WeightSources& sources) {
  if (sources.token_embedding.has_codes() || sources.output.has_codes()) return true;
  return std::ranges::any_of(sources.layers, [](const LayerSources& layer) {
    return std::ranges::any_of(weight_table(), [&](const WeightInfo& info) { return layer[info.id].has_codes(); });
  });
}

std::string get_ternary_scale(const WeightSources& sources) {
  return any_codes(sources) ? or_else(sources.ternary_scale, "file") : "";
}
std::string set_ternary_scale(ModelSpec&, WeightSources& sources, const std::string& value) {
  float all = 0;  // of every matrix
  const auto number = std::from_chars(value.data(), value.data() + value.size(), all);
  const bool is_number =
      number.ec == std::errc() && number.ptr == value.data() + value.size() && std::isfinite(all) && all > 0;
  if (value != "file" && value != "none" && value != "reciprocal" && !is_number) {
    return "file, none, reciprocal or a number above 0";
  }
  for (const Use& use : all_uses(sources)) {
    WeightSource& source = *use.source;
    if (!source.has_codes() || value == "file") continue;
    float scale = 0;
    std::memcpy(&scale, source.bytes.data() + source.rows * format_row_bytes(*source.format, source.cols),
                sizeof scale);
    source.factor *= is_number ? all / scale : value == "none" ? 1 / scale : 1 / scale / scale;
    if (!std::isfinite(source.factor)) return "file (a scale is too small)";
  }
  sources.ternary_scale = value;
  return {};
}

std::string get_ternary_values(const WeightSources& sources) {
  return any_codes(sources) ? or_else(sources.ternary_values, "-1,0,1") : "";
}
std::string set_ternary_values(ModelSpec&, WeightSources& sources, const std::string& value) {
  const std::vector<std::string> parts = split(value, ',');
  std::array<std::int8_t, 3> values{};
  for (std::size_t code = 0; code < 3; ++code) {
    const std::string part = code < parts.size() ? parts[code] : "";
    values[code] = part == "-1" ? -1 : part == "0" ? 0 : part == "1" ? 1 : 2;
  }
  if (parts.size() != 3 || !std::ranges::is_permutation(values, WeightSource().code_values)) {
    return "-1, 0 and 1 in some order, with commas";
  }
  for (const Use& use : all_uses(sources)) {
    const bool looked_up = use.source->name == sources.token_embedding.name;  // rows are read as they are stored
    if (use.source->has_codes() && !looked_up) use.source->code_values = values;
  }
  sources.ternary_values = value;
  return {};
}

std::string get_ternary_bits(const WeightSources& sources) {
  return any_codes(sources) ? or_else(sources.ternary_bits, "high_first") : "";
}
std::string set_ternary_bits(ModelSpec&, WeightSources& sources, const std::string& value) {
  if (value != "high_first" && value != "low_first") return "high_first or low_first";
  for (const Use& use : all_uses(sources)) {
    const bool looked_up = use.source->name == sources.token_embedding.name;
    if (use.source->has_codes() && !looked_up) use.source->low_bits_first = value == "low_first";
  }
  sources.ternary_bits = value;
  return {};
}

// ---- experts

std::string get_expert_order(const WeightSources& sources) {
  const bool any =
      std::ranges::any_of(sources.layers, [](const LayerSources& layer) { return layer[W::kExpertDown].present(); });
  return any ? or_else(sources.expert_order, "stored") : "";
}

// Which of n stored matrices each expert is; empty for what is no order.
std::vector<std::int64_t> expert_order(const std::string& text, std::int64_t n) {
  std::int64_t shift = 0;
  const auto number = std::from_chars(text.data(), text.data() + text.size(), shift);
  const bool shifted = number.ec == std::errc() && number.ptr == text.data() + text.size() && shift >= 0 && shift < n;
  if (!shifted && text != "reversed" && text != "pairs") return {};
  std::vector<std::int64_t> order;
  for (std::int64_t e = 0; e < n; ++e) {
    const std::int64_t other = e % 2 != 0 ? e - 1 : std::min(e + 1, n - 1);
    order.push_back(shifted ? (e + shift) % n : text == "reversed" ? n - 1 - e : other);
  }
  return order;
}

// What experts' products are added and multiplied with, which lies in the order of their matrices.
std::vector<WeightSource*> numbers_of(WeightSources& sources, const WeightSource& matrices) {
  constexpr std::pair<W, W> kNumbers[] = {{W::kExpertGate, W::kExpertGateBias},
                                          {W::kExpertUp, W::kExpertUpBias},
                                          {W::kExpertDown, W::kExpertDownBias},
                                          {W::kExpertDown, W::kExpertFactors}};
  std::vector<WeightSource*> out;
  for (LayerSources& layer : sources.layers) {
    for (const auto& [of, numbers] : kNumbers) {
      if (&layer[of] == &matrices && layer[numbers].present()) out.push_back(&layer[numbers]);
    }
  }
  return out;
}

std::string order_experts(ModelSpec&, WeightSources& sources, const std::string& value) {
  if (value == "stored") return {};
  for (const std::string& part : split(value, ',')) {
    const std::vector<std::string> words = split(part, ':');
    if (words.size() != 2) return "tensors of experts with an order each, NAME:ORDER, with commas";
    std::int64_t n_hit = 0;
    for (const Use& use : all_uses(sources)) {
      const std::string_view name = use.source->name;
      const bool of_all = name.starts_with("blk.") && name.substr(name.find('.', 4) + 1) == words[0];
      if (use.kind != WeightKind::kExperts || (name != words[0] && !of_all)) continue;
      use.source->experts = expert_order(words[1], use.source->n);
      if (use.source->experts.empty()) return "reversed, pairs or a number below that of experts ('" + words[1] + "')";
      for (WeightSource* of_them : numbers_of(sources, *use.source)) of_them->experts = use.source->experts;
      ++n_hit;
    }
    if (n_hit == 0) return "tensors of experts ('" + words[0] + "' is none)";
  }
  sources.expert_order = value;
  return {};
}

// ---- single tensors

// Its rows are looked up where they lie: a copy of it has them as they should be.
void transpose_embedding(WeightSources& sources) {
  WeightSource& table = sources.token_embedding;
  const auto n_row = static_cast<std::size_t>(table.rows), n_col = static_cast<std::size_t>(table.cols);
  std::vector<float> stored(n_row * n_col), turned(n_row * n_col);
  for (std::size_t row = 0; row < n_row; ++row) {
    decode_row(*table.format, table.bytes, static_cast<std::int64_t>(row), table.cols, stored.data() + row * n_col);
  }
  for (std::size_t row = 0; row < n_row; ++row) {
    for (std::size_t col = 0; col < n_col; ++col) turned[row * n_col + col] = stored[col * n_row + row];
  }
  sources.embedding = std::make_unique<const std::vector<float>>(std::move(turned));
  table.format = find_format("F32");
  table.bytes = std::as_bytes(std::span(*sources.embedding));
  if (!sources.tied) return;
  sources.output.format = table.format;
  sources.output.bytes = table.bytes;
}

std::string transpose(ModelSpec&, WeightSources& sources, const std::string& value) {
  if (value == "none") return {};
  for (const std::string& name : split(value, ',')) {
    const std::vector<Use> uses = uses_of(sources, name);
    if (uses.empty()) return no_tensor(name);
    const bool embedding = name == sources.token_embedding.name;
    if (name == sources.layer_embedding.name) return "matrices of products ('" + name + "' is looked up by token)";
    if (!embedding && uses.size() > 1) return "matrices of one weight ('" + name + "' holds several)";
    const bool again = embedding ? sources.embedding != nullptr : uses.front().source->transposed;
    if (uses.front().kind != WeightKind::kMatrix || again) return "matrices, each once ('" + name + "' is none)";
    if (embedding) {
      transpose_embedding(sources);
    } else {
      uses.front().source->transposed = true;
    }
  }
  sources.transposed = value;
  return {};
}

// What a tensor stands for stays, what is stored in it goes.
void take_stored(WeightSource& source, const WeightSource& from) {
  const auto order = source.order;
  const float shift = source.shift;
  const bool reversed = source.reversed;
  source = from;
  source.order = order;
  source.shift = shift;
  source.reversed = reversed;
}

std::string exchange(ModelSpec&, WeightSources& sources, const std::string& value) {
  if (value == "none") return {};
  for (const std::string& pair : split(value, ',')) {
    const std::vector<std::string> names = split(pair, ':');
    if (names.size() != 2 || names[0] == names[1]) return "pairs of tensors A:B, with commas";
    const std::vector<Use> first = uses_of(sources, names[0]), second = uses_of(sources, names[1]);
    if (first.empty() || second.empty()) return no_tensor(first.empty() ? names[0] : names[1]);
    for (const std::vector<Use>* uses : {&first, &second}) {
      if (uses->size() == 1 || uses->front().source->name == sources.token_embedding.name) continue;
      return "tensors of one weight ('" + std::string(uses->front().source->name) + "' holds several)";
    }
    const WeightSource one = *first[0].source, other = *second[0].source;
    if (one.rows != other.rows || one.cols != other.cols || one.n != other.n || first[0].kind != second[0].kind) {
      return "tensors of one shape ('" + names[0] + "' and '" + names[1] + "' are not)";
    }
    for (const Use& use : first) take_stored(*use.source, other);
    for (const Use& use : second) take_stored(*use.source, one);
  }
  sources.exchanged = value;
  return {};
}

std::string multiply(ModelSpec&, WeightSources& sources, const std::string& value) {
  if (value == "none") return {};
  for (const std::string& part : split(value, ',')) {
    const std::vector<std::string> words = split(part, ':');
    float factor = 0;
    const std::string& text = words.back();
    const auto number = std::from_chars(text.data(), text.data() + text.size(), factor);
    if (words.size() != 2 || number.ec != std::errc() || number.ptr != text.data() + text.size() ||
        !std::isfinite(factor)) {
      return "tensors with a number each, NAME:NUMBER, with commas";
    }
    const std::vector<Use> uses = uses_of(sources, words[0]);
    if (uses.empty()) return no_tensor(words[0]);
    for (const Use& use : uses) use.source->factor *= factor;
  }
  sources.factors = value;
  return {};
}

// ---- the table

constexpr EditScope kTensor = EditScope::kTensor;

constexpr Fact kFacts[] = {
    {{"tied_head", "yes, or no where the file has an output.weight", kTensor},
     [](const WeightSources& sources) { return std::string(yes_no(sources.tied)); },
     tie_head},
    {{"qk_permutation", "none or llama: what a converter did to the rows of q and k", kTensor},
     get_permutation,
     permute_heads},
    {{"norm_weights", "plain, plus_one or minus_one: a weight w counts w, w + 1 or w - 1", kTensor},
     [](const WeightSources& sources) { return or_else(sources.norm_weights, "plain"); },
     shift_norms},
    {{"conv_taps", "forward (the oldest first) or reversed", kTensor}, get_taps, turn_taps},
    {{"hadamard", "no, or a block (a power of two) of columns that are stored turned", kTensor},
     get_hadamard,
     set_hadamard},
    {{"ternary_scale", "file, none, reciprocal or a number, which is that of all: that of matrices with one scale",
      kTensor},
     get_ternary_scale,
     set_ternary_scale},
    {{"ternary_values", "-1, 0 and 1 in some order: what the codes 0, 1 and 2 of matrices with one scale stand for",
      kTensor},
     get_ternary_values,
     set_ternary_values},
    {{"ternary_bits", "high_first or low_first: which bits of a byte hold the first of its codes", kTensor},
     get_ternary_bits,
     set_ternary_bits},
    {{"expert_order",
      "stored, or NAME:ORDER, with commas, of tensors or of one kind in all layers (ffn_down_exps.weight): reversed, "
      "pairs "
      "(exchanged in twos), or a number n: the expert e is the tensor's e + n",
      kTensor},
     get_expert_order,
     order_experts},
    {{"transpose", "none, or matrices by name, with commas, whose columns are stored one behind the other", kTensor},
     [](const WeightSources& sources) { return or_else(sources.transposed, "none"); },
     transpose},
    {{"exchange", "none, or pairs A:B of tensors of one shape, with commas", kTensor},
     [](const WeightSources& sources) { return or_else(sources.exchanged, "none"); },
     exchange},
    {{"tensor_factor", "none, or NAME:NUMBER, with commas: what a tensor's values are multiplied by", kTensor},
     [](const WeightSources& sources) { return or_else(sources.factors, "none"); },
     multiply},
};

const Fact* fact_named(std::string_view name) {
  const auto* found = std::ranges::find(kFacts, name, [](const Fact& fact) { return fact.info.name; });
  return found != std::end(kFacts) ? found : nullptr;
}

}  // namespace

std::span<const EditInfo> source_edit_table() noexcept {
  static constexpr auto kTable = [] {
    std::array<EditInfo, std::size(kFacts)> table{};
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = kFacts[i].info;
    return table;
  }();
  return kTable;
}

Status apply_edit(ModelSpec& spec, WeightSources& sources, std::string_view name, const std::string& value) {
  const Fact* fact = fact_named(name);
  const std::string now = fact->get(sources);
  if (now == value) return {};
  if (now.empty()) return no_such_fact(name, "no tensor of this model has it");
  const std::string expected = fact->set(spec, sources, value);
  return expected.empty() ? Status() : Status(wrong_edit(name, expected, value));
}

std::string edit_value(const WeightSources& sources, std::string_view name) { return fact_named(name)->get(sources); }

}  // namespace rowmax::engine

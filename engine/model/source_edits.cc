#include <algorithm>
#include <iterator>

#include "engine/model/spec_edits.h"

namespace rowmax::engine {
namespace {

// get: the value. set: what is expected instead of a value that cannot be; nullptr where it was set.
struct Fact {
  EditInfo info;
  const char* (*get)(const WeightSources& sources);
  const char* (*set)(ModelSpec& spec, WeightSources& sources, const std::string& value);
};

const char* yes_no(bool value) { return value ? "yes" : "no"; }

const char* tie_head(ModelSpec&, WeightSources& sources, const std::string& value) {
  if (value == "no") return "yes (the file has no output.weight)";
  if (value != "yes") return "yes or no";
  sources.output = sources.token_embedding;
  sources.tied = true;
  return nullptr;
}

const char* rows_of(RopePairing pairing) { return pairing == RopePairing::kAdjacent ? "llama" : "none"; }

// What converters do to q and k for RoPE of adjacent pairs is done or undone, as they do it: over whole heads.
const char* permute_heads(ModelSpec& spec, WeightSources& sources, const std::string& value) {
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
  return nullptr;
}

const char* leave_turned(ModelSpec& spec, WeightSources& sources, const std::string& value) {
  if (value == "yes") return "no (the file has no matrix that is stored turned)";
  if (value != "no") return "no";
  sources.token_embedding.hadamard = sources.output.hadamard = nullptr;
  for (LayerSources& layer : sources.layers) {
    for (const WeightInfo& info : weight_table()) layer[info.id].hadamard = nullptr;
  }
  sources.hadamards.clear();
  spec.for_layers([](LayerSpec& layer) { layer.delta.output_grouped = false; });
  return nullptr;
}

constexpr Fact kFacts[] = {
    {{"tied_head", "yes, or no where the file has an output.weight", EditScope::kTensor},
     [](const WeightSources& sources) { return yes_no(sources.tied); },
     tie_head},
    {{"qk_permutation", "none or llama: what a converter did to the rows of q and k", EditScope::kTensor},
     [](const WeightSources& sources) { return rows_of(sources.qk_rows); },
     permute_heads},
    {{"hadamard", "no", EditScope::kTensor},
     [](const WeightSources& sources) { return yes_no(!sources.hadamards.empty()); },
     leave_turned},
};

const Fact* fact_named(std::string_view name) {
  const auto* found = std::ranges::find(kFacts, name, [](const Fact& fact) { return fact.info.name; });
  return found != std::end(kFacts) ? found : nullptr;
}

}  // namespace

std::span<const EditInfo> source_edit_table() noexcept {
  static constexpr EditInfo kTable[] = {kFacts[0].info, kFacts[1].info, kFacts[2].info};
  static_assert(std::size(kTable) == std::size(kFacts));
  return kTable;
}

Status apply_edit(ModelSpec& spec, WeightSources& sources, std::string_view name, const std::string& value) {
  const Fact* fact = fact_named(name);
  if (fact->get(sources) == value) return {};
  const char* expected = fact->set(spec, sources, value);
  return expected == nullptr ? Status() : Status(wrong_edit(name, expected, value));
}

std::string edit_value(const WeightSources& sources, std::string_view name) { return fact_named(name)->get(sources); }

}  // namespace rowmax::engine

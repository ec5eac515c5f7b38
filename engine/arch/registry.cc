#include <algorithm>
#include <string>
#include <utility>

#include "base/guarded.h"
#include "engine/arch/architecture.h"
#include "engine/arch/hadamard.h"
#include "engine/arch/read_spec.h"
#include "engine/model/memory_shape.h"
#include "rowmax/engine/model.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr Architecture kArchitectures[] = {
    {"llama", read_llama},
    {"qwen2", read_qwen2},
    {"qwen3", read_qwen3},
    {"qwen3moe", read_qwen3moe},
    {"qwen35", read_qwen35},
    {"qwen35moe", read_qwen35moe},
    {"gemma2", read_gemma2},
    {"gemma3", read_gemma3},
    {"bitnet", read_bitnet},
    {"bitnet-b1.58", read_bitnet_b158},
    {"bitnet-25", read_bitnet_b158},
    {"smollm3", read_smollm3},
    {"granite", read_granite},
    {"mistral3", read_mistral3},
    {"minicpm", read_minicpm},
    {"hunyuan-dense", read_hunyuan_dense},
    {"olmo2", read_olmo2},
    {"gpt-oss", read_gpt_oss},
    {"gemma4", read_gemma4},
    {"phi3", read_phi3},
    {"lfm2", read_lfm2},
    {"lfm2moe", read_lfm2moe},
    {"deepseek2", read_deepseek2},
};

// What architectures that cannot be loaded yet would need beyond what there is, for whoever meets such a file; "": a
// reader of their keys alone.
struct Lacking {
  std::string_view name;
  std::string_view needs;
};
constexpr Lacking kLacking[] = {
    {"apertus", "the xIELU activation"},
    {"cohere2", "LayerNorms, attention and FFN side by side, a scale of the logits"},
    {"command-r", "LayerNorms, attention and FFN side by side, a scale of the logits"},
    {"deepseek", ""},
    {"deepseek32", "keys that an indexer chooses (DSA)"},
    {"exaone4", ""},
    {"falcon-h1", "state-space layers (Mamba 2) beside attention"},
    {"gemma3n", "embeddings for each layer, alternating updates, sparse activations"},
    {"glm4", "norms in front of and behind the blocks, a fused gate and up projection"},
    {"glm4moe", ""},
    {"glm-dsa", "keys that an indexer chooses (DSA)"},
    {"gpt2", "LayerNorms, learned positions, an FFN without a gate"},
    {"granitehybrid", "state-space layers (Mamba 2)"},
    {"granitemoe", ""},
    {"jamba", "state-space layers (Mamba)"},
    {"kimi-linear", "a delta rule with a decay for each channel (KDA)"},
    {"llama4", "experts whose input is scaled, attention in chunks"},
    {"mamba", "state-space layers (Mamba)"},
    {"mamba2", "state-space layers (Mamba 2)"},
    {"nemotron_h", "state-space layers (Mamba 2), FFNs without a gate"},
    {"phi2", "LayerNorms with biases, attention and FFN side by side"},
    {"qwen2moe", "biases beside experts, a shared expert with a width of its own"},
    {"qwen3next", "projections of the delta net in another order"},
    {"qwen3vl", "positions of three parts with images"},
    {"rwkv7", "linear attention of its own kind (RWKV)"},
    {"stablelm", "LayerNorms with biases"},
    {"starcoder2", "LayerNorms with biases, an FFN without a gate"},
};

std::string what_is_lacking(std::string_view name) {
  const auto* found = std::ranges::find(kLacking, name, &Lacking::name);
  if (found == std::end(kLacking)) return {};
  if (found->needs.empty()) return "; there is all that its layers need, but nothing reads its keys yet";
  return "; it would need: " + std::string(found->needs);
}

std::string known_names() {
  std::string text;
  for (const Architecture& row : kArchitectures) {
    if (!text.empty()) text += ", ";
    text += row.name;
  }
  return text;
}

}  // namespace

std::span<const Architecture> architectures() noexcept { return kArchitectures; }

namespace {

Result<const Architecture*> architecture_of(const GgufFile& file) {
  if (file.find("general.architecture") == nullptr) {
    return Error{ErrorCode::kCorrupt, file.name() + ": key 'general.architecture' is missing, expected a string"};
  }
  ROWMAX_TRY(name, file.get_string("general.architecture"));
  const auto row = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                                [&](const Architecture& candidate) { return candidate.name == name; });
  if (row == std::end(kArchitectures)) {
    return Error{ErrorCode::kUnsupported, file.name() + ": key 'general.architecture': expected one of " +
                                              known_names() + ", found '" + std::string(name) + "'" +
                                              what_is_lacking(name)};
  }
  return &*row;
}

// An ignored key that is not there is a typing error.
Status check_ignored(const GgufFile& file, const IgnoredKeys& ignored) {
  for (const std::string& key : ignored) {
    if (file.find(key) == nullptr) {
      return Error{ErrorCode::kInvalidArgument, file.name() + ": --ignore-key " + key + ": the file has no such key"};
    }
  }
  return {};
}

}  // namespace

namespace {

// All that is read under an architecture's prefix. pooling_type: of embeddings, which no layer asks for.
void read_keys(const Architecture& row, KeyReader& keys, ModelSpec& spec, std::int64_t& pooling_type) {
  row.read(keys, spec);
  const char* const fact = keys.has("pooling_type") ? "pooling_type" : nullptr;
  pooling_type = keys.int_or("pooling_type", 0, 0, std::int64_t{1} << 31, fact, "default: none");
}

}  // namespace

Result<ReadModel> read_model(const GgufFile& file, const KeyOverrides& overrides, const IgnoredKeys& ignored,
                             std::span<const KeyReport> tokenizer) {
  ROWMAX_TRY(row, architecture_of(file));
  ROWMAX_RETURN_IF_ERROR(check_ignored(file, ignored));
  ReadModel model;
  KeyReader keys(file, overrides, std::string(row->name));
  model.spec.architecture = row->name;
  keys.fact("architecture", std::string(row->name), "key general.architecture");
  std::int64_t pooling_type = 0;
  read_keys(*row, keys, model.spec, pooling_type);
  if (!keys.failed()) keys.check_overrides_used();
  if (!keys.failed()) keys.check_all_read(ignored, tokenizer);
  if (keys.failed()) return keys.take_error();
  ROWMAX_RETURN_IF_ERROR(map_tensors(file, model.spec, model.sources, keys.facts()));
  ROWMAX_RETURN_IF_ERROR(apply_hadamard(file, model.spec, model.sources, keys.facts()));
  model.description = {.architecture = std::string(row->name),
                       .shape = model.spec.shape,
                       .memory = memory_shape(model.spec),
                       .facts = std::move(keys.facts()),
                       .notices = std::move(keys.notices()),
                       .default_pre = model.spec.default_pre,
                       .pooling_type = pooling_type,
                       .n_unused_tensors = model.sources.n_passed_over};
  for (const std::string& text : file.notices()) model.description.notices.push_back(text);
  return model;
}

Result<ModelSpec> read_spec(const GgufFile& file) {
  ROWMAX_TRY(row, architecture_of(file));
  const KeyOverrides none;
  KeyReader keys(file, none, std::string(row->name));
  ModelSpec spec;
  spec.architecture = row->name;
  row->read(keys, spec);
  if (keys.failed()) return keys.take_error();
  return spec;
}

Result<ModelDescription> describe_model(const GgufFile& file, const KeyOverrides& overrides,
                                        const IgnoredKeys& ignored) {
  return base::guarded([&]() -> Result<ModelDescription> {
    ROWMAX_TRY(model, read_model(file, overrides, ignored));
    return std::move(model.description);
  });
}

std::vector<KeyReport> report_model_keys(const GgufFile& file, const KeyOverrides& overrides,
                                         const IgnoredKeys& ignored) {
  const auto row = architecture_of(file);
  if (!row.ok()) return {};
  KeyReader keys(file, overrides, std::string((*row)->name));
  ModelSpec spec;
  std::int64_t pooling_type = 0;
  read_keys(**row, keys, spec, pooling_type);
  return keys.report(ignored);
}

std::vector<std::string_view> supported_architectures() {
  std::vector<std::string_view> names;
  for (const Architecture& row : kArchitectures) names.push_back(row.name);
  return names;
}

}  // namespace rowmax::engine

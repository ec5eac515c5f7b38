// One row per architecture: how its metadata becomes a ModelSpec. To add one, write engine/arch/<name>.cc and its row
// in registry.cc; behaviour that no field of ModelSpec expresses needs a new field there, never a question for the
// name.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/arch/key_reader.h"
#include "engine/model/spec.h"
#include "engine/model/weight_sources.h"

namespace rowmax::engine {

// More than any model has: what a file says beyond is damage.
inline constexpr std::int64_t kMaxWidth = 1 << 20, kMaxExperts = 1 << 16;

struct Architecture {
  std::string_view name;  // general.architecture
  void (*read)(KeyReader& keys, ModelSpec& spec);
};

std::span<const Architecture> architectures() noexcept;

// The reading functions of the rows.
void read_llama(KeyReader& keys, ModelSpec& spec);
void read_smollm3(KeyReader& keys, ModelSpec& spec);
void read_granite(KeyReader& keys, ModelSpec& spec);
void read_mistral3(KeyReader& keys, ModelSpec& spec);
void read_minicpm(KeyReader& keys, ModelSpec& spec);
void read_hunyuan_dense(KeyReader& keys, ModelSpec& spec);
void read_olmo2(KeyReader& keys, ModelSpec& spec);
void read_qwen2(KeyReader& keys, ModelSpec& spec);
void read_qwen3(KeyReader& keys, ModelSpec& spec);
void read_qwen3moe(KeyReader& keys, ModelSpec& spec);
void read_qwen35(KeyReader& keys, ModelSpec& spec);
void read_qwen35moe(KeyReader& keys, ModelSpec& spec);
void read_phi3(KeyReader& keys, ModelSpec& spec);
void read_gemma2(KeyReader& keys, ModelSpec& spec);
void read_gemma3(KeyReader& keys, ModelSpec& spec);
void read_gemma4(KeyReader& keys, ModelSpec& spec);
void read_gpt_oss(KeyReader& keys, ModelSpec& spec);
void read_lfm2(KeyReader& keys, ModelSpec& spec);
void read_lfm2moe(KeyReader& keys, ModelSpec& spec);
void read_deepseek2(KeyReader& keys, ModelSpec& spec);
void read_bitnet(KeyReader& keys, ModelSpec& spec);
void read_bitnet_b158(KeyReader& keys, ModelSpec& spec);

// What all of them share: sizes, head counts, eps, the (first) RoPE, one LayerSpec a layer. usual_scale: of the scores; 0:
// 1/sqrt(head_dim). latent: every layer attends over one; its keys are the caller's.
void read_common(KeyReader& keys, ModelSpec& spec, RopePairing pairing, double usual_scale = 0,
                 const LatentSpec* latent = nullptr);
// The same of a file that lists K/V heads by layer, 0 for layers that do not attend. Whether each layer attends.
std::vector<bool> read_common_of_attending(KeyReader& keys, ModelSpec& spec, RopePairing pairing);
// After read_common: the window of all layers, where the file has one.
void read_window(KeyReader& keys, ModelSpec& spec);
// What an architecture's mixtures of experts are.
struct ExpertsOf {
  bool shared = false;  // and an expert that all rows pass
  ExpertGate gate = ExpertGate::kSoftmax;
  bool choice_bias = false;
  bool scaled = false;       // by expert_weights_scale, where the file has it
  bool dense_first = false;  // the first layers' FFNs may be dense
  float sum_offset = FfnSpec().sum_offset;
};
// After read_common: FFNs are mixtures of experts.
void read_experts(KeyReader& keys, ModelSpec& spec, const ExpertsOf& experts);

// A file read as far as its metadata and tensor list go: every tensor claimed, every shape checked.
struct ReadModel {
  ModelSpec spec;
  WeightSources sources;
  ModelDescription description;
};
// tokenizer: the report of its keys, for one error that names all that are refused.
Result<ReadModel> read_model(const GgufFile& file, const KeyOverrides& overrides, const IgnoredKeys& ignored = {},
                             std::span<const KeyReport> tokenizer = {});
// report_keys without those of the tokenizer.
std::vector<KeyReport> report_model_keys(const GgufFile& file, const KeyOverrides& overrides,
                                         const IgnoredKeys& ignored);

// The tensor-name map of the llama family, which all architectures here follow. Optional tensors are the biases, the
// head, rope_freqs and what the spec's flags ask for; anything unclaimed is an error that names it.
Status map_tensors(const GgufFile& file, ModelSpec& spec, WeightSources& sources, std::vector<ModelFact>& facts);

}  // namespace rowmax::engine

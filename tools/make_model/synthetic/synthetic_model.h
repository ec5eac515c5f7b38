// Tiny models with random weights, for tests of everything that needs a model file but no sense in its answers.
//
// The same spec gives the same bytes on every machine: own generator, no libm. A tensor's values depend on the seed and
// on its name only, so that two specs that differ in one detail share all other weights.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/gguf.h"
#include "rowmax/result.h"

namespace rowmax::tools {

// Zero means: the architecture's usual choice (see with_defaults).
struct SyntheticSpec {
  std::string arch = "llama";  // one of synthetic_architectures()
  std::int64_t layers = 0;     // 2; gemma2, gpt-oss, lfm2, lfm2moe 4; gemma3 7 (layer 5 is the first without a window)
  std::int64_t embd = 64;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 0;  // embd / heads for llama and qwen2, 32 for the others
  std::int64_t ff = 160;
  std::int64_t vocab = 0;  // the tokenizer's own size; a larger one is filled up with unused tokens
  std::int64_t context = 512;
  // qwen3moe, qwen35moe, gpt-oss, gemma4_moe, lfm2moe, deepseek2: 8 experts, 2 of them used, of width ff / 2; qwen35moe, deepseek2: one more of that
  // width for every row.
  std::int64_t experts = 0, experts_used = 0, expert_ff = 0, shared_ff = 0;
  // qwen35, qwen35moe: every interval-th layer attends (4), the others are gated delta nets (2 key heads, 4 value heads
  // of 16) behind a convolution of 4 tokens; a quarter of a head's dimensions turns.
  std::int64_t interval = 0, delta_key_heads = 0, delta_value_heads = 0, delta_dim = 0;
  // lfm2, lfm2moe: every interval-th layer attends (3), or those listed; the others are short convolutions of conv_width
  // tokens (3). lfm2moe: FFNs of the first dense_layers (1) without experts.
  std::vector<std::int64_t> attending;
  std::int64_t conv_width = 0, dense_layers = 0;
  // gemma4: every interval-th layer (3) and the last one see everything, with heads of twice the size; the last
  // shared_kv_layers (3) read the keys and values of others, and have FFNs twice as wide where double_wide says so; tokens
  // bring layer_embd (16) numbers for each layer. gemma4_moe, the gemma4 of 26B-A4B: none of these three; experts beside the
  // FFN, and V is K, of global_kv_heads (half of kv_heads), in layers that see everything.
  std::int64_t shared_kv_layers = 0, layer_embd = 0, global_kv_heads = 0;
  bool double_wide = false;
  // deepseek2: a head's head_dim has rope_dim (8) that turn, its values are of value_dim (24); a latent of kv_rank (32), q
  // by way of q_rank (24; negative: one product); the first dense_layers (1) without experts, which lie in expert_groups (2),
  // of which half can be chosen.
  std::int64_t kv_rank = 0, q_rank = 0, rope_dim = 0, value_dim = 0, expert_groups = 0;
  std::int64_t window = 0;   // gemma2, gemma3, gemma4, gemma4_moe, gpt-oss: 64; must stay 0 for the others
  double rope_base = 0;      // llama, gemma2 10000; qwen2, qwen3, gemma3, lfm2 1000000, gpt-oss 150000
  double eps = 0;            // llama, gpt-oss, lfm2 1e-5, others 1e-6
  std::string type = "F32";  // of the matrices; rows that are no whole blocks of it are stored as F16
  std::string head_type;     // of the embedding and the output matrix; empty: as type
  std::string expert_type;   // of the experts; empty: as type
  // "normal": bell-shaped. "ternary": -m, 0 and m with probabilities 1/4, 1/2, 1/4; "binary": -m and m. m is a half,
  // one for a tensor, so that every ternary (binary) type holds the same values. The embedding and the output matrix
  // stay normal where head_type is given.
  std::string values = "normal";
  std::string pre;      // pre-tokenizer of the byte-level vocabularies: smollm for llama, qwen2 for qwen
  bool untied = false;  // an output.weight of its own, which gpt-oss always has
  bool biases = false;  // llama: on q, k, v and output (qwen2 always has those on q, k, v)
  // llama: rope_freqs.weight with Llama 3's factors (factor 8, low 1, high 4), a quarter of the context being the
  // original one.
  bool rope_factors = false;
  bool product_norms = false;  // a norm in front of each product (BitNet embeddings)
  double yarn_factor = 0;      // above 1: RoPE scaling by YaRN, the original context being context / yarn_factor
  // Matrices hold the same rows (some hundreds) again and again, which makes large files at the speed of the disk: for
  // measurements of speed alone.
  bool repeat = false;
  std::uint64_t seed = 1;
};

// The spec with every zero replaced. kInvalidArgument: unknown arch or type, an impossible shape.
Result<SyntheticSpec> with_defaults(SyntheticSpec spec);
// Sizes that are no multiple of anything convenient: three heads on one key head, head_dim 40 (qwen2: 32), vocab 431,
// window 37.
SyntheticSpec odd_spec(std::string arch);
const std::vector<std::string>& synthetic_architectures();

// The shapes of published models: architecture, sizes and tokens of one of synthetic_models(). kInvalidArgument for
// another name.
Result<SyntheticSpec> spec_of_model(std::string_view name);
std::string synthetic_models();  // "bitnet-2b-4t, bonsai-1.7b, ..."

// The whole file; write() or bytes() it.
Result<engine::GgufWriter> make_synthetic_model(const SyntheticSpec& spec);
// The same bytes written piece by piece: a model of any size in little memory.
Status write_synthetic_model(const SyntheticSpec& spec, const std::string& path);
// The same, as bytes for GgufFile::parse.
Result<std::vector<std::byte>> synthetic_model_bytes(const SyntheticSpec& spec);

}  // namespace rowmax::tools

// The shapes of published models.
#include <string>
#include <string_view>

#include "tools/make_model/synthetic/synthetic_model.h"

namespace rowmax::tools {

std::string synthetic_models() {
  return "bitnet-2b-4t, bonsai-1.7b, bonsai-8b, llama-1b, qwen3.5-0.8b, qwen3.5-4b, qwen3.5-9b, bonsai-2-9b, "
         "bonsai-2-27b, qwen3-30b-a3b, qwen3.6-35b-a3b, gpt-oss-20b, gemma-4-e2b, gemma-4-e4b, phi-4-mini, "
         "lfm2.5-1.2b, lfm2-8b-a1b, "
         "glm-4.7-flash, deepseek-v2-lite";
}

Result<SyntheticSpec> spec_of_model(std::string_view name) {
  SyntheticSpec spec;
  spec.values = "ternary";
  const auto shape = [&](std::int64_t layers, std::int64_t embd, std::int64_t heads, std::int64_t kv_heads,
                         std::int64_t head_dim, std::int64_t ff) {
    spec.layers = layers, spec.embd = embd, spec.heads = heads, spec.kv_heads = kv_heads;
    spec.head_dim = head_dim, spec.ff = ff;
  };
  if (name == "bitnet-2b-4t") {
    shape(30, 2560, 20, 5, 128, 6912);
    spec.arch = "bitnet-b1.58", spec.type = "I2_S", spec.head_type = "F16";
    spec.vocab = 128256, spec.context = 4096;
  } else if (name == "bonsai-1.7b" || name == "bonsai-8b") {
    const bool large = name == "bonsai-8b";
    large ? shape(36, 4096, 32, 8, 128, 12288) : shape(28, 2048, 16, 8, 128, 6144);
    spec.arch = "qwen3", spec.type = "Q2_0", spec.untied = large;
    spec.vocab = 151936, spec.context = 65536, spec.yarn_factor = 4;
  } else if (name == "llama-1b") {
    shape(16, 2048, 32, 8, 64, 8192);
    spec.arch = "llama", spec.type = "Q2_0", spec.head_type = "Q6_K", spec.rope_factors = true;
    spec.rope_base = 500000, spec.pre = "llama-bpe", spec.vocab = 128256, spec.context = 131072;
  } else if (name == "qwen3.5-0.8b" || name == "qwen3.5-4b" || name == "qwen3.5-9b" || name == "bonsai-2-9b" ||
             name == "bonsai-2-27b") {
    name == "qwen3.5-0.8b"   ? shape(24, 1024, 8, 2, 256, 3584)
    : name == "qwen3.5-4b"   ? shape(32, 2560, 16, 4, 256, 9216)
    : name == "bonsai-2-27b" ? shape(64, 5120, 24, 4, 256, 17408)
                             : shape(32, 4096, 16, 4, 256, 12288);
    const bool small = name == "qwen3.5-0.8b";
    spec.arch = "qwen35", spec.type = name.starts_with("bonsai") ? "PQ2_0" : "Q4_0";
    spec.values = name.starts_with("bonsai") ? "ternary" : "normal";
    spec.untied = !(small || name == "qwen3.5-4b"), spec.delta_dim = 128, spec.delta_key_heads = 16;
    spec.delta_value_heads = small ? 16 : name == "bonsai-2-27b" ? 48 : 32;
    spec.vocab = 248320, spec.context = 262144;
  } else if (name == "qwen3-30b-a3b") {
    shape(48, 2048, 32, 4, 128, 6144);
    spec.arch = "qwen3moe", spec.type = "Q4_0", spec.values = "normal", spec.untied = true;
    spec.experts = 128, spec.experts_used = 8, spec.expert_ff = 768, spec.vocab = 151936, spec.context = 40960;
  } else if (name == "qwen3.6-35b-a3b") {
    shape(40, 2048, 16, 2, 256, 0);
    spec.arch = "qwen35moe", spec.type = "Q4_0", spec.values = "normal", spec.untied = true, spec.ff = 512;
    spec.experts = 256, spec.experts_used = 8, spec.expert_ff = 512, spec.delta_dim = 128, spec.delta_key_heads = 16;
    spec.delta_value_heads = 32, spec.vocab = 248320, spec.context = 262144;
  } else if (name == "gemma-4-e2b" || name == "gemma-4-e4b") {
    const bool small = name == "gemma-4-e2b";
    small ? shape(35, 1536, 8, 1, 256, 6144) : shape(42, 2560, 8, 2, 256, 10240);
    spec.arch = "gemma4", spec.type = "Q4_0", spec.head_type = "Q6_K", spec.values = "normal", spec.window = 512;
    spec.interval = small ? 5 : 6, spec.shared_kv_layers = small ? 20 : 18, spec.double_wide = small;
    spec.layer_embd = 256, spec.vocab = 262144, spec.context = 131072;
  } else if (name == "gemma-4-26b-a4b") {
    shape(30, 2816, 16, 8, 256, 2112);
    spec.arch = "gemma4_moe", spec.type = "Q4_0", spec.head_type = "Q6_K", spec.values = "normal", spec.window = 1024;
    spec.interval = 6, spec.global_kv_heads = 2, spec.vocab = 262144, spec.context = 262144;
    spec.experts = 128, spec.experts_used = 8, spec.expert_ff = 704;
  } else if (name == "gpt-oss-20b") {
    shape(24, 2880, 64, 8, 64, 2880);
    spec.arch = "gpt-oss", spec.type = "Q8_0", spec.expert_type = "MXFP4", spec.values = "normal";
    spec.untied = true, spec.window = 128;
    spec.experts = 32, spec.experts_used = 4, spec.expert_ff = 2880, spec.vocab = 201088, spec.context = 131072;
    spec.yarn_factor = 32;
  } else if (name == "glm-4.7-flash") {
    shape(47, 2048, 20, 1, 256, 10240);
    spec.arch = "deepseek2", spec.type = "Q4_0", spec.values = "normal", spec.untied = true, spec.pre = "glm4";
    spec.kv_rank = 512, spec.q_rank = 768, spec.rope_dim = 64, spec.value_dim = 256, spec.dense_layers = 1;
    spec.experts = 64, spec.experts_used = 4, spec.expert_ff = 1536, spec.expert_groups = 1;
    spec.eps = 1e-5, spec.vocab = 154880, spec.context = 202752;
  } else if (name == "deepseek-v2-lite") {
    shape(27, 2048, 16, 1, 192, 10944);
    spec.arch = "deepseek2", spec.type = "Q4_0", spec.values = "normal", spec.untied = true, spec.pre = "deepseek-llm";
    spec.kv_rank = 512, spec.q_rank = -1, spec.rope_dim = 64, spec.value_dim = 128, spec.dense_layers = 1;
    spec.experts = 64, spec.experts_used = 6, spec.expert_ff = 1408, spec.expert_groups = 1;
    spec.rope_base = 10000, spec.vocab = 102400, spec.context = 163840, spec.yarn_factor = 40;
  } else if (name == "phi-4-mini") {
    shape(32, 3072, 24, 8, 128, 8192);
    spec.arch = "phi3", spec.type = "Q4_0", spec.values = "normal", spec.head_type = "Q6_K";
    spec.vocab = 200064, spec.context = 131072;
  } else if (name == "lfm2.5-1.2b" || name == "lfm2-8b-a1b") {
    const bool experts = name == "lfm2-8b-a1b";
    experts ? shape(24, 2048, 32, 8, 64, 7168) : shape(16, 2048, 32, 8, 64, 8192);
    spec.arch = experts ? "lfm2moe" : "lfm2", spec.type = "Q4_0", spec.values = "normal", spec.head_type = "Q6_K";
    spec.attending =
        experts ? std::vector<std::int64_t>{2, 6, 10, 14, 18, 21} : std::vector<std::int64_t>{2, 5, 8, 10, 12, 14};
    if (experts) spec.experts = 32, spec.experts_used = 4, spec.expert_ff = 1792, spec.dense_layers = 2;
    spec.vocab = 65536, spec.context = 128000;
  } else {
    return Error::invalid_argument("unknown model '" + std::string(name) + "', expected one of " + synthetic_models());
  }
  return spec;
}

}  // namespace rowmax::tools

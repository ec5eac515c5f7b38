#include "doctor/checks/sentences.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "doctor/checks/patient_test_util.h"

namespace rowmax::doctor {
namespace {

TEST(Sentences, PlacesOfTheEnginesOwnMessages) {
  const Place tensor = place_in("m.gguf: tensor 'blk.12.attn_k.bias' is missing");
  EXPECT_EQ(tensor.tensor, "blk.12.attn_k.bias");
  EXPECT_EQ(tensor.layer, 12);
  EXPECT_EQ(tensor.key, "");
  EXPECT_EQ(place_in("m.gguf: key 'llama.rope.freq_base': expected 1 to 1e12, found 0").key, "llama.rope.freq_base");
  EXPECT_TRUE(place_in("m.gguf: magic 'abcd'").empty());
  EXPECT_EQ(split_tensor_name("blk.x.attn_k.bias").layer, -1);
  EXPECT_EQ(split_tensor_name("blk.3").layer, -1);
  EXPECT_EQ(split_tensor_name("token_embd.weight").kind, "token_embd.weight");
}

TEST(Sentences, EveryCauseIsInTheTable) {
  for (const char* kind :
       {"attn_q.bias", "attn_sub_norm.weight", "attn_k_norm.weight", "attn_sinks.weight", "ffn_gate_inp.weight",
        "ssm_conv1d.weight", "shortconv.conv.weight", "ssm_a", "rope_freqs.weight", "attn_q.scale", "ffn_norm.weight",
        "post_ffw_norm.weight", "ffn_down.weight", "output_norm.bias"}) {
    const std::string_view cause = cause_of_tensor(kind);
    EXPECT_TRUE(std::ranges::any_of(cause_table(), [&](const CauseInfo& info) { return info.id == cause; })) << kind;
  }
  for (const char* key :
       {"attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.scaling.type", "rope.dimension_count",
        "attention.sliding_window", "attn_logit_softcapping", "attention.scale", "attention.head_count_kv",
        "expert_count", "ssm.conv_kernel", "shortconv.l_cache", "prism.hadamard.version", "tokenizer.ggml.pre"}) {
    const std::string_view cause = cause_of_key(key);
    EXPECT_TRUE(std::ranges::any_of(cause_table(), [&](const CauseInfo& info) { return info.id == cause; })) << key;
  }
  EXPECT_EQ(cause_of_key("block_count"), "");
}

}  // namespace
}  // namespace rowmax::doctor

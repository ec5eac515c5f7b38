// What configurations of DeepSeek's family say of their latents and experts, in GGUF's words.
#pragma once

#include "engine/convert/hf_model.h"
#include "engine/convert/json_reader.h"

namespace rowmax::engine {

// The one K/V head of the latent, and the heads themselves. What turns is all that RoPE sees of a head: head_dim becomes
// that.
void read_hf_latent(JsonReader& config, HfModel& model, GgufWriter& keys);
// HfExperts::kBySoftmax and kBySigmoid.
void read_hf_grouped_experts(JsonReader& config, HfModel& model, GgufWriter& keys);

}  // namespace rowmax::engine

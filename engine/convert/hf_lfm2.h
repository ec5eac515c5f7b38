// What LFM2's configurations say in words of their own.
#pragma once

#include <cstdint>

#include "engine/convert/hf_model.h"

namespace rowmax::engine {

// The width of its dense FFNs, which the configuration may have to make smaller.
std::int64_t lfm2_ffn_width(JsonReader& config, const HfArchitecture& architecture);
// Its layers and their convolutions, and its mixtures of experts, as keys.
void read_lfm2_layers(JsonReader& config, const HfModel& model, GgufWriter& keys);
void read_lfm2_experts(JsonReader& config, HfModel& model, GgufWriter& keys);

}  // namespace rowmax::engine

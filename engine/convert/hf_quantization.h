// What configurations say of how their weights are packed (quantization_config).
#pragma once

#include "engine/convert/hf_model.h"
#include "engine/convert/json_reader.h"

namespace rowmax::engine {

// master_weights: float matrices are to be rounded to ternary ones, whatever it says.
void read_hf_quantization(JsonReader& config, HfModel& model, bool master_weights);

}  // namespace rowmax::engine

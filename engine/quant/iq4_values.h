// The sixteen values that the four bits of IQ4_NL and IQ4_XS stand for: uneven steps, fitted to bell-shaped weights.
// Source: kvalues_iq4nl in ggml-common.h of https://github.com/ggml-org/ggml.
#pragma once

#include <cstdint>

namespace rowmax::engine::quant {

inline constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace rowmax::engine::quant

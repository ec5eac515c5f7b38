// Kernels that prove themselves before a model runs on them: a wrong instruction set emulation, a miscompiled file or a
// broken CPU gives an error at load, not gibberish.
#pragma once

#include <string_view>

#include "engine/ops/matmul/panel.h"
#include "engine/quant/format.h"
#include "rowmax/result.h"

namespace rowmax::engine::panel {

// Multiplies a small fixed matrix of this format, with few tokens and many and both kinds of activations, and compares
// every bit with the scalar kernels. A few milliseconds. kUnsupported, naming format and kernels (`name`), where one
// differs; kOutOfMemory.
Status check_kernels(const FormatInfo& format, const Kernels& kernels, std::string_view name);

}  // namespace rowmax::engine::panel

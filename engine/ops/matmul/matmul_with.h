// matmul() with a table of kernels that the caller names: for the self-test and for tests of single tables.
#pragma once

#include "engine/ops/matmul/matmul.h"
#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {

// As matmul(), for at least one term and one token.
void matmul_with(const Kernels& kernels, std::span<const MatmulTerm> terms, const float* x, std::int64_t ldx,
                 std::int64_t n_tok, Activations activations, std::span<std::byte> workspace,
                 Executor& executor) noexcept;

}  // namespace rowmax::engine::panel

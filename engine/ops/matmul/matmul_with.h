// matmul() and matmul_groups() with a table of kernels that the caller names: for the self-test and for tests of single tables.
#pragma once

#include <span>
#include <string_view>

#include "engine/ops/matmul/matmul.h"
#include "engine/ops/matmul/panel.h"

namespace rowmax::engine::panel {

// A table, the instruction set that it serves, and whether this CPU can run it.
struct KernelTable {
  std::string_view name;
  Isa isa;
  const Kernels& (*kernels)() noexcept;
  bool (*supported)() noexcept;
};
// Every table of this build, the faster ones of an instruction set after the slower ones.
std::span<const KernelTable> kernel_tables() noexcept;
// What matmul() uses: the last supported table of the instruction set. All tables give the same bits.
const Kernels& kernels_for(Isa isa) noexcept;

// As matmul(), for at least one term and one token.
void matmul_with(const Kernels& table, std::span<const MatmulTerm> terms, const float* x, std::int64_t ldx,
                 std::int64_t n_tok, Activations activations, std::span<std::byte> workspace,
                 Executor& executor) noexcept;
// As matmul_groups().
void matmul_groups_with(const Kernels& table, std::span<const MatmulGroup> groups, Activations activations,
                        std::span<std::byte> workspace, Executor& executor) noexcept;

}  // namespace rowmax::engine::panel

// The kernel table of one instruction set: included by matmul_<isa>.cc after dot_<isa>.h, which is all that differs.
#pragma once

#include "engine/ops/matmul/f32_kernel.h"
#include "engine/ops/matmul/int8_kernel.h"
#include "engine/ops/matmul/round_kernel.h"
#include "engine/ops/matmul/ternary_kernel.h"

namespace rowmax::engine::panel {
namespace {

template <class Panel>
constexpr PanelKernels panel_kernels() noexcept {
  if constexpr (Panel::kPanelKind == PanelKind::kInteger) {
    constexpr unsigned kCorrectionBits = corrections_of<Panel>(Start<Panel>::kOffset);
    return {&int8_few_tokens<Panel>, &int8_many<Panel>, Rounding::kBlocks, kCorrectionBits, kCorrectionBits, 1,
            kInt8FewPanels,          &f32_job<Panel>};
  } else if constexpr (Panel::kPanelKind == PanelKind::kTernary) {
    return {&ternary_few_tokens, &ternary_many,     Rounding::kByToken, 0u, 0u,
            kTernaryPanels,      kTernaryFewPanels, &f32_job<Panel>};
  } else {
    return {nullptr, nullptr, Rounding::kNone, 0u, 0u, kManyFloatPanels, kFewTokensPanels, &f32_job<Panel>};
  }
}

template <class... kPanels>
constexpr Kernels all_kernels(PanelList<kPanels...>) noexcept {
  return {{panel_kernels<kPanels>()...}, &round_groups<BinaryTerms>, &round_tokens<TilesInTurn>, kGemmTokens};
}

constexpr Kernels kAllKernels = all_kernels(Panels{});

}  // namespace
}  // namespace rowmax::engine::panel

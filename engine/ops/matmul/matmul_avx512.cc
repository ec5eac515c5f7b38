#include "engine/ops/matmul/dot_avx512.h"

#include "engine/ops/matmul/f32_kernel.h"
#include "engine/ops/matmul/ternary_kernel.h"
#include "engine/ops/matmul/words_avx512_kernel.h"

namespace rowmax::engine::panel {
namespace {

template <class Panel>
constexpr PanelKernels panel_kernels() noexcept {
  if constexpr (Panel::kPanelKind == PanelKind::kInteger) {
    return {&int8_few_tokens<Panel>,
            &word_many<Panel>,
            Rounding::kBlocks,
            corrections_of<Panel>(Start<Panel>::kOffset),
            corrections_of<Panel>(0),  // words have no offset
            kWordPanels,
            kInt8FewPanels,
            &f32_job<Panel>};
  } else if constexpr (Panel::kPanelKind == PanelKind::kTernary) {
    return {&ternary_few_tokens, &ternary_many,     Rounding::kByToken, 0u, 0u,
            kTernaryPanels,      kTernaryFewPanels, &f32_job<Panel>};
  } else {
    return {nullptr, nullptr, Rounding::kNone, 0u, 0u, kManyFloatPanels, kFewTokensPanels, &f32_job<Panel>};
  }
}

template <class... kPanels>
constexpr Kernels avx512_kernels(PanelList<kPanels...>) noexcept {
  return {{panel_kernels<kPanels>()...}, &round_words_or_bytes, &round_tokens<TilesInTurn>, kWordGroup};
}

constexpr Kernels kKernels = avx512_kernels(Panels{});

}  // namespace

const Kernels& kernels_avx512() noexcept { return kKernels; }

}  // namespace rowmax::engine::panel

#include "engine/ops/matmul/dot_avx2.h"

#include "engine/ops/matmul/bit_lut_kernel.h"
#include "engine/ops/matmul/f32_kernel.h"
#include "engine/ops/matmul/words_kernel.h"

namespace rowmax::engine::panel {
namespace {

template <class Panel>
constexpr PanelKernels panel_kernels() noexcept {
  if constexpr (Panel::kPanelKind == PanelKind::kInteger) {
    PanelKernels row = {&int8_few_tokens<Panel>,
                        &word_many<Panel>,
                        Rounding::kBlocks,
                        corrections_of<Panel>(Start<Panel>::kOffset),
                        corrections_of<Panel>(0),  // words have no offset
                        kWordPanels,
                        kInt8FewPanels,
                        &f32_job<Panel>};
    if constexpr (Panel::kBits == 1) {
      row.few = nullptr;
      row.few_by_lut = &bit_lut_job<Panel>;
      row.lut = kQuadLut;
      row.lut_step = kLutPanels;
    }
    return row;
  } else if constexpr (Panel::kPanelKind == PanelKind::kTernary) {
    return {&ternary_few_tokens, &ternary_byte_many, Rounding::kByToken, 0u, 0u,
            kWordPanels,         kTernaryFewPanels,  &f32_job<Panel>};
  } else {
    return {nullptr, nullptr, Rounding::kNone, 0u, 0u, kManyFloatPanels, kFewTokensPanels, &f32_job<Panel>};
  }
}

template <class... kPanels>
constexpr Kernels avx2_kernels(PanelList<kPanels...>) noexcept {
  return {
      {panel_kernels<kPanels>()...}, &round_words_or_bytes, &round_tokens<TilesInTurn>, kWordGroup, &build_bit_tables};
}

constexpr Kernels kKernels = avx2_kernels(Panels{});

}  // namespace

const Kernels& kernels_avx2() noexcept { return kKernels; }

}  // namespace rowmax::engine::panel

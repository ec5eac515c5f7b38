#include "engine/ops/matmul/dot_avx512.h"

#include <limits>

#include "base/cpu_features.h"
#include "engine/ops/matmul/amx_bf16_kernel.h"
#include "engine/ops/matmul/amx_ternary_kernel.h"

namespace rowmax::engine::panel {
namespace {

// Below these AVX-512 VNNI was as fast: tiles are empty in part, and one panel is unpacked for few tokens.
constexpr std::int64_t kMinTokens = 32, kMinTokensByToken = 8;
// Groups of 16 k have twice the sums to take through memory: alone never faster, beside others not slower.
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
static_assert(kMinTokens > kTokenStep && kMinTokensByToken > kTokenStep);

template <class Panel>
void set_many(PanelKernels& row) noexcept {
  if constexpr (Panel::kPanelKind == PanelKind::kInteger) {
    row.many = &amx_many<Panel>;
    row.many_corrections = corrections_of<Panel>(0);
    row.min_tokens = Panel::kGroups > 1 ? kNever : kMinTokens;
    row.panel_step = kAmxPanels;
  } else if constexpr (Panel::kPanelKind == PanelKind::kTernary) {
    row.many = &amx_ternary_many;
    row.min_tokens = kMinTokensByToken;
    row.panel_step = kAmxTernaryPanels;
  }
}

template <class... kPanels>
Kernels amx_kernels(PanelList<kPanels...>) noexcept {
  const Kernels& for_fewer = base::has_avx512_vbmi() ? kernels_avx512vbmi() : kernels_avx512();
  Kernels kernels = for_fewer;
  PanelKernels* row = kernels.panels;
  (set_many<kPanels>(*row++), ...);
  kernels.round = &round_groups<Bf16Terms>;
  kernels.round_by_token = &round_tokens<TilesInPairs>;
  kernels.token_group = kAmxTokens;
  kernels.for_fewer = &for_fewer;
  return kernels;
}

}  // namespace

const Kernels& kernels_amx() noexcept {
  static const Kernels kernels = amx_kernels(Panels{});
  return kernels;
}

}  // namespace rowmax::engine::panel

#include "apps/cli/kernel_list.h"

#include <cstdio>

#include "rowmax/cpu.h"
#include "rowmax/try.h"

namespace rowmax::cli {

bool lists_kernels(const EngineFlags& flags) { return kernel_names(flags) == "list"; }

Result<ExitCode> list_kernels(bool json) {
  ROWMAX_TRY(isa, engine::fastest_isa());
  ROWMAX_TRY(chosen, engine::choose_kernels({}, isa));
  Json rows = Json::array();
  if (!json) std::printf("%-12s %-16s %s\n", "kernels", "instruction set", "here");
  for (const engine::KernelVariant& variant : engine::kernel_variants()) {
    const bool by_default = variant.name == chosen.name;
    const std::string name(variant.name), set(isa_name(variant.isa));
    if (json) {
      rows.push_back({{"name", name},
                      {"isa", set},
                      {"supported", variant.supported()},
                      {"default", by_default},
                      {"missing", variant.missing}});
      continue;
    }
    std::printf("%-12s %-16s %s%s\n", name.c_str(), set.c_str(),
                variant.supported() ? "yes" : ("no: " + variant.missing).c_str(), by_default ? ", by default" : "");
  }
  if (json) ROWMAX_RETURN_IF_ERROR(print_json({{"kernels", rows}}));
  return ExitCode::kOk;
}

}  // namespace rowmax::cli

// One implementation of something for each instruction set of this build.
#pragma once

#include "base/check.h"
#include "rowmax/cpu.h"

namespace rowmax::base {

// nullptr: this build has none (another architecture).
template <class T>
struct IsaTable {
  const T* scalar = nullptr;
  const T* avx2 = nullptr;
  const T* avx512 = nullptr;
  const T* neon = nullptr;

  // isa must be one that this machine can run: who takes it from outside has asked (cpu_backend(), find_isa()).
  const T& at(Isa isa) const noexcept {
    const T* const entries[] = {scalar, avx2, avx512, neon};
    ROWMAX_CHECK(isa_supported(isa), "an instruction set that this machine cannot run");
    const T* entry = entries[static_cast<int>(isa)];
    ROWMAX_CHECK(entry != nullptr, "an instruction set that this build has no kernels for");
    return *entry;
  }
};

}  // namespace rowmax::base

// Which kernels multiply weights. There are several variants of one algorithm, each for instructions that some CPUs have;
// all give the same bits, and a session runs one of them. Functions here may be called from any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rowmax/cpu.h"
#include "rowmax/result.h"

namespace rowmax::engine {

struct KernelVariant {
  // "scalar", "avx2", "avxvnni", "avx512", "avx512vbmi", "amx", "neon", "dotprod" or "i8mm"; static storage. A name keeps
  // its meaning from version to version. "amx" has tiles for many tokens and leaves few to "avx512vbmi" or "avx512".
  std::string_view name;
  Isa isa = Isa::kScalar;  // on which everything else of the session runs
  std::string missing;     // why this machine cannot run it; empty: it can
  bool supported() const noexcept { return missing.empty(); }
};

// Every variant there is, those for other architectures too: by instruction set, the faster ones behind the slower ones.
std::vector<KernelVariant> kernel_variants();

// What options ask for, by name.
struct KernelChoice {
  std::string force;                // this one, and its instruction set in place of the options' `isa`
  std::vector<std::string> forbid;  // none of these
};

// The variant that a session runs: the forced one; else the fastest of `isa` that this machine can run and that is not
// forbidden, or where none is left of it, the fastest of the instruction sets below. kInvalidArgument for a name that is
// not known (the message lists them) or that is forced and forbidden; kUnsupported where the machine cannot run the forced
// one or `isa`, or where nothing is left.
Result<KernelVariant> choose_kernels(const KernelChoice& choice, Isa isa);

}  // namespace rowmax::engine

// What this machine does at most, measured: bytes read, and products by each instruction that the kernels multiply with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rowmax/executor.h"

namespace rowmax::bench {

// GB/s of all threads reading `memory` in order, each thread as `streams` (1 to 16) runs side by side. A core that follows
// one run alone does not reach what it can read. The best of the passes that fit into `seconds`.
double read_gb_per_s(Executor& executor, std::span<const std::byte> memory, int streams, double seconds);

struct Peak {
  std::string name;  // the instructions: "vpmaddwd + vpaddd ymm"
  bool integer = false;
  double gops = 0;  // operations a second of all threads; a product and its sum are two
};

// Of those instructions that this processor has, from independent chains in registers.
std::vector<Peak> product_peaks(Executor& executor);

}  // namespace rowmax::bench

// What this machine reads and multiplies at most, as JSON: the roofs of docs/performance.md and bench/peers/speed.py.
//
//   rowmax_machine_limits [THREADS]...        of each number of threads (1)
//
// {"cpu": NAME, "limits": [{"threads": 1, "read_gb_per_s": {"1": 18.2, "4": 24.9, ...} (by streams of a thread),
//  "peaks": [{"instruction": "vpmaddwd + vpaddd ymm", "integer": true, "gops": 154.0}, ...]}, ...]}
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "bench/limits.h"
#include "rowmax/cpu.h"
#include "rowmax/executor.h"

using namespace rowmax;

int main(int argc, char** argv) {
  constexpr std::size_t kBytes = std::size_t{512} << 20, kHugePage = std::size_t{2} << 20;
  const std::unique_ptr<std::byte, void (*)(void*)> memory(
      static_cast<std::byte*>(std::aligned_alloc(kHugePage, kBytes)), std::free);
  if (memory == nullptr) {
    std::fprintf(stderr, "rowmax_machine_limits: no %zu bytes of memory\n", kBytes);
    return 1;
  }
  madvise(memory.get(), kBytes, MADV_HUGEPAGE);  // as weights have them
  std::memset(memory.get(), 1, kBytes);
  std::printf("{\"cpu\": \"%s\", \"limits\": [", cpu_name().data());
  for (int i = 1; i < (argc > 1 ? argc : 2); ++i) {
    const int threads = argc > 1 ? std::atoi(argv[i]) : 1;
    auto executor = threads > 0 ? make_thread_pool(threads) : Error{ErrorCode::kInvalidArgument, "threads: 1 or more"};
    if (!executor.ok()) {
      std::fprintf(stderr, "rowmax_machine_limits: %s: %s\n", argv[i], executor.error().message.c_str());
      return 2;
    }
    std::printf("%s{\"threads\": %d, \"read_gb_per_s\": {", i > 1 ? ", " : "", threads);
    for (const int streams : {1, 2, 4, 8, 16}) {
      std::printf("%s\"%d\": %.2f", streams > 1 ? ", " : "", streams,
                  bench::read_gb_per_s(**executor, {memory.get(), kBytes}, streams, 0.4));
    }
    std::printf("}, \"peaks\": [");
    bool first = true;
    for (const bench::Peak& peak : bench::product_peaks(**executor)) {
      std::printf("%s{\"instruction\": \"%s\", \"integer\": %s, \"gops\": %.1f}", first ? "" : ", ", peak.name.c_str(),
                  peak.integer ? "true" : "false", peak.gops);
      first = false;
    }
    std::printf("]}");
  }
  std::printf("]}\n");
  return 0;
}

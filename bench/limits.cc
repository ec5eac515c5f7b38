#include "bench/limits.h"

#include <time.h>

#include <algorithm>
#include <atomic>

#include "base/cpu_features.h"
#include "rowmax/cpu.h"

namespace rowmax::bench {
namespace {

double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Seconds of the fastest call within about `seconds` of them. One thread's are of the processor: others may use it too.
template <class Body>
double fastest(const Executor& executor, double seconds, Body&& body) {
  const clockid_t clock = executor.concurrency() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  double best = 0;
  const double start = now(CLOCK_MONOTONIC);
  for (int calls = 0; calls < 3 || now(CLOCK_MONOTONIC) - start < seconds; ++calls) {
    const double before = now(clock);
    body();
    const double time = now(clock) - before;
    best = calls == 0 ? time : std::min(best, time);
  }
  return best;
}

template <int kStreams>
std::uint64_t sum(const std::byte* piece, std::size_t n_bytes) {
  constexpr std::size_t kLine = 64 / sizeof(std::uint64_t), kAhead = 2048 / sizeof(std::uint64_t);
  const auto* words = reinterpret_cast<const std::uint64_t*>(piece);
  const std::size_t part = n_bytes / kStreams / sizeof(std::uint64_t);
  std::uint64_t sums[kStreams] = {};
  for (std::size_t i = 0; i < part; i += kLine) {  // a word of each line: the rest is in cache then
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      __builtin_prefetch(words + stream * part + i + kAhead);
      sums[stream] += words[stream * part + i];
    }
  }
  std::uint64_t total = 0;
  for (const std::uint64_t each : sums) total += each;
  return total;
}

using Sum = std::uint64_t (*)(const std::byte*, std::size_t);
Sum sum_of(int streams) {
  return streams <= 1 ? sum<1> : streams <= 2 ? sum<2> : streams <= 4 ? sum<4> : streams <= 8 ? sum<8> : sum<16>;
}

struct Chain {
  const char* name;
  bool integer;
  bool (*supported)() noexcept;
  void (*run)(std::int64_t n);
  int operations;  // of one loop
};

#if defined(__x86_64__)
bool has_avx2() noexcept { return isa_supported(Isa::kAvx2); }
bool has_avx512() noexcept { return isa_supported(Isa::kAvx512); }

// clang-format off
#define ROWMAX_TWELVE(one) one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(8) one(9) one(10) one(11)
#define ROWMAX_FMA(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n"
#define ROWMAX_FMA512(i) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" #i "\n"
#define ROWMAX_DOT(i) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #i "\n"
#define ROWMAX_DOT512(i) "vpdpbusd %%zmm14, %%zmm15, %%zmm" #i "\n"
#define ROWMAX_WORDS(i) "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n vpaddd %%ymm13, %%ymm" #i ", %%ymm" #i "\n"
#define ROWMAX_BYTES(i) "vpmaddubsw %%ymm14, %%ymm15, %%ymm13\n vpaddw %%ymm13, %%ymm" #i ", %%ymm" #i "\n"
#define ROWMAX_SMMLA(i) "smmla v" #i ".4s, v20.16b, v21.16b\n"
#define ROWMAX_CHAIN(name, flags, one)                                                                            \
  __attribute__((target(flags))) void name(std::int64_t n) {                                                      \
    asm volatile("vpxor %%ymm14, %%ymm14, %%ymm14\n vpxor %%ymm15, %%ymm15, %%ymm15\n"                            \
                 "1:\n" ROWMAX_TWELVE(one) "dec %0\n jnz 1b\n"                                                    \
                 : "+r"(n)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                   "xmm10", "xmm11", "xmm13", "xmm14", "xmm15");                                                  \
  }
// clang-format on
ROWMAX_CHAIN(fma_ymm, "avx2,fma", ROWMAX_FMA)
ROWMAX_CHAIN(fma_zmm, "avx512f", ROWMAX_FMA512)
ROWMAX_CHAIN(words_ymm, "avx2", ROWMAX_WORDS)
ROWMAX_CHAIN(bytes_ymm, "avx2", ROWMAX_BYTES)
ROWMAX_CHAIN(dot_ymm, "avx2", ROWMAX_DOT)
ROWMAX_CHAIN(dot_zmm, "avx512f,avx512vnni", ROWMAX_DOT512)

// Four independent sums in tiles.
__attribute__((target("amx-tile,amx-int8"))) void tiles(std::int64_t n) {
  alignas(64) std::uint8_t config[64] = {1};
  for (int tile = 0; tile < 8; ++tile) {
    config[16 + 2 * tile] = 64;
    config[48 + tile] = 16;
  }
  asm volatile(
      "ldtilecfg %1\n"
      "1:\n"
      "tdpbusd %%tmm4, %%tmm5, %%tmm0\n tdpbusd %%tmm4, %%tmm6, %%tmm1\n"
      "tdpbusd %%tmm4, %%tmm7, %%tmm2\n tdpbusd %%tmm5, %%tmm6, %%tmm3\n"
      "dec %0\n jnz 1b\n"
      "tilerelease\n"
      : "+r"(n)
      : "m"(config)
      : "cc");
}

constexpr Chain kChains[] = {
    {"vfmadd231ps ymm", false, has_avx2, fma_ymm, 12 * 16},
    {"vfmadd231ps zmm", false, has_avx512, fma_zmm, 12 * 32},
    {"vpmaddwd + vpaddd ymm", true, has_avx2, words_ymm, 12 * 32},
    {"vpmaddubsw + vpaddw ymm", true, has_avx2, bytes_ymm, 12 * 64},
    {"vpdpbusd ymm", true, base::has_avx_vnni, dot_ymm, 12 * 64},
    {"vpdpbusd zmm", true, has_avx512, dot_zmm, 12 * 128},
    {"tdpbusd", true, base::has_amx, tiles, 4 * 32768},
};
#elif defined(__aarch64__)
bool always() noexcept { return true; }

#define ROWMAX_TWELVE(one) one(0) one(1) one(2) one(3) one(4) one(5) one(6) one(7) one(16) one(17) one(18) one(19)
#define ROWMAX_FMLA(i) "fmla v" #i ".4s, v20.4s, v21.4s\n"
#define ROWMAX_SMLAL(i) "smlal v" #i ".4s, v20.4h, v21.4h\n"
#define ROWMAX_SDOT(i) "sdot v" #i ".4s, v20.16b, v21.16b\n"
#define ROWMAX_SMMLA(i) "smmla v" #i ".4s, v20.16b, v21.16b\n"
#define ROWMAX_CHAIN(name, architecture, one)                                                                        \
  void name(std::int64_t n) {                                                                                        \
    asm volatile(".arch " architecture                                                                               \
                 "\n movi v20.4s, 0\n movi v21.4s, 0\n 1:\n" ROWMAX_TWELVE(one) "subs %0, %0, 1\n b.ne 1b\n"         \
                 : "+r"(n)::"cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", \
                   "v21");                                                                                           \
  }
ROWMAX_CHAIN(fmla, "armv8-a", ROWMAX_FMLA)
ROWMAX_CHAIN(smlal, "armv8-a", ROWMAX_SMLAL)
ROWMAX_CHAIN(sdot, "armv8.2-a+dotprod", ROWMAX_SDOT)
ROWMAX_CHAIN(smmla, "armv8.2-a+i8mm", ROWMAX_SMMLA)

constexpr Chain kChains[] = {
    {"fmla 4s", false, always, fmla, 12 * 8},
    {"smlal 4s", true, always, smlal, 12 * 8},
    {"sdot 4s", true, base::has_neon_dotprod, sdot, 12 * 32},
    {"smmla 4s", true, base::has_neon_i8mm, smmla, 12 * 64},
};
#endif

}  // namespace

double read_gb_per_s(Executor& executor, std::span<const std::byte> memory, int streams, double seconds) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  const auto n = static_cast<std::int64_t>(memory.size() / kPiece);
  const Sum sum = sum_of(streams);
  std::atomic<std::uint64_t> total{0};  // so that nothing can be left out
  const double time = fastest(executor, seconds, [&] {
    parallel_for(executor, n, [&](std::int64_t piece, int) {
      total.fetch_add(sum(memory.data() + static_cast<std::size_t>(piece) * kPiece, kPiece), std::memory_order_relaxed);
    });
  });
  return time > 0 ? static_cast<double>(n) * kPiece / time * 1e-9 : 0;
}

std::vector<Peak> product_peaks(Executor& executor) {
  std::vector<Peak> peaks;
#if defined(__x86_64__) || defined(__aarch64__)
  for (const Chain& chain : kChains) {
    if (!chain.supported()) continue;
    // A few milliseconds each.
    const std::int64_t loops = std::int64_t{600'000'000} / chain.operations + 1;
    const double time = fastest(executor, 0.1, [&] {
      parallel_for(executor, executor.concurrency(), [&](std::int64_t, int) { chain.run(loops); });
    });
    const double operations = static_cast<double>(loops) * chain.operations * executor.concurrency();
    peaks.push_back({chain.name, chain.integer, time > 0 ? operations / time * 1e-9 : 0});
  }
#else
  static_cast<void>(executor);
#endif
  return peaks;
}

}  // namespace rowmax::bench

// Speed of engine/ops/delta beside what the machine can do, for a layer of 32 heads with dk = dv = 128: the state's
// traffic in GB/s (read and written) against a plain pass that multiplies the same memory in place, and GFLOP/s (7 an
// element of the state and token) against independent fma chains.
//
//   rowmax_delta_bench [--threads N] [--isa NAME] [--seconds S] [--small] [--cpu]
//
// The states of 24 layers are taken in turn, as decoding does; --small keeps one. Medians over repetitions. --cpu: one
// thread, and the best processor time instead of the median wall time, for a machine that others use as well.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <time.h>

#include "base/buffer.h"
#include "base/fp_env.h"
#include "engine/ops/delta/delta_gates.h"
#include "engine/ops/delta/delta_kernels.h"
#include "engine/ops/rows/row_kernels.h"
#include "rowmax/executor.h"

namespace {

using namespace rowmax;
using namespace rowmax::engine;

constexpr std::int64_t kHeads = 32, kDk = 128, kDv = 128, kMaxTokens = 128, kTaps = 4;
constexpr std::int64_t kChannels = 2 * 16 * kDk + kHeads * kDv;  // 16 heads of q and k

double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Options {
  int threads = 2;
  double seconds = 0.3;
  bool small = false, cpu = false;
  Isa isa = supported_isas().back();
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--threads" && i + 1 < argc) {
      options.threads = std::atoi(argv[++i]);
    } else if (arg == "--seconds" && i + 1 < argc) {
      options.seconds = std::atof(argv[++i]);
    } else if (arg == "--small") {
      options.small = true;
    } else if (arg == "--cpu") {
      options.cpu = true;
      options.threads = 1;
    } else if (arg == "--isa" && i + 1 < argc) {
      auto isa = find_isa(argv[++i]);
      if (!isa.ok()) {
        std::fprintf(stderr, "%s\n", isa.error().message.c_str());
        std::exit(2);
      }
      options.isa = *isa;
    } else {
      std::fprintf(stderr, "unknown argument %s\n", arg.c_str());
      std::exit(2);
    }
  }
  return options;
}

// Calls body for about the options' time; the median time of one call (with --cpu the shortest).
template <class Body>
double median_time(const Options& options, Body&& body) {
  const clockid_t clock = options.cpu ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  body();
  std::vector<double> times;
  const double start = now(CLOCK_MONOTONIC);
  while (now(CLOCK_MONOTONIC) - start < options.seconds || times.size() < 5) {
    const double before = now(clock);
    body();
    times.push_back(now(clock) - before);
  }
  const std::size_t wanted = options.cpu ? 0 : times.size() / 2;
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(wanted), times.end());
  return times[wanted];
}

#if defined(__x86_64__)
#define FMA12(r)                                                                             \
  "1:\n vfmadd231ps %%" r "12, %%" r "13, %%" r "0\n vfmadd231ps %%" r "12, %%" r "13, %%" r \
  "1\n"                                                                                      \
  "vfmadd231ps %%" r "12, %%" r "13, %%" r "2\n vfmadd231ps %%" r "12, %%" r "13, %%" r      \
  "3\n"                                                                                      \
  "vfmadd231ps %%" r "12, %%" r "13, %%" r "4\n vfmadd231ps %%" r "12, %%" r "13, %%" r      \
  "5\n"                                                                                      \
  "vfmadd231ps %%" r "12, %%" r "13, %%" r "6\n vfmadd231ps %%" r "12, %%" r "13, %%" r      \
  "7\n"                                                                                      \
  "vfmadd231ps %%" r "12, %%" r "13, %%" r "8\n vfmadd231ps %%" r "12, %%" r "13, %%" r      \
  "9\n"                                                                                      \
  "vfmadd231ps %%" r "12, %%" r "13, %%" r "10\n vfmadd231ps %%" r "12, %%" r "13, %%" r "11\n dec %0\n jnz 1b\n"
#define CLOBBERS                                                                                                   \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
      "xmm13"
__attribute__((target("avx512f"))) void zmm_chains(std::int64_t n) { asm volatile(FMA12("zmm") : "+r"(n)::CLOBBERS); }
__attribute__((target("avx2,fma"))) void ymm_chains(std::int64_t n) { asm volatile(FMA12("ymm") : "+r"(n)::CLOBBERS); }
double fma_peak(const Options& options, Executor& executor) {
  constexpr std::int64_t kLoops = 1'000'000;
  const bool wide = options.isa == Isa::kAvx512;
  if (!wide && options.isa != Isa::kAvx2) return 0.0;
  const double time = median_time(options, [&] {
    parallel_for(executor, executor.concurrency(),
                 [&](std::int64_t, int) { wide ? zmm_chains(kLoops) : ymm_chains(kLoops); });
  });
  return static_cast<double>(kLoops) * 12 * (wide ? 32 : 16) * executor.concurrency() / time * 1e-9;
}
#else
double fma_peak(const Options&, Executor&) { return 0.0; }
#endif

std::vector<float> random_floats(std::int64_t n, float low, float high) {
  std::vector<float> out(static_cast<std::size_t>(n));
  std::uint64_t seed = 1;
  for (float& x : out) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    x = low + (high - low) * static_cast<float>(seed >> 40) / 16777216.0f;
  }
  return out;
}

struct Peaks {
  double traffic, flops;
};

void bench_rule(const Options& options, Executor& executor, float* states, std::int64_t n_layer, const Peaks& peaks) {
  const DeltaKernels& kernels = delta_kernels(options.isa);
  const std::int64_t head_floats = delta_state_floats(kDk, kDv), layer_floats = kHeads * head_floats;
  const std::vector<float> q = random_floats(kMaxTokens * kHeads * kDk, -0.15f, 0.15f);
  const std::vector<float> v = random_floats(kMaxTokens * kHeads * kDv, -1.0f, 1.0f);
  const std::vector<float> decay = random_floats(kMaxTokens * kHeads, 0.9f, 1.0f);
  std::vector<float> out(v.size());
  for (const std::int64_t n_tok : {1, 2, 4, 16, 128}) {
    std::int64_t layer = 0;
    const double time = median_time(options, [&] {
      float* state = states + layer++ % n_layer * layer_floats;
      parallel_for(executor, kHeads, [&](std::int64_t head, int) {
        const base::ScopedFpEnv fp_env;
        const float *of_head = q.data() + head * kDk, *gates = decay.data() + head;
        const DeltaInputs in{of_head,      kHeads * kDk, of_head, kHeads * kDk, v.data() + head * kDv,
                             kHeads * kDv, gates,        gates,   kHeads};
        kernels.delta_rule(state + head * head_floats, in, n_tok, kDk, kDv, 0, delta_panels(kDv),
                           out.data() + head * kDv, kHeads * kDv);
      });
    });
    const double traffic = 2.0 * static_cast<double>(layer_floats) * sizeof(float) / time * 1e-9;
    const double flops = 7.0 * static_cast<double>(layer_floats * n_tok) / time * 1e-9;
    std::printf("rule  n=%-4ld %8.1f us  %6.1f GB/s of state (%3.0f %%)  %6.1f GFLOP/s (%3.0f %%)\n",
                static_cast<long>(n_tok), time * 1e6, traffic, 100 * traffic / peaks.traffic, flops,
                peaks.flops > 0 ? 100 * flops / peaks.flops : 0.0);
  }
}

void bench_conv_and_gates(const Options& options, Executor& executor) {
  const DeltaKernels& kernels = delta_kernels(options.isa);
  const std::vector<float> weights = random_floats(kTaps * kChannels, -1.0f, 1.0f);
  const std::vector<float> x = random_floats(kMaxTokens * kChannels, -1.0f, 1.0f);
  std::vector<float> state(static_cast<std::size_t>((kTaps - 1) * kChannels)), y(x.size());
  constexpr std::int64_t kTaskChannels = 512;
  for (const std::int64_t n_tok : {std::int64_t{1}, kMaxTokens}) {
    const double time = median_time(options, [&] {
      parallel_for(executor, kChannels / kTaskChannels, [&](std::int64_t task, int) {
        const base::ScopedFpEnv fp_env;
        const std::int64_t begin = task * kTaskChannels;
        const ConvInputs in{weights.data(), kTaps, kChannels, begin, begin + kTaskChannels, x.data(), kChannels};
        kernels.conv_silu(state.data(), in, n_tok, y.data(), kChannels);
      });
    });
    std::printf("conv  n=%-4ld %8.1f us  %6.2f ns a token and 16 channels\n", static_cast<long>(n_tok), time * 1e6,
                time * 1e9 / static_cast<double>(n_tok * kChannels / 16));
  }
  std::vector<float> decay(kHeads), beta(kHeads);
  const std::vector<float> coef = random_floats(kHeads, -16.0f, 0.0f);
  const double time = median_time(options, [&] {
    delta_gates(x.data(), x.data() + kHeads, coef.data(), x.data(), kHeads, decay.data(), beta.data());
  });
  std::printf("gates        %8.1f us a token, %.0f ns a head\n", time * 1e6, time * 1e9 / kHeads);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  auto executor = make_thread_pool(options.threads);
  if (!executor.ok()) return 1;
  const std::int64_t n_layer = options.small ? 1 : 24, layer_floats = kHeads * delta_state_floats(kDk, kDv);
  auto memory = base::Buffer::allocate_zeroed(static_cast<std::size_t>(n_layer * layer_floats) * sizeof(float));
  if (!memory.ok()) return 1;
  auto* states = reinterpret_cast<float*>(memory->data());
  std::int64_t layer = 0;
  const double pass = median_time(options, [&] {
    float* state = states + layer++ % n_layer * layer_floats;
    parallel_for(**executor, kHeads, [&](std::int64_t head, int) {
      row_kernels(options.isa).scale(state + head * (layer_floats / kHeads), 0.5f, layer_floats / kHeads);
    });
  });
  const Peaks peaks{2.0 * static_cast<double>(layer_floats) * sizeof(float) / pass * 1e-9,
                    fma_peak(options, **executor)};
  std::printf("%s, %d threads, %s, %ld layers of %ld heads %ld x %ld: %.1f GB/s in place, fma %.0f GFLOP/s\n",
              cpu_name().data(), options.threads, isa_name(options.isa).data(), static_cast<long>(n_layer),
              static_cast<long>(kHeads), static_cast<long>(kDk), static_cast<long>(kDv), peaks.traffic, peaks.flops);
  bench_rule(options, **executor, states, n_layer, peaks);
  bench_conv_and_gates(options, **executor);
  return 0;
}

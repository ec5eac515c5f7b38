// Speed of attend(): prefill in useful GFLOP/s (visible pairs only), decode in GB/s of keys and values beside the
// machine's read bandwidth, measured in the same run.
//
//   rowmax_attend_bench [prefill|decode|all] [threads] [isa]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <time.h>

#include "base/buffer.h"
#include "base/half.h"
#include "rowmax/attention.h"

namespace rowmax {
namespace {

bool cpu_clock = false;  // one thread: count its own time, so that a busy machine disturbs less

double seconds() {
  timespec now;
  clock_gettime(cpu_clock ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// The best of enough runs to fill about 0.4 s.
template <class Fn>
double best_time(Fn&& fn) {
  fn();
  double best = 1e9;
  const double start = seconds();
  for (int i = 0; i < 3 || seconds() - start < 0.4; ++i) {
    const double t = seconds();
    fn();
    best = std::min(best, seconds() - t);
  }
  return best;
}

float noise(std::uint64_t& state) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return static_cast<float>(static_cast<std::int32_t>(state >> 32)) * 0x1p-31f;
}

struct Setup {
  std::vector<Sequence> sequences;
  std::vector<KvSequence> kv;
  MaskPlan plan;
  AttendArgs args;
  base::Buffer workspace;
};

void prepare(Setup* setup, const MaskSpec& spec, std::int64_t n_head, std::int64_t n_kv_head, Executor& executor) {
  const Status status = setup->plan.compile(
      spec, {setup->sequences, static_cast<std::int32_t>(n_head), static_cast<std::int32_t>(n_kv_head)});
  if (!status.ok()) std::printf("plan: %s\n", status.error().message.c_str());
  setup->args.sequences = setup->kv;
  setup->workspace =
      std::move(base::Buffer::allocate(attend_workspace_bytes(setup->args, setup->plan, executor.concurrency())))
          .value();
}

double time_attend(Setup& setup, Executor& executor, Isa isa) {
  return best_time([&] {
    const auto report = attend(setup.args, setup.plan, {setup.workspace.data(), setup.workspace.size()}, executor, isa);
    if (!report.ok()) std::printf("attend: %s\n", report.error().message.c_str());
  });
}

void bench_prefill(Executor& executor, Isa isa) {
  std::printf(
      "prefill, f32, 8 heads of their own K/V, GFLOP/s\n| d | n | full | causal | window 256 "
      "|\n|---|---|---|---|---|\n");
  std::uint64_t state = 1;
  for (std::int64_t d : {64, 128}) {
    for (std::int64_t n : {512, 1024, 2048, 4096}) {
      const std::int64_t n_head = n >= 2048 ? 2 : 8;
      std::vector<float> q(static_cast<std::size_t>(n * n_head * d)), k(q.size()), v(q.size()), out(q.size());
      for (auto* values : {&q, &k, &v}) {
        for (float& value : *values) value = noise(state);
      }
      std::printf("| %d | %d |", static_cast<int>(d), static_cast<int>(n));
      for (int mask = 0; mask < 3; ++mask) {
        Setup setup;
        setup.sequences = {{0, n, 0, n}};
        setup.args.q = packed_heads(q.data(), n, n_head, d);
        setup.args.out = packed_heads(out.data(), n, n_head, d);
        setup.args.kv = packed_kv(DType::kF32, n_head, d, d);
        setup.args.kv.k = {0, d, n * d, 1};
        setup.args.kv.v = {0, d, n * d, 1};
        setup.args.scale = 1.0f / std::sqrt(static_cast<float>(d));
        setup.kv.resize(1);
        setup.kv[0].k = k.data();
        setup.kv[0].v = v.data();
        MaskSpec spec;
        if (mask >= 1) spec.causal();
        if (mask == 2) spec.window(255, 0);
        prepare(&setup, spec, n_head, n_head, executor);
        const double pairs = static_cast<double>(setup.plan.stats().visible_pairs);
        std::printf(" %.0f |", pairs * 4 * static_cast<double>(d) / time_attend(setup, executor, isa) * 1e-9);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
  }
}

// Sums of everything in memory with as many independent streams as threads.
double read_bandwidth(Executor& executor, const base::Buffer& memory) {
  const auto* words = memory.as<std::uint64_t>();
  const std::int64_t n = static_cast<std::int64_t>(memory.size() / 8);
  const std::int64_t n_tasks = executor.concurrency() * 16;
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(n_tasks));
  const double time = best_time([&] {
    parallel_for(executor, n_tasks, [&](std::int64_t task, int) {
      std::uint64_t lanes[32] = {};
      const std::int64_t end = n * (task + 1) / n_tasks / 32 * 32;
      for (std::int64_t i = n * task / n_tasks / 32 * 32; i < end; i += 32) {
        __builtin_prefetch(words + i + 512);
        __builtin_prefetch(words + i + 520);
        __builtin_prefetch(words + i + 528);
        __builtin_prefetch(words + i + 536);
        for (int lane = 0; lane < 32; ++lane) lanes[lane] ^= words[i + lane];
      }
      std::uint64_t sum = 0;
      for (std::uint64_t lane : lanes) sum ^= lane;
      sums[static_cast<std::size_t>(task)] = sum;
    });
  });
  volatile std::uint64_t sink = 0;
  for (std::uint64_t sum : sums) sink = sink ^ sum;
  return static_cast<double>(memory.size()) / time * 1e-9;
}

void bench_decode(Executor& executor, Isa isa) {
  constexpr std::int64_t kKvHeads = 8, kDim = 128;
  constexpr std::size_t kPool = std::size_t{1} << 29;  // of keys, and of values: no cache holds them
  auto k_pool = base::Buffer::allocate_zeroed(kPool);
  auto v_pool = base::Buffer::allocate_zeroed(kPool);
  if (!k_pool.ok() || !v_pool.ok()) return;
  std::uint64_t state = 1;
  for (base::Buffer* pool : {&*k_pool, &*v_pool}) {
    auto* halves = pool->as<std::uint16_t>();
    for (std::size_t i = 0; i < kPool / 2; ++i) {
      halves[i] = i < 65536 ? base::f32_to_f16(noise(state)) : halves[i - 65536];
    }
  }
  const double bandwidth = read_bandwidth(executor, *k_pool);
  std::printf("decode, one query a sequence, f16 pages of 64 keys, %d kv heads, d %d; read bandwidth %.1f GB/s\n",
              static_cast<int>(kKvHeads), static_cast<int>(kDim), bandwidth);
  std::printf("| group | keys | us | GB/s | of bandwidth |\n|---|---|---|---|---|\n");
  const std::int64_t page_bytes = kKvHeads * kDim * kKeyTile * 2;
  const std::int64_t n_pages = static_cast<std::int64_t>(kPool) / page_bytes;
  for (std::int64_t group : {1, 4, 8}) {
    for (std::int64_t n_kv : {1024, 4096, 16384, 65536}) {
      const std::int64_t n_head = kKvHeads * group;
      std::vector<float> q(static_cast<std::size_t>(n_head * kDim)), out(q.size());
      for (float& value : q) value = noise(state);
      std::vector<std::int32_t> table(static_cast<std::size_t>(n_kv / kKeyTile));
      Setup setup;
      setup.sequences = {{0, 1, n_kv - 1, n_kv}};
      setup.args.q = packed_heads(q.data(), 1, n_head, kDim);
      setup.args.out = packed_heads(out.data(), 1, n_head, kDim);
      setup.args.kv = paged_kv(DType::kF16, kKvHeads, kDim, kDim);
      setup.args.scale = 1.0f / std::sqrt(static_cast<float>(kDim));
      setup.kv.resize(1);
      setup.kv[0].k = k_pool->data();
      setup.kv[0].v = v_pool->data();
      setup.kv[0].pages = table.data();
      prepare(&setup, MaskSpec().causal(), n_head, kKvHeads, executor);
      std::int64_t next = 0;
      const double time = best_time([&] {
        for (std::int32_t& page : table) page = static_cast<std::int32_t>(next++ % n_pages);
        const auto report =
            attend(setup.args, setup.plan, {setup.workspace.data(), setup.workspace.size()}, executor, isa);
        if (!report.ok()) std::printf("attend: %s\n", report.error().message.c_str());
      });
      const double rate = static_cast<double>(2 * n_kv * kKvHeads * kDim * 2) / time * 1e-9;
      std::printf("| %d | %d | %.1f | %.1f | %.0f %% |\n", static_cast<int>(group), static_cast<int>(n_kv), time * 1e6,
                  rate, 100 * rate / bandwidth);
      std::fflush(stdout);
    }
  }
}

int run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "all";
  auto executor = make_thread_pool(argc > 2 ? std::atoi(argv[2]) : 0);
  auto isa = argc > 3 ? find_isa(argv[3]) : default_isa();
  if (!executor.ok() || !isa.ok()) {
    std::printf("%s\n", (!executor.ok() ? executor.error() : isa.error()).message.c_str());
    return 1;
  }
  cpu_clock = (*executor)->concurrency() == 1;
  std::printf("%s, %d threads, %s\n", std::string(cpu_name()).c_str(), (*executor)->concurrency(),
              std::string(isa_name(*isa)).c_str());
  if (what != "decode") bench_prefill(**executor, *isa);
  if (what != "prefill") bench_decode(**executor, *isa);
  return 0;
}

}  // namespace
}  // namespace rowmax

int main(int argc, char** argv) { return rowmax::run(argc, argv); }

// Speed of attend(). One case a line of input, or the arguments as one case; one JSON object a case on output.
//
//   rowmax_attend_bench op=prefill d=128 n=2048 mask=causal threads=2
//   printf 'op=peak\nop=prefill d=64 n=512\n' | rowmax_attend_bench
//
//   op=prefill    d n heads mask         f32, every head with keys and values of its own
//                 mask: full, causal, window (256 keys), padding (the left half), documents (8 of equal length),
//                 keep (window and the first 4 keys)
//   op=lowered    d n heads              causal from a plan, and compiled into the kernel; one thread
//   op=bare       d n heads mask         attend(), and its kernel alone without any of its observers (probe, weights,
//                 search for faulty weights) nor their checks; one thread
//   op=decode     d n group kv_heads pool_mib kv  one query a sequence, kv=f16 or q8_0 in pages of 64 keys, rotating over
//                 the pool
//   op=bandwidth  pool_mib               reads the pool of op=decode
//   op=peak                              fused multiply-adds in registers
// for all: threads, isa, ms (time to spend, at least), min_reps. Result: time_s of every repetition, other_s of every
// repetition of the second where two are compared (in turns: A B, B A, ...), work (floating point operations on visible
// pairs, or bytes), tile_work (the same on tiles of 64 queries by 64 keys with a visible pair). Repetitions with one
// thread count its own time, so that a busy machine disturbs less.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <time.h>

#include "attention/schedule.h"
#include "base/buffer.h"
#include "base/half.h"
#include "bench/attention/isa_kernels.h"
#include "rowmax/attention.h"

namespace rowmax::bench {
namespace {

class Case {
 public:
  explicit Case(const std::string& line) : line_(line) {
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      const std::size_t at = word.find('=');
      if (at != std::string::npos) values_[word.substr(0, at)] = word.substr(at + 1);
    }
  }
  std::string text(const std::string& key, const std::string& otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : found->second;
  }
  std::int64_t number(const std::string& key, std::int64_t otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : std::atoll(found->second.c_str());
  }
  const std::string& line() const { return line_; }

 private:
  std::string line_;
  std::map<std::string, std::string> values_;
};

struct Timing {
  double work = 0;
  double tile_work = 0;
  std::vector<double> times;
  std::vector<double> others;
};

double seconds(int threads) {
  timespec now;
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <class Fn>
double time_of(int threads, Fn&& fn) {
  const double start = seconds(threads);
  fn();
  return seconds(threads) - start;
}

template <class Fn>
std::vector<double> repeat(const Case& c, int threads, Fn&& fn) {
  fn();
  std::vector<double> times;
  const double limit = 1e-3 * static_cast<double>(c.number("ms", 300));
  const auto min_reps = static_cast<std::size_t>(c.number("min_reps", 3));
  for (double spent = 0; spent < limit || times.size() < min_reps; spent += times.back()) {
    times.push_back(time_of(threads, fn));
  }
  return times;
}

// Both in turns, each first as often as the other.
template <class Fn, class Other>
void compare(const Case& c, int threads, Timing* timing, Fn&& fn, Other&& other) {
  fn();
  other();
  const double limit = 1e-3 * static_cast<double>(c.number("ms", 300));
  for (double spent = 0; spent < limit || timing->times.size() % 2 != 0; spent += timing->times.back()) {
    const bool first = timing->times.size() % 2 == 0;
    if (first) timing->times.push_back(time_of(threads, fn));
    timing->others.push_back(time_of(threads, other));
    if (!first) timing->times.push_back(time_of(threads, fn));
  }
}

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "rowmax_attend_bench: %s\n", message.c_str());
  std::exit(1);
}

template <class T>
T take(Result<T> result) {
  if (!result.ok()) fail(result.error().message);
  return std::move(result).value();
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

  void prepare(const MaskSpec& spec, std::int64_t n_head, std::int64_t n_kv_head, const Backend& backend) {
    const Status status =
        plan.compile(spec, {sequences, static_cast<std::int32_t>(n_head), static_cast<std::int32_t>(n_kv_head)});
    if (!status.ok()) fail(status.error().message);
    args.sequences = kv;
    args.scale = 1.0f / std::sqrt(static_cast<float>(args.kv.k_dim));
    workspace = take(base::Buffer::allocate(attend_workspace_bytes(args, plan, backend)));
  }
  void attend(const Backend& backend) {
    const auto report = rowmax::attend(args, plan, {workspace.data(), workspace.size()}, backend);
    if (!report.ok()) fail(report.error().message);
  }
};

// Keeps what is costly to make from case to case.
class Bench {
 public:
  Timing run(const Case& c) {
    const std::string op = c.text("op", "prefill");
    isa_ = take(c.text("isa", "").empty() ? default_isa() : find_isa(c.text("isa", "")));
    threads_ = static_cast<int>(c.number("threads", 1));
    std::unique_ptr<Executor>& executor = executors_[threads_];
    if (executor == nullptr) executor = take(make_thread_pool(threads_));
    executor_ = executor.get();
    if (op == "prefill" || op == "lowered" || op == "bare") return prefill(c, op);
    if (op == "decode") return decode(c);
    if (op == "bandwidth") return bandwidth(c);
    if (op == "peak") return peak(c);
    fail("unknown op " + op);
  }
  Isa isa() const { return isa_; }

 private:
  Backend backend() const { return take(cpu_backend(*executor_, isa_)); }
  const IsaKernels& kernels() const {
#if defined(__x86_64__)
    if (isa_ == Isa::kAvx512) return kKernelsAvx512;
    if (isa_ == Isa::kAvx2) return kKernelsAvx2;
#elif defined(__aarch64__)
    if (isa_ == Isa::kNeon) return kKernelsNeon;
#endif
    fail("op=peak, op=lowered and op=bare need a vector instruction set");
  }

  // All tensors [head][n][d].
  void fill_prefill(std::int64_t n, std::int64_t heads, std::int64_t d) {
    const auto size = static_cast<std::size_t>(n * heads * d);
    if (q_.size() == size * sizeof(float)) return;
    std::uint64_t state = 1;
    for (auto* values : {&q_, &k_, &v_, &out_}) {
      *values = take(base::Buffer::allocate(size * sizeof(float)));
      for (std::size_t i = 0; i < size; ++i) values->as<float>()[i] = noise(state);
    }
  }

  Timing prefill(const Case& c, const std::string& op) {
    const std::int64_t d = c.number("d", 128), n = c.number("n", 2048), heads = c.number("heads", 4);
    fill_prefill(n, heads, d);
    Setup setup;
    setup.sequences = {{0, n, 0, n}};
    setup.args.q = packed_heads(static_cast<const base::Buffer&>(q_).as<float>(), n, heads, d);
    setup.args.q.row_stride = d;
    setup.args.q.head_stride = n * d;
    setup.args.out = packed_heads(out_.as<float>(), n, heads, d);
    setup.args.out.row_stride = d;
    setup.args.out.head_stride = n * d;
    setup.args.kv = packed_kv(DType::kF32, heads, d, d);
    setup.args.kv.k = setup.args.kv.v = {0, d, n * d, 1};
    setup.kv.resize(1);
    setup.kv[0].k = k_.data();
    setup.kv[0].v = v_.data();
    const std::string mask = op == "lowered" ? "causal" : c.text("mask", "full");
    MaskSpec spec;
    std::vector<KeySpan> valid{{n / 2, n}};
    std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i) ids[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i * 8 / n);
    std::vector<SegmentIds> segments{{ids.data(), ids.data()}};
    if (mask != "full") spec.causal();
    if (mask == "window" || mask == "keep") spec.window(255, 0);
    if (mask == "keep") spec.keep_first(4);
    if (mask == "padding") spec.valid(valid);
    if (mask == "documents") spec.segments(segments);
    setup.prepare(spec, heads, heads, backend());
    Timing timing;
    timing.work = 4.0 * static_cast<double>(d) * static_cast<double>(setup.plan.stats().visible_pairs);
    timing.tile_work = 4.0 * static_cast<double>(d * heads * kKeyTile * kKeyTile * visible_tiles(setup.plan));
    const auto attend = [&] { setup.attend(backend()); };
    if (op == "prefill") {
      timing.times = repeat(c, threads_, attend);
    } else {
      const auto kernel = op == "lowered" ? kernels().causal_block : kernels().bare_block;
      compare(c, threads_, &timing, attend, [&] { run_blocks(setup, heads, kernel); });
    }
    return timing;
  }

  // Tiles of 64 queries by 64 keys with a visible pair, of the only sequence's first head.
  static std::int64_t visible_tiles(const MaskPlan& plan) {
    const std::int64_t n_q = plan.n_query(0);
    const std::int64_t row_words = (plan.n_key(0) + 63) / 64;
    std::vector<std::uint64_t> words(static_cast<std::size_t>(n_q * row_words));
    const Status status = plan.materialise(0, 0, words, row_words);
    if (!status.ok()) fail(status.error().message);
    std::int64_t tiles = 0;
    for (std::int64_t i = 0; i < n_q; i += 64) {
      for (std::int64_t w = 0; w < row_words; ++w) {
        bool any = false;
        for (std::int64_t r = i; r < std::min(i + 64, n_q); ++r) {
          any = any || words[static_cast<std::size_t>(r * row_words + w)] != 0;
        }
        tiles += any ? 1 : 0;
      }
    }
    return tiles;
  }

  template <class Kernel>
  void run_blocks(Setup& setup, std::int64_t heads, Kernel kernel) {
    using namespace attention;
    const std::int64_t n = setup.sequences[0].n_q;
    const ScheduleShape shape{setup.args.kv.k_dim, setup.args.kv.v_dim, false, 1};
    static base::Buffer memory;
    const std::size_t size = place_scratch(nullptr, kMaxRows, shape, nullptr);
    if (memory.size() < size) memory = take(base::Buffer::allocate(size));
    Scratch scratch;
    place_scratch(memory.data(), kMaxRows, shape, &scratch);
    CallArgs call{&setup.args, 1, o_stride_of(shape.v_dim), partial_stride_of(shape.v_dim)};
    BlockCounts counts;
    for (std::int64_t head = 0; head < heads; ++head) {
      for (std::int64_t row = 0; row < n; row += kMaxRows) {
        BlockArgs block{};
        block.sequence = &setup.plan.impl()->sequences[0];
        block.kv = setup.kv.data();
        block.kv_head = head;
        block.row_begin = row;
        block.n_rows = static_cast<int>(std::min<std::int64_t>(kMaxRows, n - row));
        block.split_begin = 0;
        block.split_end = (n + kSplitKeys - 1) / kSplitKeys;
        kernel(call, block, scratch, &counts);
      }
    }
  }

  // Half of it keys, half values.
  base::Buffer& pool(const Case& c) {
    const auto size = static_cast<std::size_t>(c.number("pool_mib", 2048)) << 20;
    if (pool_.size() != size) {
      pool_ = take(base::Buffer::allocate(size));
      std::uint64_t state = 1;
      auto* halves = pool_.as<std::uint16_t>();
      for (std::size_t i = 0; i < size / 2; ++i) {
        halves[i] = i < 65536 ? base::f32_to_f16(noise(state)) : halves[i - 65536];
      }
    }
    return pool_;
  }

  Timing decode(const Case& c) {
    const std::int64_t d = c.number("d", 128), n_kv = c.number("n", 16384), group = c.number("group", 4);
    const std::int64_t kv_heads = c.number("kv_heads", 8), heads = kv_heads * group;
    base::Buffer& memory = pool(c);
    // Read as q8_0, the pool's halves are bytes and, between them, scales below 1.
    const DType dtype = c.text("kv", "f16") == "q8_0" ? DType::kQ8_0 : DType::kF16;
    const std::int64_t page_bytes = dtype_bytes(dtype, kv_heads * d * kKeyTile);
    const std::int64_t n_pages = static_cast<std::int64_t>(memory.size() / 2) / page_bytes;
    std::uint64_t state = 7;
    std::vector<float> q(static_cast<std::size_t>(heads * d)), out(q.size());
    for (float& value : q) value = noise(state);
    std::vector<std::int32_t> table(static_cast<std::size_t>((n_kv + kKeyTile - 1) / kKeyTile));
    Setup setup;
    setup.sequences = {{0, 1, n_kv - 1, n_kv}};
    setup.args.q = packed_heads(static_cast<const float*>(q.data()), 1, heads, d);
    setup.args.out = packed_heads(out.data(), 1, heads, d);
    setup.args.kv = paged_kv(dtype, kv_heads, d, d);
    setup.kv.resize(1);
    setup.kv[0].k = memory.data();
    setup.kv[0].v = memory.data() + memory.size() / 2;
    setup.kv[0].pages = table.data();
    setup.prepare(MaskSpec().causal(), heads, kv_heads, backend());
    Timing timing;
    timing.work = 2.0 * static_cast<double>(dtype_bytes(dtype, n_kv * kv_heads * d));
    timing.times = repeat(c, threads_, [&] {
      for (std::int32_t& page : table) page = static_cast<std::int32_t>(next_page_++ % n_pages);
      setup.attend(backend());
    });
    return timing;
  }

  // The best of some ways to read: how far ahead lines are asked for.
  Timing bandwidth(const Case& c) {
    base::Buffer& memory = pool(c);
    Timing timing;
    timing.work = static_cast<double>(memory.size());
    double best = 1e9;
    for (std::int64_t ahead : {0, 256, 512, 1024}) {
      const std::vector<double> times = repeat(c, threads_, [&] { read_all(memory, ahead); });
      const double time = *std::min_element(times.begin(), times.end());
      if (time < best) timing.times = times;
      best = std::min(best, time);
    }
    return timing;
  }

  void read_all(const base::Buffer& memory, std::int64_t ahead) {
    const auto* words = memory.as<std::uint64_t>();
    const std::int64_t n = static_cast<std::int64_t>(memory.size() / 8);
    const std::int64_t n_tasks = threads_ * 64;
    std::vector<std::uint64_t> sums(static_cast<std::size_t>(n_tasks));
    parallel_for(*executor_, n_tasks, [&](std::int64_t task, int) {
      std::uint64_t lanes[32] = {};
      const std::int64_t end = n * (task + 1) / n_tasks / 32 * 32;
      for (std::int64_t i = n * task / n_tasks / 32 * 32; i < end; i += 32) {
        if (ahead != 0) {
          for (int line = 0; line < 4; ++line) __builtin_prefetch(words + i + ahead + 8 * line);
        }
        for (int lane = 0; lane < 32; ++lane) lanes[lane] ^= words[i + lane];
      }
      std::uint64_t sum = 0;
      for (std::uint64_t lane : lanes) sum ^= lane;
      sums[static_cast<std::size_t>(task)] = sum;
    });
    for (std::uint64_t sum : sums) sink_ = sink_ ^ sum;
  }

  Timing peak(const Case& c) {
    constexpr std::int64_t kSteps = 1 << 20;
    std::vector<float> sinks(static_cast<std::size_t>(threads_) * 32);
    std::int64_t lanes = 0;
    Timing timing;
    timing.times = repeat(c, threads_, [&] {
      parallel_for(*executor_, threads_, [&](std::int64_t task, int) {
        const std::int64_t n = kernels().fma_chains(kSteps, sinks.data() + task * 32);
        if (task == 0) lanes = n;
      });
    });
    timing.work = 2.0 * static_cast<double>(lanes * kSteps * threads_);
    return timing;
  }

  Isa isa_ = Isa::kScalar;
  int threads_ = 1;
  Executor* executor_ = nullptr;
  std::map<int, std::unique_ptr<Executor>> executors_;
  base::Buffer q_, k_, v_, out_, pool_;
  std::int64_t next_page_ = 0;
  volatile std::uint64_t sink_ = 0;
};

void print(const Case& c, Isa isa, const Timing& timing) {
  std::vector<double> sorted = timing.times;
  std::sort(sorted.begin(), sorted.end());
  std::printf(
      "{\"case\": \"%s\", \"isa\": \"%s\", \"work\": %.0f, \"best\": %.3f, \"median\": %.3f, \"tile_work\": %.0f",
      c.line().c_str(), std::string(isa_name(isa)).c_str(), timing.work, timing.work / sorted.front() * 1e-9,
      timing.work / sorted[sorted.size() / 2] * 1e-9, timing.tile_work);
  const auto print_list = [](const char* name, const std::vector<double>& times) {
    std::printf(", \"%s\": [", name);
    for (std::size_t i = 0; i < times.size(); ++i) std::printf("%s%.9f", i == 0 ? "" : ", ", times[i]);
    std::printf("]");
  };
  print_list("time_s", timing.times);
  print_list("other_s", timing.others);
  std::printf("}\n");
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  Bench bench;
  if (argc > 1) {
    std::string line;
    for (int i = 1; i < argc; ++i) line += std::string(i > 1 ? " " : "") + argv[i];
    const Case c(line);
    const Timing timing = bench.run(c);
    print(c, bench.isa(), timing);
    return 0;
  }
  for (std::string line; std::getline(std::cin, line);) {
    if (line.empty()) continue;
    const Case c(line);
    const Timing timing = bench.run(c);
    print(c, bench.isa(), timing);
  }
  return 0;
}

}  // namespace
}  // namespace rowmax::bench

int main(int argc, char** argv) { return rowmax::bench::run(argc, argv); }

// Speed of engine/ops/matmul beside what the machine can do: GEMV in GB/s of packed weights against a plain streaming
// read, GEMM in GOPS (2 * rows * cols * tokens) against the fastest integer products (bench/limits.h).
//
//   rowmax_matmul_bench [--threads N] [--isa NAME | --table NAME] [--seconds S] [--shape MODEL] [--small] [--f32]
//   [--cpu] [--experts] [FORMAT...]
//
// GEMV walks through a pool of matrices larger than the last-level share of a core pair, as decoding does through the
// layers of a model; --small keeps one matrix (in cache). Medians over repetitions; one line for each shape. --cpu: one
// thread, and the best processor time instead of the median wall time, for a machine that others use as well. --table:
// a variant of rowmax/engine/kernels.h, such as "avx512", where --isa takes the last one of an instruction set. --experts: the
// layers of a mixture of 128 experts in place of single matrices, one token (8 experts of one row each) and 128 (all
// experts, 8 rows each), each expert by a call of matmul() and all by one of matmul_groups().
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <time.h>

#include "bench/limits.h"
#include "engine/ops/matmul/kernel_tables.h"
#include "engine/ops/matmul/matmul.h"

namespace {

using namespace rowmax;
using namespace rowmax::engine;

double now(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}
// CLOCK_THREAD_CPUTIME_ID with --cpu.
clockid_t g_clock = CLOCK_MONOTONIC;

const panel::KernelTable* table_of(Isa isa) { return *panel::choose_table({}, isa); }
const panel::KernelTable* find_table(std::string_view name) {
  for (const panel::KernelTable& table : panel::kernel_tables()) {
    if (table.name == name && table.supported()) return &table;
  }
  std::fprintf(stderr, "no such table here; there are:\n");
  for (const panel::KernelTable& table : panel::kernel_tables()) {
    if (table.supported()) std::fprintf(stderr, "  %s\n", table.name.data());
  }
  std::exit(2);
}

struct Options {
  int threads = 2;
  double seconds = 0.3;
  bool small = false;
  bool f32 = false;
  bool experts = false;
  const panel::KernelTable* table = table_of(supported_isas().back());
  std::string shape;  // shapes of this model alone
  std::vector<std::string> formats;
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
      g_clock = CLOCK_THREAD_CPUTIME_ID;
      options.threads = 1;
    } else if (arg == "--shape" && i + 1 < argc) {
      options.shape = argv[++i];
    } else if (arg == "--experts") {
      options.experts = true;
    } else if (arg == "--f32") {
      options.f32 = true;
    } else if (arg == "--isa" && i + 1 < argc) {
      auto isa = find_isa(argv[++i]);
      if (!isa.ok()) {
        std::fprintf(stderr, "%s\n", isa.error().message.c_str());
        std::exit(2);
      }
      options.table = table_of(*isa);
    } else if (arg == "--table" && i + 1 < argc) {
      options.table = find_table(argv[++i]);
    } else {
      options.formats.push_back(arg);
    }
  }
  if (options.formats.empty()) options.formats = {"Q4_1", "Q8_0", "Q5_0", "Q4_K", "Q6_K"};
  return options;
}

// Calls body for about `seconds`; the median time of one call (with --cpu the shortest).
template <class Body>
double median_time(double seconds, Body&& body) {
  body();
  std::vector<double> times;
  const double start = now(CLOCK_MONOTONIC);
  while (now(CLOCK_MONOTONIC) - start < seconds || times.size() < 5) {
    const double before = now(g_clock);
    body();
    times.push_back(now(g_clock) - before);
  }
  const auto wanted = g_clock == CLOCK_MONOTONIC ? times.size() / 2 : 0;
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(wanted), times.end());
  return times[wanted];
}

struct Shape {
  const char* model;
  std::int64_t rows, cols;
};

PackedMatrix random_matrix(const FormatInfo& format, std::int64_t rows, std::int64_t cols, Executor& executor,
                           std::span<std::byte> memory) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::vector<float> values(static_cast<std::size_t>(cols));
  const bool ternary = format.block_bytes * 4 <= format.block_elements + 8 && format.block_elements >= 32;
  for (float& value : values) {
    value = normal(random);
    if (ternary) value = value > 0.02f ? 0.02f : value < -0.02f ? -0.02f : 0.0f;
  }
  // One group of rows, again and again; a tail once.
  const std::int64_t group = format.row_group, n = group * format_row_bytes(format, cols);
  std::vector<float> group_values;
  for (std::int64_t r = 0; r < group; ++r) group_values.insert(group_values.end(), values.begin(), values.end());
  std::vector<std::byte> one(static_cast<std::size_t>(n + format.tail_bytes));
  encode_tensor(format, group_values.data(), group, cols, one.data());
  std::vector<std::byte> tensor(static_cast<std::size_t>(format_tensor_bytes(format, rows, cols)));
  for (std::int64_t r = 0; r < rows; r += group) {
    std::memcpy(tensor.data() + r / group * n, one.data(), static_cast<std::size_t>(n));
  }
  std::memcpy(tensor.data() + rows / group * n, one.data() + n, static_cast<std::size_t>(format.tail_bytes));
  auto packed = pack(format, tensor, rows, cols, executor, memory);
  if (!packed.ok()) {
    std::fprintf(stderr, "%s\n", packed.error().message.c_str());
    std::exit(1);
  }
  return std::move(packed).value();
}

void bench_shape(const Options& options, const FormatInfo& format, const Shape& shape, Executor& executor,
                 double bandwidth, double peak) {
  constexpr std::size_t kPoolBytes = std::size_t{400} << 20;
  constexpr std::int64_t kMaxTokens = 256;
  if (shape.cols % format.block_elements != 0) return;
  // One block of memory, as a model's weights are.
  const std::size_t each = packed_bytes(format, shape.rows, shape.cols).value();
  const std::size_t n_matrices = options.small ? 1 : kPoolBytes / each + 1, n_bytes = n_matrices * each;
  auto memory = base::Buffer::allocate(n_bytes);
  std::vector<PackedMatrix> pool;
  for (std::size_t i = 0; i < n_matrices; ++i) {
    pool.push_back(random_matrix(format, shape.rows, shape.cols, executor, {memory->data() + i * each, each}));
  }
  std::vector<float> x(static_cast<std::size_t>(kMaxTokens * shape.cols), 0.5f);
  std::vector<float> y(static_cast<std::size_t>(kMaxTokens * shape.rows));
  auto workspace = base::Buffer::allocate(matmul_workspace_bytes(kMaxTokens, shape.cols));
  const auto activations = options.f32 ? Activations::kF32 : Activations::kInt8;
  const auto call = [&](const PackedMatrix& matrix, std::int64_t n_tok) {
    const MatmulTerm term{&matrix, y.data(), shape.rows};
    matmul({&term, 1}, x.data(), shape.cols, n_tok, activations, {workspace->data(), workspace->size()},
           options.table->kernels(), executor);
  };
  std::printf("%-5s %6ld x %-5ld %-8s", format.name, static_cast<long>(shape.rows), static_cast<long>(shape.cols),
              shape.model);
  for (const std::int64_t n_tok : {1, 4}) {
    const double time = median_time(options.seconds, [&] {
      for (const PackedMatrix& matrix : pool) call(matrix, n_tok);
    });
    const double rate = static_cast<double>(n_bytes) / time * 1e-9;
    std::printf("  n=%ld %5.1f GB/s (%3.0f %%)", static_cast<long>(n_tok), rate, 100 * rate / bandwidth);
  }
  for (const std::int64_t n_tok : {8, 12, 24, 64, 256}) {
    const double time = median_time(options.seconds, [&] { call(pool[0], n_tok); });
    const double rate = 2.0 * static_cast<double>(shape.rows * shape.cols * n_tok) / time * 1e-9;
    std::printf("  n=%ld %5.0f", static_cast<long>(n_tok), rate);
    if (n_tok == 256) std::printf(" GOPS (%2.0f %%)", peak > 0 ? 100 * rate / peak : 0.0);
  }
  std::printf("\n");
  std::fflush(stdout);
}

// Groups 0, 1, 2, ... take the experts in turn, so that a token's are not in cache.
void bench_experts(const Options& options, const FormatInfo& format, const Shape& shape, Executor& executor,
                   double bandwidth) {
  constexpr std::int64_t kExperts = 128, kUsed = 8;
  if (shape.cols % format.block_elements != 0) return;
  const std::size_t each = packed_bytes(format, shape.rows, shape.cols).value();
  auto memory = base::Buffer::allocate(kExperts * each);
  std::vector<PackedMatrix> experts;
  for (std::size_t i = 0; i < kExperts; ++i) {
    experts.push_back(random_matrix(format, shape.rows, shape.cols, executor, {memory->data() + i * each, each}));
  }
  constexpr std::int64_t kMaxRows = kExperts * kUsed;
  std::vector<float> x(static_cast<std::size_t>(kMaxRows * shape.cols), 0.5f);
  std::vector<float> y(static_cast<std::size_t>(kMaxRows * shape.rows));
  auto workspace = base::Buffer::allocate(matmul_groups_workspace_bytes(kExperts, kMaxRows, shape.cols));
  const std::span<std::byte> scratch(workspace->data(), workspace->size());
  const auto activations = options.f32 ? Activations::kF32 : Activations::kInt8;
  std::printf("%-5s %6ld x %-5ld %-8s", format.name, static_cast<long>(shape.rows), static_cast<long>(shape.cols),
              shape.model);
  for (const std::int64_t n_tok : {std::int64_t{1}, kUsed}) {
    const std::int64_t n_groups = n_tok == 1 ? kUsed : kExperts;
    for (const bool together : {false, true}) {
      std::int64_t first = 0;
      const double time = median_time(options.seconds, [&] {
        std::vector<MatmulTerm> terms;
        std::vector<MatmulGroup> groups;
        terms.reserve(static_cast<std::size_t>(n_groups));
        for (std::int64_t g = 0; g < n_groups; ++g) {
          const auto expert = static_cast<std::size_t>((first + g) % kExperts);
          terms.push_back({&experts[expert], y.data() + g * n_tok * shape.rows, shape.rows});
          groups.push_back({{&terms.back(), 1}, x.data() + g * n_tok * shape.cols, shape.cols, n_tok});
        }
        first += n_groups;
        const panel::Kernels& kernels = options.table->kernels();
        if (together) return matmul_groups(groups, activations, scratch, kernels, executor);
        for (const MatmulGroup& group : groups) {
          matmul(group.terms, group.x, group.ldx, n_tok, activations, scratch, kernels, executor);
        }
      });
      const double rate = static_cast<double>(n_groups) * static_cast<double>(each) / time * 1e-9;
      std::printf("  %ld x n=%ld %s %7.1f us %5.1f GB/s (%3.0f %%)", static_cast<long>(n_groups),
                  static_cast<long>(n_tok), together ? "together" : "alone", time * 1e6, rate, 100 * rate / bandwidth);
    }
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  auto executor = make_thread_pool(options.threads);
  if (!executor.ok()) return 1;
  auto memory = base::Buffer::allocate_zeroed(std::size_t{512} << 20);
  const double bandwidth = bench::read_gb_per_s(**executor, {memory->data(), memory->size()}, 4, 0.5);
  std::printf("%s, %d threads, %s: read %.1f GB/s", cpu_name().data(), options.threads, options.table->name.data(),
              bandwidth);
  double peak = 0;
  for (const bench::Peak& each : bench::product_peaks(**executor)) {
    std::printf(", %s %.0f GOPS", each.name.c_str(), each.gops);
    if (each.integer) peak = std::max(peak, each.gops);
  }
  std::printf("\n");
  const Shape shapes[] = {{"135M q", 576, 576},     {"135M up", 1536, 576}, {"135M dn", 576, 1536},
                          {"135M out", 49152, 576}, {"1B q", 2048, 2048},   {"1B up", 8192, 2048},
                          {"1B dn", 2048, 8192},    {"2B4T q", 2560, 2560}, {"2B4T up", 6912, 2560},
                          {"2B4T dn", 2560, 6912},  {"8B up", 12288, 4096}};
  const Shape expert_shapes[] = {{"30B up", 768, 2048}, {"30B dn", 2048, 768}};
  for (const std::string& name : options.formats) {
    const FormatInfo* format = find_format(std::string_view(name));
    if (format == nullptr) {
      std::fprintf(stderr, "no format %s\n", name.c_str());
      return 2;
    }
    for (const Shape& shape : expert_shapes) {
      if (options.experts) bench_experts(options, *format, shape, **executor, bandwidth);
    }
    for (const Shape& shape : shapes) {
      if (options.experts) break;
      if (!std::string_view(shape.model).starts_with(options.shape)) continue;
      bench_shape(options, *format, shape, **executor, bandwidth, peak);
    }
  }
  return 0;
}

#include "apps/cli/memory_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <sys/mman.h>

namespace rowmax::cli {
namespace {

constexpr int kPasses = 6;
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

// Two words at once, on every processor: the compiler's own vector type.
typedef std::uint64_t Pair __attribute__((vector_size(16)));

// Four streams side by side, each asked for ahead of time: one alone does not reach what a core can read.
std::uint64_t sum(const Pair* data, std::size_t n) {
  constexpr std::size_t kStreams = 4, kLine = 64 / sizeof(Pair), kAhead = 2048 / sizeof(Pair);
  Pair sums[kStreams] = {};
  const std::size_t part = n / kStreams;
  for (std::size_t i = 0; i < part; i += kLine) {
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      const Pair* at = data + stream * part + i;
      __builtin_prefetch(at + kAhead);
      sums[stream] += (at[0] + at[1]) + (at[2] + at[3]);
    }
  }
  const Pair total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return total[0] + total[1];
}

}  // namespace

Result<double> read_bandwidth(Executor& executor, std::size_t bytes) {
  bytes = std::max(bytes / kPieceBytes, std::size_t{1}) * kPieceBytes;
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t whole_pages = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  const std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(kHugePage, whole_pages), std::free);
  if (memory == nullptr) return Error::out_of_memory();
  madvise(memory.get(), whole_pages, MADV_HUGEPAGE);  // as weights have them; without them reading is slower
  auto* const begin = static_cast<unsigned char*>(memory.get());
  const auto n_pieces = static_cast<std::int64_t>(bytes / kPieceBytes);
  const int n_threads = executor.concurrency();
  // Pages are touched by the thread that reads them later; a thread reads one run of pieces from front to back.
  const auto for_each_piece = [&](auto&& work) {
    parallel_for(executor, n_threads, [&](std::int64_t task, int) {
      for (std::int64_t p = n_pieces * task / n_threads; p < n_pieces * (task + 1) / n_threads; ++p) {
        work(begin + p * kPieceBytes);
      }
    });
  };
  for_each_piece([](unsigned char* piece) { std::memset(piece, 1, kPieceBytes); });
  std::atomic<std::uint64_t> total{0};  // so that nothing can be left out
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    for_each_piece([&](const unsigned char* piece) {
      total.fetch_add(sum(reinterpret_cast<const Pair*>(piece), kPieceBytes / sizeof(Pair)), std::memory_order_relaxed);
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, static_cast<double>(bytes) / seconds);
  }
  return total.load() == 0 ? 0 : best;
}

}  // namespace rowmax::cli

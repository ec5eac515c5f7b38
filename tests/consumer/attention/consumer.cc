// Somebody else's engine: its own threads, its own mask (every third key, never the first query), its own paged K/V,
// sinks, and the softmax weights. Compares with plain loops in double.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "rowmax/attention.h"
#include "rowmax/try.h"

namespace {

constexpr std::int64_t kQueries = 5, kKeys = 150, kHeads = 4, kKvHeads = 2, kDim = 32;
constexpr std::int64_t kPages = (kKeys + rowmax::kKeyTile - 1) / rowmax::kKeyTile;
constexpr std::int64_t kPageElements = kKvHeads * kDim * rowmax::kKeyTile;

class TwoThreads final : public rowmax::Executor {
 public:
  int concurrency() const noexcept override { return 2; }
  void run(std::int64_t n_tasks, TaskFn fn, void* context) noexcept override {
    std::thread other([&] {
      for (std::int64_t task = 1; task < n_tasks; task += 2) fn(context, task, 1);
    });
    for (std::int64_t task = 0; task < n_tasks; task += 2) fn(context, task, 0);
    other.join();
  }
};

constexpr float kSinks[kHeads] = {0.5f, -1.0f, 2.0f, 0.0f};

bool keep(std::int64_t query, std::int64_t key) { return query > 0 && (query + key) % 3 == 0; }

std::vector<float> random_numbers(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(static_cast<std::size_t>(n));
  for (float& number : numbers) number = normal(generator);
  return numbers;
}

// Where key (or value) j, head h, dimension d lies in its pool; pages are handed out backwards.
std::int64_t k_index(std::int64_t j, std::int64_t h, std::int64_t d) {
  return (kPages - 1 - j / rowmax::kKeyTile) * kPageElements + (h * kDim + d) * rowmax::kKeyTile + j % rowmax::kKeyTile;
}
std::int64_t v_index(std::int64_t j, std::int64_t h, std::int64_t d) {
  return (kPages - 1 - j / rowmax::kKeyTile) * kPageElements + (h * rowmax::kKeyTile + j % rowmax::kKeyTile) * kDim + d;
}

double expected(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v, std::int64_t i,
                std::int64_t h, std::int64_t d) {
  double sum = std::exp(double{kSinks[h]}), weighted = 0;
  for (std::int64_t j = 0; j < kKeys; ++j) {
    if (!keep(i, j)) continue;
    double score = 0;
    for (std::int64_t e = 0; e < kDim; ++e) {
      score += double{q[(i * kHeads + h) * kDim + e]} * k[k_index(j, h / (kHeads / kKvHeads), e)];
    }
    const double weight = std::exp(score / std::sqrt(double{kDim}));
    sum += weight;
    weighted += weight * v[v_index(j, h / (kHeads / kKvHeads), d)];
  }
  return weighted / sum;
}

int fail(const rowmax::Error& error) {
  std::printf("%s: %s\n", rowmax::error_code_name(error.code), error.message.c_str());
  return 1;
}

// The caller frees workspace->data.
rowmax::Result<rowmax::AttendReport> attend(const rowmax::AttendArgs& args, const rowmax::MaskSpec& spec,
                                            const rowmax::Sequence& sequence, rowmax::Workspace* workspace) {
  rowmax::MaskPlan plan;
  ROWMAX_RETURN_IF_ERROR(plan.compile(spec, {{&sequence, 1}, kHeads, kKvHeads}));
  TwoThreads executor;
  ROWMAX_TRY(backend, rowmax::cpu_backend(executor));
  workspace->size = (rowmax::attend_workspace_bytes(args, plan, backend) + 63) / 64 * 64;
  workspace->data = std::aligned_alloc(64, workspace->size);
  ROWMAX_TRY(report, rowmax::attend(args, plan, *workspace, backend));
  return report;
}

}  // namespace

int main() {
  const std::vector<float> q = random_numbers(kQueries * kHeads * kDim, 1);
  const std::vector<float> k = random_numbers(kPages * kPageElements, 2);
  const std::vector<float> v = random_numbers(kPages * kPageElements, 3);
  std::vector<float> out(q.size(), -1.0f);
  std::vector<std::int32_t> pages;
  for (std::int64_t p = 0; p < kPages; ++p) pages.push_back(static_cast<std::int32_t>(kPages - 1 - p));

  constexpr std::int64_t kWords = (kKeys + 63) / 64;
  std::vector<std::uint64_t> bits(kQueries * kWords);
  for (std::int64_t i = 0; i < kQueries; ++i) {
    for (std::int64_t j = 0; j < kKeys; ++j) bits[i * kWords + j / 64] |= std::uint64_t{keep(i, j)} << (j % 64);
  }
  const rowmax::BitmapView mask{bits.data(), kWords, 0};
  rowmax::Sequence sequence;
  sequence.n_q = kQueries;
  sequence.n_kv = kKeys;
  rowmax::MaskSpec spec;
  spec.bitmap({&mask, 1});

  rowmax::KvSequence kv;
  kv.k = k.data();
  kv.v = v.data();
  kv.pages = pages.data();
  rowmax::AttendArgs args;
  args.q = rowmax::packed_heads(q.data(), kQueries, kHeads, kDim);
  args.kv = rowmax::paged_kv(rowmax::DType::kF32, kKvHeads, kDim, kDim);
  args.sequences = {&kv, 1};
  args.scale = 1 / std::sqrt(float{kDim});
  args.out = rowmax::packed_heads(out.data(), kQueries, kHeads, kDim);
  args.sinks = kSinks;
  std::vector<float> weights(kQueries * kHeads * kKeys, -1.0f);
  args.weights = {weights.data(), kHeads * kKeys, kKeys};

  rowmax::Workspace workspace;
  const auto report = attend(args, spec, sequence, &workspace);
  std::free(workspace.data);
  if (!report.ok()) return fail(report.error());

  double worst = 0;
  for (std::int64_t i = 0; i < kQueries; ++i) {
    for (std::int64_t h = 0; h < kHeads; ++h) {
      for (std::int64_t d = 0; d < kDim; ++d) {
        worst = std::fmax(worst, std::fabs(out[(i * kHeads + h) * kDim + d] - expected(q, k, v, i, h, d)));
      }
    }
  }
  bool weights_right = true;
  for (std::int64_t i = 0; i < kQueries; ++i) {
    for (std::int64_t h = 0; h < kHeads; ++h) {
      double sum = 0;
      for (std::int64_t j = 0; j < kKeys; ++j) {
        const float weight = weights[(i * kHeads + h) * kKeys + j];
        weights_right = weights_right && (keep(i, j) ? weight > 0 : weight == 0);
        sum += double{weight};
      }
      weights_right = weights_right && (i == 0 ? sum == 0 : sum < 1);  // the sink has the rest
    }
  }
  std::printf("attention alone: worst difference %.2g, %lld empty rows\n", worst,
              static_cast<long long>(report->n_empty));
  return worst < 2e-6 && weights_right && report->n_empty == kHeads ? 0 : 1;
}

// The softmax weights that attend() gives beside its results, and what rows without visible keys give.
#include "attention/test_problem.h"

namespace rowmax::attention::test::weights_test {
namespace {

using Visible = std::function<bool(std::int64_t, std::int64_t, std::int64_t)>;

constexpr float kUntouched = -77.0f;

struct Weighted {
  Output output;
  std::vector<float> weights;  // [row][n_head][width], more than n_kv wide
  std::int64_t width = 0;

  const float* row(const Shape& shape, std::int64_t row, std::int64_t h) const {
    return &weights[static_cast<std::size_t>((row * shape.n_head + h) * width)];
  }
};

Weighted run_weights(const Shape& shape, const std::vector<Numbers>& numbers, const std::vector<Sequence>& sequences,
                     const MaskSpec& spec, RunOptions options, KvMemory* memory = nullptr) {
  Weighted result;
  std::int64_t n_row = 0;
  for (const Sequence& s : sequences) {
    n_row = std::max(n_row, s.q_begin + s.n_q);
    result.width = std::max(result.width, s.n_kv + 3);
  }
  result.weights.assign(static_cast<std::size_t>(n_row * shape.n_head * result.width), kUntouched);
  const auto inner = options.adjust;
  options.adjust = [&](AttendArgs* args) {
    if (inner) inner(args);
    args->weights = {result.weights.data(), shape.n_head * result.width, result.width};
  };
  result.output = run(shape, numbers, sequences, spec, options, memory);
  return result;
}

bool same(const Weighted& a, const Weighted& b) {
  return a.output.same_bits(b.output) && a.weights.size() == b.weights.size() &&
         std::memcmp(a.weights.data(), b.weights.data(), a.weights.size() * sizeof(float)) == 0;
}

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

// Every weight of one sequence against fp64: relative error within what scores, exponential and the sum allow (see
// reference::error_bound; weights below e^-86.6 are 0), hidden ones +0 to the bit, sums, nothing past n_kv written.
void expect_right(const Shape& shape, const Numbers& x, const Weighted& w, const RunOptions& options,
                  const Visible& visible, const std::string& name) {
  for (std::int64_t i = 0; i < x.n_q; ++i) {
    for (std::int64_t h = 0; h < shape.n_head; ++h) {
      const reference::Row row = reference_row(shape, x, options, h, i, visible);
      const float* weights = w.row(shape, i, h);
      const double n_tiles = static_cast<double>(x.n_kv / 64 + 2), n_splits = static_cast<double>(x.n_kv / 512 + 2);
      const double relative = (4 * row.score_error + 16 + 5 * (n_tiles + n_splits)) * 0x1p-24;
      double sum = 0, exact_sum = 0;
      for (std::int64_t j = 0; j < x.n_kv; ++j) {
        const double exact = row.weights[static_cast<std::size_t>(j)];
        if (exact == 0.0) {
          ASSERT_EQ(bits(weights[j]), 0u) << name << ": query " << i << " head " << h << " key " << j;
        }
        ASSERT_LE(std::fabs(weights[j] - exact), relative * exact + 3e-38)
            << name << ": query " << i << " head " << h << " key " << j;
        sum += weights[j];
        exact_sum += exact;
      }
      ASSERT_NEAR(sum, exact_sum, (static_cast<double>(x.n_kv) / 16 + 64) * 0x1p-23) << name;
      for (std::int64_t j = x.n_kv; j < w.width; ++j) ASSERT_EQ(weights[j], kUntouched);
    }
  }
}

struct Case {
  const char* name;
  std::int64_t n_q, n_kv, q_pos, left;
  float softcap;
  bool sinks, bias, bitmap;
};
constexpr Case kCases[] = {
    {"one", 1, 1, 0, kUnbounded, 0, false, false, false},
    {"decode", 1, 1300, 1299, kUnbounded, 0, true, false, false},
    {"far_window", 2, 1500, 1498, 70, 0, false, false, false},
    {"prompt", 70, 150, 80, kUnbounded, 0, false, false, false},
    {"softcap_sinks", 33, 90, 57, 40, 2.5f, true, false, false},
    {"bias", 20, 200, 100, kUnbounded, 0, false, true, false},
    {"bitmap_all", 20, 700, 600, kUnbounded, 3.0f, true, true, true},
    {"empty_rows", 10, 5, -5, kUnbounded, 0, true, false, false},
};

TEST(Weights, AgreeWithTheReferenceAndHaveOneSetOfBits) {
  Random random(71);
  const Shape shape{6, 2, 24, 20};
  const std::vector<float> sinks{0.5f, -3.0f, 9.0f, -INFINITY, 2.25f, 0.0f};
  for (const Case& c : kCases) {
    Numbers x = random_numbers(random, shape, c.n_q, c.n_kv);
    if (c.bias) {
      x.bias.resize(static_cast<std::size_t>(c.n_q * 6 * c.n_kv));
      for (float& value : x.bias) value = random.below(4) == 0 ? -INFINITY : random.uniform();
    }
    const std::int64_t n_words = (c.n_kv + 63) / 64;
    std::vector<std::uint64_t> words(static_cast<std::size_t>(c.n_q * 6 * n_words));
    for (auto& word : words) word = std::uint64_t{random.bits()} << 32 | random.bits();
    const std::vector<BitmapView> bitmaps{{words.data(), 6 * n_words, n_words}};
    MaskSpec spec = MaskSpec().window(c.left, 0);
    if (c.bitmap) spec.bitmap(bitmaps);
    const std::vector<Sequence> sequences{{0, c.n_q, c.q_pos, c.n_kv}};
    RunOptions options;
    options.softcap = c.softcap;
    if (c.sinks) {
      options.sinks = sinks;
      options.adjust = [&](AttendArgs* args) { args->sinks = sinks.data(); };
    }
    const Visible visible = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
      const std::int64_t p = c.q_pos + i;
      if (j > p || (c.left != kUnbounded && j < p - c.left)) return false;
      return !c.bitmap || ((words[static_cast<std::size_t>((i * 6 + h) * n_words + j / 64)] >> (j % 64)) & 1) != 0;
    };
    const Weighted scalar = run_weights(shape, {x}, sequences, spec, options);
    expect_right(shape, x, scalar, options, visible, c.name);
    EXPECT_TRUE(run(shape, {x}, sequences, spec, options).same_bits(scalar.output)) << "results change with weights";
    for (Isa isa : supported_isas()) {
      for (int threads : {1, 2, 6}) {
        for (Layout layout : {Layout::kKeyHeadDim, Layout::kPagedFast, Layout::kPagedSmall, Layout::kTransposed}) {
          if (isa == Isa::kScalar && threads != 2) continue;
          options.isa = isa;
          options.threads = threads;
          options.layout = layout;
          ASSERT_TRUE(same(run_weights(shape, {x}, sequences, spec, options), scalar))
              << c.name << ": " << isa_name(isa) << ", " << threads << " threads, layout " << static_cast<int>(layout);
        }
      }
    }
  }
}

TEST(Weights, ChunksAndPaddingGiveTheSameBits) {
  Random random(72);
  const Shape shape{2, 1, 16, 16};
  const std::int64_t n = 140;
  const Numbers x = random_numbers(random, shape, n, n);
  RunOptions options;
  options.isa = best_isa();
  const Weighted whole = run_weights(shape, {x}, {{0, n, 0, n}}, MaskSpec().causal(), options);
  for (std::int64_t chunk : {1, 50}) {
    for (std::int64_t begin = 0; begin < n; begin += chunk) {
      Numbers part = x;
      part.n_q = std::min(chunk, n - begin);
      part.n_kv = begin + part.n_q;
      part.q.assign(x.q.begin() + begin * 32, x.q.begin() + (begin + part.n_q) * 32);
      part.k.resize(static_cast<std::size_t>(part.n_kv * 16));
      part.v.resize(static_cast<std::size_t>(part.n_kv * 16));
      const Weighted got = run_weights(shape, {part}, {{0, part.n_q, begin, part.n_kv}}, MaskSpec().causal(), options);
      for (std::int64_t i = 0; i < part.n_q * 2; ++i) {
        ASSERT_EQ(std::memcmp(got.row(shape, i / 2, i % 2), whole.row(shape, begin + i / 2, i % 2),
                              static_cast<std::size_t>(part.n_kv) * sizeof(float)),
                  0)
            << "chunk " << chunk << " at " << begin;
      }
    }
  }
  // Padded on the left: shifted by the padding, zeros before.
  for (std::int64_t pad : {1, 70}) {
    Numbers padded = x;
    padded.n_q = padded.n_kv = n + pad;
    padded.q.insert(padded.q.begin(), static_cast<std::size_t>(pad * 32), NAN);
    padded.k.insert(padded.k.begin(), static_cast<std::size_t>(pad * 16), NAN);
    padded.v.insert(padded.v.begin(), static_cast<std::size_t>(pad * 16), NAN);
    const std::vector<KeySpan> valid{{pad, n + pad}};
    const Weighted got =
        run_weights(shape, {padded}, {{0, n + pad, 0, n + pad}}, MaskSpec().causal().valid(valid), options);
    for (std::int64_t i = 0; i < (n + pad) * 2; ++i) {
      const float* row = got.row(shape, i / 2, i % 2);
      for (std::int64_t j = 0; j < (i / 2 < pad ? n + pad : pad); ++j) ASSERT_EQ(bits(row[j]), 0u);
      if (i / 2 >= pad) {
        ASSERT_EQ(std::memcmp(row + pad, whole.row(shape, i / 2 - pad, i % 2), n * sizeof(float)), 0) << pad;
      }
    }
  }
}

TEST(Weights, OfPackedDocumentsAreZeroOutsideTheDocument) {
  Random random(73);
  const Shape shape{1, 1, 8, 8};
  const Numbers x = random_numbers(random, shape, 100, 100);
  std::vector<std::int32_t> ids(100);
  for (std::size_t i = 0; i < 100; ++i) ids[i] = i < 30 ? 0 : i < 95 ? 1 : 2;
  const std::vector<SegmentIds> segments{{ids.data(), ids.data()}};
  RunOptions options;
  options.isa = best_isa();
  const Weighted got = run_weights(shape, {x}, {{0, 100, 0, 100}}, MaskSpec().causal().segments(segments), options);
  expect_right(
      shape, x, got, options,
      [&](std::int64_t, std::int64_t i, std::int64_t j) {
        return j <= i && ids[static_cast<std::size_t>(i)] == ids[static_cast<std::size_t>(j)];
      },
      "documents");
}

TEST(Weights, OfAFaultyRowAreNaNWhereVisibleAndZeroWhereHidden) {
  Random random(74);
  const Shape shape{2, 1, 8, 8};
  Numbers x = random_numbers(random, shape, 3, 130);
  x.k[static_cast<std::size_t>(128 * 8)] = std::bit_cast<float>(0xFFC12345u);
  for (Isa isa : supported_isas()) {
    RunOptions options;
    options.isa = isa;
    const Weighted got = run_weights(shape, {x}, {{0, 3, 127, 130}}, MaskSpec().causal(), options);
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t j = 0; j < 130; ++j) {
        const std::uint32_t want = j > 127 + i ? 0u : i == 0 ? bits(got.row(shape, 0, 0)[j]) : 0x7FC00000u;
        ASSERT_EQ(bits(got.row(shape, i, 0)[j]), want) << i << " " << j;
      }
    }
  }
}

// The mean of values [begin, end), by the definition and its rounding: chains of 512 keys from the anchor.
std::vector<double> mean_of(const Shape& shape, const Numbers& x, std::int64_t kv_head, std::int64_t begin,
                            std::int64_t end) {
  std::vector<double> mean(static_cast<std::size_t>(shape.v_dim));
  for (std::int64_t j = begin; j < end; ++j) {
    for (std::int64_t d = 0; d < shape.v_dim; ++d) {
      mean[static_cast<std::size_t>(d)] +=
          x.v[static_cast<std::size_t>((j * shape.n_kv_head + kv_head) * shape.v_dim + d)] /
          static_cast<double>(end - begin);
    }
  }
  return mean;
}

TEST(EmptyRows, GiveWhatWasAskedFor) {
  Random random(75);
  const Shape shape{4, 2, 8, 21};
  const std::int64_t n_kv = 1100, begin = 3, end = 1080;
  const std::vector<KeySpan> valid{{begin, end}};
  const std::vector<float> sinks{1.0f, -INFINITY, 2.0f, 3.0f};
  for (std::int64_t n_q : {4, 40}) {  // some are computed split by split
    const Numbers x = random_numbers(random, shape, n_q, n_kv);
    const std::vector<Sequence> sequences{{0, n_q, 1, n_kv}};  // queries 0 and 1 see nothing
    const MaskSpec spec = MaskSpec().causal().valid(valid);
    for (EmptyRows policy : {EmptyRows::kZero, EmptyRows::kNaN, EmptyRows::kUniform}) {
      RunOptions options;
      options.adjust = [&](AttendArgs* args) { args->sinks = sinks.data(), args->empty_rows = policy; };
      const Weighted first = run_weights(shape, {x}, sequences, spec, options);
      EXPECT_EQ(first.output.report.n_empty, 2 * 4);
      EXPECT_EQ(first.output.report.n_non_finite, 0);
      for (std::int64_t i = 0; i < 2; ++i) {
        for (std::int64_t h = 0; h < 4; ++h) {
          const std::size_t at = static_cast<std::size_t>(i * 4 + h);
          EXPECT_EQ(first.output.status[at], RowStatus::kEmpty);
          EXPECT_EQ(first.output.lse[at], sinks[static_cast<std::size_t>(h)]);
          const std::vector<double> mean = mean_of(shape, x, h / 2, begin, end);
          for (std::size_t d = 0; d < 21; ++d) {
            const float out = first.output.out[at * 21 + d];
            if (policy == EmptyRows::kZero) {
              EXPECT_EQ(bits(out), 0u);
            }
            if (policy == EmptyRows::kNaN) {
              EXPECT_EQ(bits(out), 0x7FC00000u);
            }
            if (policy == EmptyRows::kUniform) {
              EXPECT_NEAR(out, mean[d], 515 * 2 * 0x1p-24);
            }
          }
          for (std::int64_t j = 0; j < n_kv; ++j) {
            const float weight = first.row(shape, i, h)[j];
            if (policy == EmptyRows::kZero) {
              ASSERT_EQ(bits(weight), 0u);
            }
            if (policy == EmptyRows::kNaN) {
              ASSERT_EQ(bits(weight), 0x7FC00000u);
            }
            if (policy == EmptyRows::kUniform) {
              ASSERT_EQ(weight, j >= begin && j < end ? 1.0f / 1077.0f : 0.0f);
            }
          }
        }
      }
      for (Isa isa : supported_isas()) {
        for (int threads : {1, 3}) {
          for (Layout layout : {Layout::kKeyHeadDim, Layout::kPagedSmall, Layout::kWide}) {
            options.isa = isa;
            options.threads = threads;
            options.layout = layout;
            ASSERT_TRUE(same(run_weights(shape, {x}, sequences, spec, options), first)) << isa_name(isa);
          }
        }
      }
    }
  }
}

TEST(EmptyRows, UniformOverNoKeysIsZeroAndMissingPagesAreRefused) {
  Random random(76);
  const Shape shape{1, 1, 8, 8};
  const Numbers x = random_numbers(random, shape, 1, 20);
  const std::vector<KeySpan> none{{7, 7}};
  RunOptions options;
  options.isa = best_isa();
  options.adjust = [](AttendArgs* args) { args->empty_rows = EmptyRows::kUniform; };
  const Weighted got = run_weights(shape, {x}, {{0, 1, 19, 20}}, MaskSpec().valid(none), options);
  for (float value : got.output.out) EXPECT_EQ(bits(value), 0u);
  for (std::int64_t j = 0; j < 20; ++j) EXPECT_EQ(bits(got.row(shape, 0, 0)[j]), 0u);

  KvMemory memory(shape, {x}, DType::kF32, Layout::kPagedSmall);
  memory.tables()[0][3] = -1;
  const std::vector<Sequence> sequences{{0, 1, -5, 20}};
  const Result<MaskPlan> plan = compile(MaskSpec().causal(), {sequences, 1, 1});
  std::vector<float> out(8);
  AttendArgs args;
  args.q = packed_heads(x.q.data(), 1, 1, 8);
  args.out = packed_heads(out.data(), 1, 1, 8);
  args.kv = memory.view();
  args.sequences = memory.sequences();
  EXPECT_TRUE(attend_exact(args, *plan, pool(1), best_isa()).ok());
  args.empty_rows = EmptyRows::kUniform;
  const Result<AttendReport> report = attend_exact(args, *plan, pool(1), best_isa());
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().message, "empty_rows kUniform: sequence 0: page 3 holds valid keys but its number is -1");
}

}  // namespace
}  // namespace rowmax::attention::test::weights_test

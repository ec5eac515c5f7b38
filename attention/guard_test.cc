// What must not happen: masked numbers leaking, memory outside being touched, the caller's floating-point environment
// mattering, trouble passing silently.
#include <sys/mman.h>
#include <unistd.h>

#include <cfenv>
#include <cmath>

#include "attention/guarantees/test_fence.h"
#include "attention/test_problem.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rowmax::attention::test::guard_test {
namespace {

BitmapView bitmap_of(const std::vector<std::uint64_t>& words, std::int64_t n_kv) {
  return {words.data(), (n_kv + 63) / 64, 0};
}

std::vector<std::uint64_t> random_bitmap(Random& random, std::int64_t n_q, std::int64_t n_kv) {
  std::vector<std::uint64_t> words(static_cast<std::size_t>(n_q * ((n_kv + 63) / 64)));
  for (auto& word : words)
    word = (std::uint64_t{random.bits()} << 32 | random.bits()) & (std::uint64_t{random.bits()} << 32 | random.bits());
  return words;
}

TEST(Guard, PoisonInMaskedKeysAndValuesChangesNoBit) {
  Random random(31);
  const Shape shape{2, 1, 20, 36};
  const std::int64_t n_q = 40, n_kv = 200;
  const Numbers clean = random_numbers(random, shape, n_q, n_kv);
  const std::vector<std::uint64_t> words = random_bitmap(random, n_q, n_kv);
  const std::vector<BitmapView> bitmaps{bitmap_of(words, n_kv)};
  const std::vector<Sequence> sequences{{0, n_q, 160, n_kv}};
  const MaskSpec spec = MaskSpec().causal().bitmap(bitmaps);
  const Result<MaskPlan> plan = compile(spec, {sequences, 2, 1});
  for (Isa isa : supported_isas()) {
    RunOptions options;
    options.isa = isa;
    const Output want = run(shape, {clean}, sequences, spec, options);
    for (float poison : {std::nanf(""), INFINITY, -INFINITY, 3e38f}) {
      for (std::int64_t j : {0, 1, 63, 64, 130, 150, 170, 180, 199}) {
        Numbers poisoned = clean;
        for (std::int64_t d = 0; d < shape.k_dim; ++d)
          poisoned.k[static_cast<std::size_t>(j * shape.k_dim + d)] = poison;
        for (std::int64_t d = 0; d < shape.v_dim; ++d)
          poisoned.v[static_cast<std::size_t>(j * shape.v_dim + d)] = poison;
        const Output got = run(shape, {poisoned}, sequences, spec, options);
        for (std::int64_t i = 0; i < n_q; ++i) {
          if (plan->visible(0, 0, i, j)) continue;
          const std::size_t at = static_cast<std::size_t>(i * shape.n_head * shape.v_dim);
          ASSERT_EQ(std::memcmp(&want.out[at], &got.out[at],
                                static_cast<std::size_t>(shape.n_head * shape.v_dim) * sizeof(float)),
                    0)
              << isa_name(isa) << ": key " << j << " = " << poison << " reached query " << i;
        }
      }
    }
  }
}

// Memory whose last byte is the last of a page before one that cannot be read (and the first after one).
class FencedMemory {
 public:
  FencedMemory(std::size_t bytes, bool at_end) {
    page_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    inner_ = (bytes + page_ - 1) / page_ * page_;
    base_ = static_cast<std::byte*>(mmap(nullptr, inner_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + page_, inner_, PROT_READ | PROT_WRITE);
    data_ = base_ + page_ + (at_end ? inner_ - bytes : 0);
  }
  ~FencedMemory() { munmap(base_, inner_ + 2 * page_); }
  FencedMemory(const FencedMemory&) = delete;
  std::byte* data() { return data_; }

 private:
  std::size_t page_, inner_;
  std::byte *base_, *data_;
};

TEST(Guard, NothingOutsideTheValidKeysIsRead) {
  Random random(32);
  const Shape shape{3, 1, 17, 19};
  const std::int64_t padding = 70;
  for (std::int64_t n_kv : {1, 3, 16, 17, 64, 65, 100, 128, 515}) {
    const Numbers x = random_numbers(random, shape, 5, n_kv);
    for (bool at_end : {true, false}) {
      for (bool transposed : {false, true}) {
        FencedMemory k_memory(static_cast<std::size_t>(n_kv * shape.k_dim) * sizeof(float), at_end);
        FencedMemory v_memory(static_cast<std::size_t>(n_kv * shape.v_dim) * sizeof(float), at_end);
        FencedMemory q_memory(static_cast<std::size_t>(5 * shape.n_head * shape.k_dim) * sizeof(float), at_end);
        FencedMemory out_memory(static_cast<std::size_t>(5 * shape.n_head * shape.v_dim) * sizeof(float), at_end);
        auto* k = reinterpret_cast<float*>(k_memory.data());
        auto* v = reinterpret_cast<float*>(v_memory.data());
        auto* q = reinterpret_cast<float*>(q_memory.data());
        auto* out = reinterpret_cast<float*>(out_memory.data());
        std::copy(x.v.begin(), x.v.end(), v);
        std::copy(x.q.begin(), x.q.end(), q);
        for (std::int64_t j = 0; j < n_kv; ++j) {
          for (std::int64_t d = 0; d < shape.k_dim; ++d) {
            k[transposed ? d * n_kv + j : j * shape.k_dim + d] = x.k[static_cast<std::size_t>(j * shape.k_dim + d)];
          }
        }
        // Keys [0, padding) and past the end exist only on paper.
        const std::vector<KeySpan> valid{{padding, padding + n_kv}};
        AttendArgs args;
        args.q = packed_heads(static_cast<const float*>(q), 5, 3, shape.k_dim);
        args.out = packed_heads(out, 5, 3, shape.v_dim);
        args.kv = packed_kv(DType::kF32, 1, shape.k_dim, shape.v_dim);
        if (transposed) args.kv.k = {0, 1, 0, n_kv};
        KvSequence kv;
        kv.k = k - padding * args.kv.k.key_stride;
        kv.v = v - padding * shape.v_dim;
        args.sequences = {&kv, 1};
        args.scale = 0.35f;
        // 3 rows read the tiles as they lie, 15 have them converted first.
        // Tiles start at the first valid key, or before it.
        for (auto [n_q, anchor] : {std::pair<std::int64_t, std::int64_t>{1, -1}, {5, -1}, {1, 64}, {5, 3}}) {
          const std::vector<Sequence> sequences{
              {0, n_q, padding + n_kv - 1 - n_q / 2, 2 * padding + n_kv, nullptr, anchor}};
          const Result<MaskPlan> plan = compile(MaskSpec().causal().valid(valid), {sequences, 3, 1});
          ASSERT_TRUE(plan.ok());
          for (Isa isa : supported_isas()) {
            const Result<AttendReport> report = attend_exact(args, *plan, pool(2), isa);
            ASSERT_TRUE(report.ok());
            ASSERT_EQ(report->n_non_finite, 0);
          }
        }
      }
    }
  }
}

TEST(Guard, PagesWithoutVisibleKeysAreNotTouchedAndMissingOnesAreRefused) {
  Random random(33);
  const Shape shape{2, 2, 16, 16};
  const std::int64_t n_kv = 1000;
  const Numbers x = random_numbers(random, shape, 3, n_kv);
  const std::vector<Sequence> sequences{{0, 3, 997, n_kv}};
  const MaskSpec spec = MaskSpec().causal().window(200, 0).keep_first(2);
  for (Layout layout : {Layout::kPagedFast, Layout::kPagedSmall, Layout::kPagedOdd}) {
    RunOptions options;
    options.isa = best_isa();
    options.layout = layout;
    KvMemory memory(shape, {x}, DType::kF32, layout);
    const Output want = run(shape, {x}, sequences, spec, options, &memory);
    const std::int64_t page = memory.view().page_size;
    std::vector<std::int32_t>& table = memory.tables()[0];
    for (std::int64_t p = 0; p < static_cast<std::int64_t>(table.size()); ++p) {
      if (p > 0 && (p + 1) * page <= 797)
        table[static_cast<std::size_t>(p)] = -1;  // between the first keys and the window
    }
    EXPECT_TRUE(run(shape, {x}, sequences, spec, options, &memory).same_bits(want));
    table[static_cast<std::size_t>(850 / page)] = -1;
    const Result<MaskPlan> plan = compile(spec, {sequences, 2, 2});
    std::vector<float> out(3 * 2 * 16);
    AttendArgs args;
    args.q = packed_heads(x.q.data(), 3, 2, 16);
    args.out = packed_heads(out.data(), 3, 2, 16);
    args.kv = memory.view();
    args.sequences = memory.sequences();
    const Result<AttendReport> report = attend_exact(args, *plan, pool(1), best_isa());
    ASSERT_FALSE(report.ok());
    EXPECT_NE(report.error().message.find("page " + std::to_string(850 / page)), std::string::npos)
        << report.error().message;
  }
}

TEST(Guard, RoundingModeAndDenormalFlushingOfTheCallerDoNotMatter) {
  Random random(34);
  const Shape shape{2, 1, 32, 32};
  Numbers x = random_numbers(random, shape, 30, 90);
  for (std::size_t i = 0; i < x.v.size(); i += 3) x.v[i] *= 1e-39f;  // denormals must survive
  for (std::size_t i = 0; i < x.v.size(); ++i) x.v[i] *= i % 3 == 1 ? 1e-38f : 1.0f;
  const std::vector<Sequence> sequences{{0, 30, 60, 90}};
  for (Isa isa : supported_isas()) {
    RunOptions options;
    options.isa = isa;
    const Output want = run(shape, {x}, sequences, MaskSpec().causal(), options);
    for (int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
      std::fesetround(mode);
#if defined(__x86_64__)
      const unsigned before = _mm_getcsr() | 0x8040;  // flush to zero, denormals are zero
      _mm_setcsr(before);
#endif
      const Output got = run(shape, {x}, sequences, MaskSpec().causal(), options);
      const int mode_after = std::fegetround();
#if defined(__x86_64__)
      const unsigned after = _mm_getcsr();
      _mm_setcsr(0x1F80);
      EXPECT_EQ(after & 0xFFC0u, before & 0xFFC0u);
#endif
      std::fesetround(FE_TONEAREST);
      EXPECT_EQ(mode_after, mode);
      EXPECT_TRUE(got.same_bits(want)) << isa_name(isa) << " under rounding mode " << mode;
    }
  }
}

TEST(Guard, NaNInAVisibleNumberIsNeverSilent) {
  Random random(35);
  const Shape shape{2, 1, 20, 20};
  const std::int64_t n_q = 20, n_kv = 600;
  const Numbers clean = random_numbers(random, shape, n_q, n_kv);
  const std::vector<Sequence> sequences{{0, n_q, 500, n_kv}};
  const MaskSpec spec = MaskSpec().causal();
  for (Isa isa : supported_isas()) {
    for (std::int64_t j : {0, 200, 505, 519, 530}) {
      for (bool in_key : {true, false}) {
        Numbers x = clean;
        // With a sign and a payload that must not come out.
        (in_key ? x.k : x.v)[static_cast<std::size_t>(j * 20 + 7)] = std::bit_cast<float>(0xFFC12345u);
        RunOptions options;
        options.isa = isa;
        const Output output = run(shape, {x}, sequences, spec, options);
        std::int64_t hit = 0;
        for (std::int64_t i = 0; i < n_q; ++i) {
          const bool sees = j <= 500 + i;
          hit += sees ? 2 : 0;
          for (std::int64_t h = 0; h < 2; ++h) {
            const std::size_t row = static_cast<std::size_t>(i * 2 + h);
            ASSERT_EQ(output.status[row], sees ? RowStatus::kNonFinite : RowStatus::kOk) << j << " " << i;
            const float nan = output.out[row * 20 + 7];
            ASSERT_EQ(std::isnan(nan), sees);
            if (sees) {
              ASSERT_EQ(std::bit_cast<std::uint32_t>(nan), 0x7FC00000u);
            }
            ASSERT_EQ(std::isnan(output.lse[row]), sees && in_key);
          }
        }
        EXPECT_EQ(output.report.n_non_finite, hit);
        EXPECT_EQ(output.report.n_rows, n_q * 2);
      }
    }
  }
}

TEST(Guard, OverflowIsCounted) {
  const Shape shape{1, 1, 2, 2};
  const auto status_of = [&](float q, std::vector<float> k, std::vector<float> v, float softcap, Isa isa) {
    Numbers x;
    x.n_q = 1;
    x.n_kv = static_cast<std::int64_t>(k.size());
    x.q = {q, 0.0f};
    for (std::size_t j = 0; j < k.size(); ++j) {
      x.k.insert(x.k.end(), {k[j], 0.0f});
      x.v.insert(x.v.end(), {v[j], 1.0f});
    }
    const std::vector<Sequence> sequences{{0, 1, 0, x.n_kv}};
    RunOptions options;
    options.isa = isa;
    options.scale = 1.0f;
    options.softcap = softcap;
    const Output output = run(shape, {x}, sequences, MaskSpec(), options);
    EXPECT_EQ(output.report.n_overflow, output.status[0] == RowStatus::kOverflow);
    return output.status[0];
  };
  for (Isa isa : supported_isas()) {
    EXPECT_EQ(status_of(1e20f, {1e20f, 1.0f}, {1, 2}, 0, isa), RowStatus::kOverflow);  // score +inf
    EXPECT_EQ(status_of(1e20f, {-1e20f, 1.0f}, {1, 2}, 0, isa),
              RowStatus::kOverflow);                                           // score -inf beside a finite one
    EXPECT_EQ(status_of(1e20f, {-1e20f}, {1}, 0, isa), RowStatus::kOverflow);  // -inf alone is not an empty row
    EXPECT_EQ(status_of(1e20f, {1e20f, 1.0f}, {1, 2}, 30, isa), RowStatus::kOverflow);  // hidden by the soft cap
    EXPECT_EQ(status_of(1.0f, {1.0f, 1.0f}, {INFINITY, 2}, 0, isa), RowStatus::kOverflow);
    EXPECT_EQ(status_of(1e18f, {1e20f, -1e20f}, {1, 2}, 0, isa), RowStatus::kOk);  // 1e38: large, finite
    EXPECT_EQ(status_of(1.0f, {133120.0f, 133119.0f, -2.45e5f}, {1, 2, 3}, 0, isa), RowStatus::kOk);
  }
}

TEST(Guard, AWholeTileOfMinusInfinityDoesNotSpoilTheNext) {
  // 64 visible scores that overflow to -inf, then finite ones: the tile's maximum is -inf, differences must not be NaN.
  const Shape shape{1, 1, 1, 1};
  for (std::int64_t n_kv : {70, 64 * 8 + 5}) {  // within a split, and a whole split of them
    Numbers x;
    x.n_q = 1;
    x.n_kv = n_kv;
    x.q = {1e20f};
    x.k.assign(static_cast<std::size_t>(n_kv), -1e20f);
    x.v.assign(static_cast<std::size_t>(n_kv), 9.0f);
    for (std::int64_t j = n_kv / 64 * 64; j < n_kv; ++j) {
      x.k[static_cast<std::size_t>(j)] = 0.0f;
      x.v[static_cast<std::size_t>(j)] = 2.0f;
    }
    const std::vector<Sequence> sequences{{0, 1, 0, n_kv}};
    for (Isa isa : supported_isas()) {
      RunOptions options;
      options.isa = isa;
      const Output output = run(shape, {x}, sequences, MaskSpec(), options);
      EXPECT_EQ(output.out[0], 2.0f) << isa_name(isa) << ", " << n_kv << " keys";
      EXPECT_EQ(output.status[0], RowStatus::kOverflow);
    }
  }
}

TEST(Guard, AnUnderflowedResultIsPlusZero) {
  // -1.4e-45 * 0.14 underflows to -0; a masked key's + 0 would turn it into +0, a skipped one would not.
  const Shape shape{1, 1, 1, 1};
  Numbers x;
  x.n_q = 1;
  x.n_kv = 2;
  x.q = {1.0f};
  x.k = {-2.0f, 0.0f};
  x.v = {-1.4e-45f, -0.0f};
  const std::vector<Sequence> sequences{{0, 1, 0, 2}};
  for (Isa isa : supported_isas()) {
    RunOptions options;
    options.isa = isa;
    options.scale = 1.0f;
    const Output output = run(shape, {x}, sequences, MaskSpec(), options);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(output.out[0]), 0u) << isa_name(isa);
  }
}

TEST(Guard, NoMaskedKeyBeatsAVisibleOneHoweverLowItsScore) {
  const Shape shape{1, 1, 1, 1};
  for (float low : {-6e4f, -2.45e5f, -3e9f, -1e30f, -3e38f}) {
    Numbers x;
    x.n_q = 1;
    x.n_kv = 10;
    x.q = {1.0f};
    x.k.assign(10, low);
    x.v.assign(10, 9.0f);
    x.v[4] = 2.0f;
    const std::vector<std::uint64_t> words{1u << 4};
    const std::vector<BitmapView> bitmaps{{words.data(), 1, 0}};
    const std::vector<Sequence> sequences{{0, 1, 0, 10}};
    for (Isa isa : supported_isas()) {
      RunOptions options;
      options.isa = isa;
      options.scale = 1.0f;
      const Output output = run(shape, {x}, sequences, MaskSpec().bitmap(bitmaps), options);
      EXPECT_EQ(output.out[0], 2.0f) << isa_name(isa) << ", scores " << low;
      EXPECT_EQ(output.lse[0], low);
      EXPECT_EQ(output.status[0], RowStatus::kOk);
    }
  }
}

TEST(Guard, LargeFiniteScoresStayFinite) {
  Random random(36);
  const Shape shape{1, 1, 8, 8};
  for (float size : {1e-20f, 1.0f, 100.0f, 1e5f, 1e9f, 1e18f}) {
    const Numbers x = random_numbers(random, shape, 70, 300, DType::kF32, size);
    const std::vector<Sequence> sequences{{0, 70, 230, 300}};
    for (Isa isa : supported_isas()) {
      RunOptions options;
      options.isa = isa;
      options.scale = 1.0f;
      const Output output = run(shape, {x}, sequences, MaskSpec().window(100, 0), options);
      EXPECT_EQ(output.report.n_overflow + output.report.n_non_finite + output.report.n_empty, 0) << size;
      for (float value : output.out) ASSERT_LE(std::fabs(value), 2 * size);
    }
  }
}

TEST(Guard, StridesBeyond32Bits) {
  const Shape shape{1, 1, 4, 4};
  Random random(37);
  const Numbers x = random_numbers(random, shape, 1, 3);
  const std::int64_t stride = (std::int64_t{1} << 32) / 4 + 65536;  // elements
  FarApart memory(static_cast<std::size_t>(stride) * sizeof(float), 3);
  if (!memory.ok()) GTEST_SKIP() << "no address space";
  auto* base = memory.as<float>();
  for (std::int64_t j = 0; j < 3; ++j) {
    for (std::int64_t d = 0; d < 4; ++d) {
      base[j * stride + d] = x.k[static_cast<std::size_t>(j * 4 + d)];
      base[j * stride + 4 + d] = x.v[static_cast<std::size_t>(j * 4 + d)];
    }
  }
  const std::vector<Sequence> sequences{{0, 1, 2, 3}};
  const MaskSpec spec = MaskSpec().causal();
  const Result<MaskPlan> plan = compile(spec, {sequences, 1, 1});
  AttendArgs args;
  std::vector<float> out(4);
  args.q = packed_heads(x.q.data(), 1, 1, 4);
  args.out = packed_heads(out.data(), 1, 1, 4);
  args.kv = packed_kv(DType::kF32, 1, 4, 4);
  args.kv.k.key_stride = args.kv.v.key_stride = stride;
  KvSequence kv;
  kv.k = base;
  kv.v = base + 4;
  args.sequences = {&kv, 1};
  args.scale = 0.35f;
  ASSERT_TRUE(attend_exact(args, *plan, pool(1), best_isa()).ok());
  RunOptions options;
  options.isa = best_isa();
  EXPECT_EQ(std::memcmp(out.data(), run(shape, {x}, sequences, spec, options).out.data(), 16), 0);
}

TEST(Guard, BiasMinusInfinityIsAMaskAndBadBiasIsNamed) {
  Random random(38);
  const Shape shape{2, 1, 12, 12};
  const std::int64_t n_q = 30, n_kv = 100;
  Numbers x = random_numbers(random, shape, n_q, n_kv);
  const std::vector<std::uint64_t> words = random_bitmap(random, n_q, n_kv);
  const std::vector<BitmapView> bitmaps{bitmap_of(words, n_kv)};
  const std::vector<Sequence> sequences{{0, n_q, 70, n_kv}};
  const auto keep = [&](std::int64_t i, std::int64_t j) {
    return (words[static_cast<std::size_t>(i * 2 + j / 64)] >> (j % 64) & 1) != 0;
  };
  for (Isa isa : supported_isas()) {
    RunOptions options;
    options.isa = isa;
    x.bias.clear();
    const Output by_bitmap = run(shape, {x}, sequences, MaskSpec().causal().bitmap(bitmaps), options);
    x.bias.assign(static_cast<std::size_t>(n_q * 2 * n_kv), 0.0f);
    for (std::int64_t i = 0; i < n_q; ++i) {
      for (std::int64_t h = 0; h < 2; ++h) {
        for (std::int64_t j = 0; j < n_kv; ++j) {
          if (!keep(i, j)) x.bias[static_cast<std::size_t>((i * 2 + h) * n_kv + j)] = -INFINITY;
        }
      }
    }
    EXPECT_TRUE(run(shape, {x}, sequences, MaskSpec().causal(), options).same_bits(by_bitmap)) << isa_name(isa);
    // Poison what the bias masks.
    Numbers poisoned = x;
    for (std::int64_t i = 0; i < n_q; ++i) {
      for (std::int64_t h = 0; h < 2; ++h) poisoned.bias[static_cast<std::size_t>((i * 2 + h) * n_kv + 77)] = -INFINITY;
    }
    const Output without = run(shape, {poisoned}, sequences, MaskSpec().causal(), options);
    for (std::int64_t d = 0; d < 12; ++d)
      poisoned.k[77 * 12 + static_cast<std::size_t>(d)] = poisoned.v[77 * 12 + static_cast<std::size_t>(d)] = NAN;
    EXPECT_TRUE(run(shape, {poisoned}, sequences, MaskSpec().causal(), options).same_bits(without));
    // Finite bias against the reference, with a soft cap.
    for (float& value : x.bias) value = value == 0.0f ? random.uniform() * 3 : value;
    options.softcap = 2.0f;
    const Output biased = run(shape, {x}, sequences, MaskSpec().causal(), options);
    EXPECT_LT(worst_error(shape, x, biased, 0, options,
                          [&](std::int64_t, std::int64_t i, std::int64_t j) { return j <= 70 + i; }),
              1.0);
  }
  // Checked mode.
  const Result<MaskPlan> plan = compile(MaskSpec().causal(), {sequences, 2, 1});
  KvMemory memory(shape, {x}, DType::kF32, Layout::kKeyHeadDim);
  std::vector<float> out(static_cast<std::size_t>(n_q * 24));
  AttendArgs args;
  args.q = packed_heads(x.q.data(), n_q, 2, 12);
  args.out = packed_heads(out.data(), n_q, 2, 12);
  args.kv = memory.view();
  memory.sequences()[0].bias = x.bias.data();
  args.sequences = memory.sequences();
  args.bias = {DType::kF32, 2 * n_kv, n_kv, 1};
  args.check_bias = true;
  EXPECT_TRUE(attend_exact(args, *plan, pool(1), best_isa()).ok());
  x.bias[static_cast<std::size_t>((5 * 2 + 1) * n_kv + 90)] = NAN;  // query 5 sees keys to 75
  EXPECT_TRUE(attend_exact(args, *plan, pool(1), best_isa()).ok());
  x.bias[static_cast<std::size_t>((5 * 2 + 1) * n_kv + 60)] = INFINITY;
  const Result<AttendReport> report = attend_exact(args, *plan, pool(1), best_isa());
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code, ErrorCode::kNumericFault);
  EXPECT_EQ(report.error().message, "bias: +inf at sequence 0, head 1, query 5, key 60");
}

TEST(Guard, WrongArgumentsAreNamed) {
  Random random(39);
  const Shape shape{2, 1, 8, 8};
  const Numbers x = random_numbers(random, shape, 4, 10);
  const std::vector<Sequence> sequences{{0, 4, 6, 10}};
  const Result<MaskPlan> plan = compile(MaskSpec().causal(), {sequences, 2, 1});
  KvMemory memory(shape, {x}, DType::kF32, Layout::kKeyHeadDim);
  std::vector<float> out(64, 5.0f);
  const auto error_of = [&](const std::function<void(AttendArgs*)>& change) {
    AttendArgs args;
    args.q = packed_heads(x.q.data(), 4, 2, 8);
    args.out = packed_heads(out.data(), 4, 2, 8);
    args.kv = memory.view();
    args.sequences = memory.sequences();
    change(&args);
    const Result<AttendReport> report = attend_exact(args, *plan, pool(1), best_isa());
    return report.ok() ? std::string() : report.error().message;
  };
  EXPECT_EQ(error_of([](AttendArgs* a) { a->q.n_head = 3; }), "q heads: expected 2, found 3");
  EXPECT_EQ(error_of([](AttendArgs* a) { a->kv.k_dim = 9; }), "q head size: expected 9, found 8");
  EXPECT_EQ(error_of([](AttendArgs* a) { a->out.n_row = 3; }), "sequence 0: queries end at row 4, q has 4 rows, out 3");
  EXPECT_EQ(error_of([](AttendArgs* a) { a->scale = NAN; }), "scale is not finite");
  EXPECT_EQ(error_of([](AttendArgs* a) { a->softcap = -1; }), "softcap is not finite or negative");
  EXPECT_EQ(error_of([](AttendArgs* a) { a->sequences = {}; }), "K/V sequences: expected 1, found 0");
  EXPECT_EQ(error_of([](AttendArgs* a) { a->kv.space = MemorySpace::kCuda; }),
            "attend: only host memory is supported, without a stream");
  for (float value : out) EXPECT_EQ(value, 5.0f);  // nothing was written
  EXPECT_EQ(error_of([](AttendArgs*) {}), "");
  AttendArgs args;
  args.q = packed_heads(x.q.data(), 4, 2, 8);
  args.out = packed_heads(out.data(), 4, 2, 8);
  args.kv = memory.view();
  args.sequences = memory.sequences();
  alignas(64) static std::byte small[64];
  const Result<AttendReport> report = attend(args, *plan, {small, sizeof small}, *cpu_backend(pool(1), best_isa()));
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("workspace of 64 bytes, expected "), std::string::npos);
  const Result<AttendReport> unplanned = attend(args, MaskPlan(), {}, *cpu_backend(pool(1), best_isa()));
  EXPECT_EQ(unplanned.error().message, "attend: the mask plan was not compiled");
}

TEST(Guard, TheWorkspaceBoundCoversEveryCallWithinIt) {
  Random random(40);
  for (int round = 0; round < 400; ++round) {
    AttendBounds bounds;
    bounds.n_kv_head = 1 + random.below(4);
    bounds.n_head = bounds.n_kv_head * (1 + random.below(9));
    bounds.k_dim = 1 + random.below(100);
    bounds.v_dim = 1 + random.below(100);
    const Backend backend = *cpu_backend(pool(1 + static_cast<int>(random.below(9))));
    bounds.max_n_kv = 1 + random.below(20000);
    bounds.max_sequences = 1 + random.below(12);
    std::vector<Sequence> sequences;
    const std::int64_t n = 1 + random.below(bounds.max_sequences);
    for (std::int64_t s = 0; s < n; ++s) {
      const std::int64_t n_kv = random.below(bounds.max_n_kv + 1), n_q = random.below(3) != 0 ? 1 : random.below(200);
      sequences.push_back({0, n_q, n_kv - n_q, n_kv});
    }
    const Result<MaskPlan> plan = compile(MaskSpec().causal(), {sequences, static_cast<std::int32_t>(bounds.n_head),
                                                                static_cast<std::int32_t>(bounds.n_kv_head)});
    ASSERT_TRUE(plan.ok());
    AttendArgs args;
    args.kv = packed_kv(DType::kF32, bounds.n_kv_head, bounds.k_dim, bounds.v_dim);
    float bias = 0;
    std::vector<KvSequence> kv(sequences.size());
    if (random.below(2) == 0) kv[0].bias = &bias;
    args.sequences = kv;
    ASSERT_LE(attend_workspace_bytes(args, *plan, backend), attend_workspace_bound(bounds, backend));
  }
}

}  // namespace
}  // namespace rowmax::attention::test::guard_test

// attend() against the fp64 reference, and the promise of equal bits: ISAs, threads, layouts, batches, chunks,
// grouping.
#include "attention/test_problem.h"

namespace rowmax::attention::test::attend_test {
namespace {

struct MaskCase {
  const char* name;
  std::int64_t left, right, prefix, keep, chunk;
};
constexpr MaskCase kMasks[] = {
    {"none", kUnbounded, kUnbounded, 0, 0, 0},
    {"causal", kUnbounded, 0, 0, 0, 0},
    {"window", 40, 0, 0, 0, 0},
    {"two-sided", 30, 20, 0, 0, 0},
    {"prefix", kUnbounded, 0, 70, 0, 0},
    {"keep", 100, 0, 0, 3, 0},
    {"chunk", kUnbounded, 0, 0, 0, 50},
    {"future", -1, 5, 0, 0, 0},
    {"all", 20, 0, 10, 2, 90},
};

bool visible_by_definition(const MaskCase& mask, std::int64_t kv_begin, std::int64_t kv_end, std::int64_t p,
                           std::int64_t j) {
  if (j < kv_begin || j >= kv_end) return false;
  if (mask.chunk > 0) {
    const auto floor_div = [](std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); };
    if (floor_div(j - kv_begin, mask.chunk) != floor_div(p - kv_begin, mask.chunk)) return false;
  }
  if (j < mask.prefix) return true;
  const bool right = mask.right == kUnbounded || j <= p + mask.right;
  const bool left = mask.left == kUnbounded || j >= p - mask.left;
  return right && (left || j < kv_begin + mask.keep);
}

struct Built {
  MaskSpec spec;
  std::vector<std::int64_t> prefix;
  std::vector<KeySpan> valid;
};
void build(const MaskCase& mask, Built* built) {
  built->spec.window(mask.left, mask.right);
  if (mask.prefix > 0) {
    built->prefix = {mask.prefix};
    built->spec.prefix(built->prefix);
  }
  if (mask.keep > 0) built->spec.keep_first(mask.keep);
  if (mask.chunk > 0) built->spec.chunk(mask.chunk);
}

class EveryMask : public testing::TestWithParam<MaskCase> {};
INSTANTIATE_TEST_SUITE_P(Masks, EveryMask, testing::ValuesIn(kMasks), [](const auto& info) {
  std::string name = info.param.name;
  std::erase(name, '-');
  return name;
});

TEST_P(EveryMask, AgreesWithTheReferenceWithinTheDerivedBound) {
  const MaskCase& mask = GetParam();
  Random random(11);
  double worst = 0;
  for (const Shape& shape : {Shape{1, 1, 64, 64}, Shape{4, 2, 40, 24}, Shape{6, 1, 33, 17}, Shape{2, 2, 1, 1}}) {
    for (auto [n_q, n_kv, q_pos] : {std::array<std::int64_t, 3>{1, 1, 0},
                                    {7, 7, 0},
                                    {1, 700, 699},
                                    {33, 190, 157},
                                    {5, 130, -3},
                                    {3, 20, 100},
                                    {130, 130, 0}}) {
      const Numbers x = random_numbers(random, shape, n_q, n_kv);
      Built built;
      build(mask, &built);
      const std::vector<Sequence> sequences{{0, n_q, q_pos, n_kv}};
      RunOptions options;
      options.isa = best_isa();
      const Output output = run(shape, {x}, sequences, built.spec, options);
      worst =
          std::max(worst, worst_error(shape, x, output, 0, options,
                                      [&, n_kv = n_kv, q_pos = q_pos](std::int64_t, std::int64_t i, std::int64_t j) {
                                        return visible_by_definition(mask, 0, n_kv, q_pos + i, j);
                                      }));
    }
  }
  EXPECT_LT(worst, 1.0);
  RecordProperty("worst_in_bounds", std::to_string(worst));
}

TEST_P(EveryMask, EveryIsaAndThreadCountGivesTheSameBits) {
  const MaskCase& mask = GetParam();
  Random random(5);
  const Shape shape{6, 2, 48, 40};
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (float softcap : {0.0f, 3.0f}) {
      // A prompt, a chunk, two single tokens (one far in) and a sequence without keys, in one call.
      const std::int64_t n_q[] = {70, 9, 1, 1, 2}, n_kv[] = {70, 150, 1200, 5, 0}, q_pos[] = {0, 141, 1199, 4, 0};
      std::vector<Numbers> numbers;
      std::vector<Sequence> sequences;
      std::int64_t row = 0;
      for (int s = 0; s < 5; ++s) {
        numbers.push_back(random_numbers(random, shape, n_q[s], n_kv[s], dtype));
        sequences.push_back({row, n_q[s], q_pos[s], n_kv[s]});
        row += n_q[s];
      }
      Built built;
      build(mask, &built);
      RunOptions options{Isa::kScalar, 1, dtype, Layout::kPagedFast, 0.2f, softcap};
      const Output scalar = run(shape, numbers, sequences, built.spec, options);
      for (Isa isa : supported_isas()) {
        for (int threads : {1, 2, 3, 7}) {
          if (isa == Isa::kScalar && threads != 3) continue;
          options.isa = isa;
          options.threads = threads;
          const Output output = run(shape, numbers, sequences, built.spec, options);
          ASSERT_TRUE(output.same_bits(scalar))
              << isa_name(isa) << ", " << threads << " threads, " << dtype_name(dtype) << ", softcap " << softcap;
        }
      }
    }
  }
}

TEST_P(EveryMask, EveryLayoutGivesTheSameBits) {
  const MaskCase& mask = GetParam();
  Random random(6);
  const Shape shape{4, 2, 37, 21};
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::vector<Numbers> numbers{random_numbers(random, shape, 40, 140, dtype),
                                       random_numbers(random, shape, 1, 650, dtype)};
    const std::vector<Sequence> sequences{{0, 40, 100, 140}, {40, 1, 649, 650}};
    Built built;
    build(mask, &built);
    RunOptions options;
    options.isa = best_isa();
    options.dtype = dtype;
    const Output first = run(shape, numbers, sequences, built.spec, options);
    for (Layout layout : kAllLayouts) {
      for (int threads : {1, 3}) {
        options.layout = layout;
        options.threads = threads;
        ASSERT_TRUE(run(shape, numbers, sequences, built.spec, options).same_bits(first))
            << "layout " << static_cast<int>(layout) << ", " << dtype_name(dtype) << ", " << threads << " threads";
      }
    }
  }
}

// Rows [begin, end) of a result.
std::vector<float> rows(const std::vector<float>& all, std::int64_t begin, std::int64_t end, std::int64_t width) {
  return {all.begin() + begin * width, all.begin() + end * width};
}
bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

Numbers sub_queries(const Shape& shape, const Numbers& x, std::int64_t begin, std::int64_t end, std::int64_t n_kv) {
  Numbers part = x;
  part.n_q = end - begin;
  part.n_kv = n_kv;
  part.q = rows(x.q, begin, end, shape.n_head * shape.k_dim);
  part.k = rows(x.k, 0, n_kv, shape.n_kv_head * shape.k_dim);
  part.v = rows(x.v, 0, n_kv, shape.n_kv_head * shape.v_dim);
  return part;
}

TEST(Attend, ChunkedPrefillAndTokenByTokenGiveTheBitsOfOneCall) {
  Random random(21);
  const Shape shape{4, 2, 16, 16};
  const std::int64_t n = 600, width = shape.n_head * shape.v_dim;
  const Numbers x = random_numbers(random, shape, n, n);
  RunOptions options;
  options.isa = best_isa();
  const MaskSpec causal = MaskSpec().causal();
  const std::vector<Sequence> whole{{0, n, 0, n}};
  const Output all = run(shape, {x}, whole, causal, options);
  for (std::int64_t chunk : {1, 2, 7, 33, 64, 100, 512}) {
    options.threads = chunk == 7 ? 3 : 1;
    for (std::int64_t begin = 0; begin < n; begin += chunk) {
      const std::int64_t end = std::min(n, begin + chunk);
      if (chunk == 1 && begin % 13 != 0 && begin < 500) continue;
      const Numbers part = sub_queries(shape, x, begin, end, end);
      const std::vector<Sequence> sequences{{0, end - begin, begin, end}};
      const Output output = run(shape, {part}, sequences, causal, options);
      ASSERT_TRUE(same(output.out, rows(all.out, begin, end, width))) << "chunk " << chunk << " at " << begin;
      ASSERT_TRUE(same(output.lse, rows(all.lse, begin, end, shape.n_head))) << "chunk " << chunk << " at " << begin;
    }
  }
}

TEST(Attend, LeftPaddedRightPaddedBatchedAndAloneGiveTheSameBits) {
  Random random(22);
  const Shape shape{2, 1, 24, 24};
  RunOptions options;
  options.isa = best_isa();
  for (std::int64_t n : {1, 5, 63, 64, 65, 130}) {
    const Numbers x = random_numbers(random, shape, n, n);
    const std::vector<Sequence> one{{0, n, 0, n}};
    const Output alone = run(shape, {x}, one, MaskSpec().causal(), options);
    for (std::int64_t pad : {1, 3, 64, 70, 129}) {
      for (bool left : {true, false}) {
        Numbers padded;
        padded.n_q = padded.n_kv = n + pad;
        const auto pad_to = [&](const std::vector<float>& values, std::vector<float>* out, std::int64_t width) {
          out->assign(static_cast<std::size_t>((n + pad) * width), NAN);
          std::copy(values.begin(), values.end(), out->begin() + (left ? pad * width : 0));
        };
        pad_to(x.q, &padded.q, shape.n_head * shape.k_dim);
        pad_to(x.k, &padded.k, shape.n_kv_head * shape.k_dim);
        pad_to(x.v, &padded.v, shape.n_kv_head * shape.v_dim);
        const std::vector<KeySpan> valid{left ? KeySpan{pad, n + pad} : KeySpan{0, n}};
        const std::vector<Sequence> sequences{{0, n + pad, 0, n + pad}};
        const Output output = run(shape, {padded}, sequences, MaskSpec().valid(valid).causal(), options);
        const std::int64_t begin = left ? pad : 0;
        ASSERT_TRUE(same(rows(output.out, begin, begin + n, shape.n_head * shape.v_dim), alone.out))
            << n << " keys, " << pad << (left ? " left" : " right");
        if (left) {
          EXPECT_EQ(output.report.n_empty, pad * shape.n_head);
          for (std::int64_t i = 0; i < pad * shape.n_head * shape.v_dim; ++i) {
            ASSERT_EQ(std::bit_cast<std::uint32_t>(output.out[static_cast<std::size_t>(i)]), 0u);
          }
        }
      }
    }
    // In the middle of a batch.
    const std::vector<Numbers> batch{random_numbers(random, shape, 20, 90), x, random_numbers(random, shape, 1, 700)};
    const std::vector<Sequence> sequences{{0, 20, 70, 90}, {20, n, 0, n}, {20 + n, 1, 699, 700}};
    options.threads = 2;
    const Output output = run(shape, batch, sequences, MaskSpec().causal(), options);
    ASSERT_TRUE(same(rows(output.out, 20, 20 + n, shape.n_head * shape.v_dim), alone.out));
    options.threads = 1;
  }
}

TEST(Attend, PackedDocumentsAsSegmentsGiveTheBitsOfEachAlone) {
  Random random(23);
  const Shape shape{2, 1, 16, 16};
  const std::int64_t lengths[] = {70, 1, 130, 64, 5};
  RunOptions options;
  options.isa = best_isa();
  Numbers packed;
  std::vector<std::int32_t> ids;
  std::vector<Output> alone;
  for (std::size_t document = 0; document < 5; ++document) {
    const std::int64_t n = lengths[document];
    const Numbers x = random_numbers(random, shape, n, n);
    const std::vector<Sequence> one{{0, n, 0, n}};
    alone.push_back(run(shape, {x}, one, MaskSpec().causal().window(50, 0), options));
    packed.n_q += n;
    packed.n_kv += n;
    packed.q.insert(packed.q.end(), x.q.begin(), x.q.end());
    packed.k.insert(packed.k.end(), x.k.begin(), x.k.end());
    packed.v.insert(packed.v.end(), x.v.begin(), x.v.end());
    ids.insert(ids.end(), static_cast<std::size_t>(n), static_cast<std::int32_t>(10 * document));
  }
  const std::vector<SegmentIds> segments{{ids.data(), ids.data()}};
  const std::vector<Sequence> sequences{{0, packed.n_q, 0, packed.n_kv}};
  const MaskSpec spec = MaskSpec().causal().window(50, 0).segments(segments);
  const Output output = run(shape, {packed}, sequences, spec, options);
  std::int64_t row = 0;
  for (std::size_t document = 0; document < 5; ++document) {
    EXPECT_TRUE(same(rows(output.out, row, row + lengths[document], shape.n_head * shape.v_dim), alone[document].out))
        << "document " << document;
    row += lengths[document];
  }
}

TEST(Attend, UnorderedSegmentsAgreeWithTheReference) {
  Random random(24);
  const Shape shape{2, 2, 12, 12};
  const Numbers x = random_numbers(random, shape, 50, 150);
  std::vector<std::int32_t> q_ids(50), k_ids(150);
  for (auto& id : q_ids) id = static_cast<std::int32_t>(random.below(4));
  for (auto& id : k_ids) id = static_cast<std::int32_t>(random.below(3));
  const std::vector<SegmentIds> segments{{q_ids.data(), k_ids.data()}};
  const std::vector<Sequence> sequences{{0, 50, 100, 150}};
  RunOptions options;
  options.isa = best_isa();
  const Output output = run(shape, {x}, sequences, MaskSpec().causal().segments(segments), options);
  EXPECT_LT(worst_error(shape, x, output, 0, options,
                        [&](std::int64_t, std::int64_t i, std::int64_t j) {
                          return j <= 100 + i &&
                                 q_ids[static_cast<std::size_t>(i)] == k_ids[static_cast<std::size_t>(j)];
                        }),
            1.0);
}

TEST(Attend, GroupedHeadsGiveTheBitsOfRepeatedKvHeads) {
  Random random(25);
  for (std::int64_t kv_heads : {1, 2, 4}) {
    const Shape grouped{8, kv_heads, 20, 28}, repeated{8, 8, 20, 28};
    for (auto [n_q, n_kv] : {std::pair<std::int64_t, std::int64_t>{1, 900}, {45, 45}}) {
      const Numbers x = random_numbers(random, grouped, n_q, n_kv);
      Numbers y = x;
      y.k.clear();
      y.v.clear();
      for (std::int64_t j = 0; j < n_kv; ++j) {
        for (std::int64_t h = 0; h < 8; ++h) {
          const std::int64_t from = j * kv_heads + h / (8 / kv_heads);
          y.k.insert(y.k.end(), x.k.begin() + from * 20, x.k.begin() + (from + 1) * 20);
          y.v.insert(y.v.end(), x.v.begin() + from * 28, x.v.begin() + (from + 1) * 28);
        }
      }
      const std::vector<Sequence> sequences{{0, n_q, n_kv - n_q, n_kv}};
      RunOptions options;
      options.isa = best_isa();
      const Output a = run(grouped, {x}, sequences, MaskSpec().causal(), options);
      options.threads = 3;
      const Output b = run(repeated, {y}, sequences, MaskSpec().causal(), options);
      EXPECT_TRUE(a.same_bits(b)) << kv_heads << " kv heads, " << n_q << " queries";
    }
  }
}

// The bits themselves, recorded once: the same on every processor and compiler. A change of the definition in
// kernels/attend/attend.h changes them, and nothing else may.
TEST(Attend, GoldenBits) {
  Random random(77);
  const Shape shape{6, 2, 40, 56};
  const std::vector<Numbers> numbers{random_numbers(random, shape, 30, 130, DType::kF16),
                                     random_numbers(random, shape, 1, 1100, DType::kF16)};
  const std::vector<Sequence> sequences{{0, 30, 100, 130}, {30, 1, 1099, 1100}};
  for (Isa isa : supported_isas()) {
    const RunOptions options{isa, 2, DType::kF16, Layout::kPagedFast, 0.3f, 4.0f};
    const Output output = run(shape, numbers, sequences, MaskSpec().causal().window(900, 0).keep_first(4), options);
    std::uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a over 32-bit words
    for (const std::vector<float>* values : {&output.out, &output.lse}) {
      for (float value : *values) hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001B3ull;
    }
    EXPECT_EQ(hash, 0x15E1FC3114097316ull) << isa_name(isa);
  }
}

TEST(Attend, PositionsInAnyOrder) {
  Random random(26);
  const Shape shape{1, 1, 16, 16};
  const Numbers x = random_numbers(random, shape, 30, 100);
  std::vector<std::int64_t> positions(30);
  for (auto& p : positions) p = random.below(120) - 10;
  std::vector<Sequence> sequences{{0, 30, 0, 100, positions.data()}};
  RunOptions options;
  options.isa = best_isa();
  const Output output = run(shape, {x}, sequences, MaskSpec().window(20, 3), options);
  EXPECT_LT(worst_error(shape, x, output, 0, options,
                        [&](std::int64_t, std::int64_t i, std::int64_t j) {
                          const std::int64_t p = positions[static_cast<std::size_t>(i)];
                          return j >= p - 20 && j <= p + 3;
                        }),
            1.0);
}

}  // namespace
}  // namespace rowmax::attention::test::attend_test

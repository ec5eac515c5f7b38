// Types and layouts of keys and values: whatever they are stored as, the result has the bits of the same numbers in f32
// (which attend_test.cc compares with the fp64 reference); rings; outputs of other types; what is refused.
#include "attention/layout_checks.h"

#include <sys/mman.h>

#include "attention/test_problem.h"
#include "attention/test_types.h"

namespace rowmax::attention::test::layout_checks_test {
namespace {

TEST(Types, EveryFp8CodeIsWhatTheSpecificationSays) {
  for (unsigned code = 0; code < 256; ++code) {
    const double expected = f8_by_definition(code);
    const float found = base::f8e4m3_to_f32(static_cast<std::uint8_t>(code));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(found)) << code;
    } else {
      EXPECT_EQ(found, expected) << code;
      EXPECT_EQ(std::signbit(found), (code & 0x80u) != 0) << code;
    }
  }
}

// One sequence's keys (or values) in some type: bytes, and the f32 numbers they stand for, [key][head][dim] both.
struct Encoded {
  std::vector<std::byte> bytes;
  std::vector<float> numbers;
};

Encoded random_encoded(Random& random, DType dtype, std::int64_t n_kv, std::int64_t n_head, std::int64_t n_dim,
                       const float* scales) {
  Encoded x;
  const std::int64_t n = n_kv * n_head * n_dim;
  x.bytes.resize(static_cast<std::size_t>(dtype_bytes(dtype, n)));
  x.numbers.resize(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    float& number = x.numbers[static_cast<std::size_t>(i)];
    if (dtype == DType::kF8E4M3) {
      unsigned code = random.bits() & 0xBFu;                    // below 2: scores of a sensible size
      if (i % 7 == 0) code = static_cast<unsigned>(i / 7) % 8;  // subnormal
      x.bytes[static_cast<std::size_t>(i)] = static_cast<std::byte>(code);
      number = static_cast<float>(f8_by_definition(code)) * scales[i / n_dim % n_head];
    } else if (dtype == DType::kQ8_0) {
      std::byte* block = &x.bytes[static_cast<std::size_t>(i / 32 * 34)];
      if (i % 32 == 0) {
        const std::uint16_t scale = base::f32_to_f16(random.uniform() * 0.02f);
        std::memcpy(block, &scale, 2);
      }
      std::uint16_t scale;
      std::memcpy(&scale, block, 2);
      const auto q = static_cast<std::int8_t>(random.bits());
      block[2 + i % 32] = static_cast<std::byte>(q);
      number = base::f16_to_f32(scale) * static_cast<float>(q);
    } else {
      number = rounded_to(dtype, random.uniform() * 2);
      store_as(dtype, x.bytes.data(), i, number);
    }
  }
  return x;
}

struct Problem {
  Shape shape;
  std::int64_t n_q = 5, n_kv = 150;
  std::vector<float> q, k_scales, v_scales;
  Encoded k, v;
};

Problem make_problem(DType dtype, const Shape& shape, std::int64_t n_q, std::int64_t n_kv) {
  Random random(static_cast<std::uint64_t>(dtype) + 3);
  Problem p{shape, n_q, n_kv, {}, {}, {}, {}, {}};
  p.q.resize(static_cast<std::size_t>(n_q * shape.n_head * shape.k_dim));
  for (float& x : p.q) x = random.uniform();
  for (std::int64_t h = 0; h < shape.n_kv_head; ++h) {
    p.k_scales.push_back(0.7f + random.uniform() / 3);
    p.v_scales.push_back(1.3f + random.uniform() / 3);
  }
  p.k = random_encoded(random, dtype, n_kv, shape.n_kv_head, shape.k_dim, p.k_scales.data());
  p.v = random_encoded(random, dtype, n_kv, shape.n_kv_head, shape.v_dim, p.v_scales.data());
  return p;
}

Output attend_with(const Problem& p, const KvView& view, const KvSequence& kv, Isa isa,
                   const MaskSpec& spec = MaskSpec().causal()) {
  Output result;
  result.out.assign(static_cast<std::size_t>(p.n_q * p.shape.n_head * p.shape.v_dim), -7.0f);
  result.lse.assign(static_cast<std::size_t>(p.n_q * p.shape.n_head), -7.0f);
  result.status.assign(result.lse.size(), RowStatus::kOk);
  const Sequence sequence{0, p.n_q, p.n_kv - p.n_q, p.n_kv};
  MaskPlan plan;
  const Status compiled = plan.compile(
      spec, {{&sequence, 1}, static_cast<std::int32_t>(p.shape.n_head), static_cast<std::int32_t>(p.shape.n_kv_head)});
  EXPECT_TRUE(compiled.ok());
  AttendArgs args;
  args.q = packed_heads(p.q.data(), p.n_q, p.shape.n_head, p.shape.k_dim);
  args.kv = view;
  args.sequences = {&kv, 1};
  args.scale = 0.3f;
  args.out = packed_heads(result.out.data(), p.n_q, p.shape.n_head, p.shape.v_dim);
  args.lse = result.lse.data();
  args.lse_row_stride = p.shape.n_head;
  args.row_status = result.status.data();
  args.status_row_stride = p.shape.n_head;
  args.check_weights = WeightCheck::kOff;
  const Result<AttendReport> report = attend_exact(args, plan, pool(2), isa);
  EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message);
  if (report.ok()) result.report = *report;
  return result;
}

KvView view_of(const Problem& p, DType dtype) {
  KvView view = packed_kv(dtype, p.shape.n_kv_head, p.shape.k_dim, p.shape.v_dim);
  if (dtype == DType::kF8E4M3) {
    view.k_scales = p.k_scales.data();
    view.v_scales = p.v_scales.data();
  }
  return view;
}

Output in_f32(const Problem& p) {
  return attend_with(p, view_of(p, DType::kF32), {p.k.numbers.data(), p.v.numbers.data(), nullptr, nullptr},
                     Isa::kScalar);
}

constexpr DType kStored[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3, DType::kQ8_0};

TEST(Types, EveryTypeGivesTheBitsOfItsNumbersInF32) {
  for (const DType dtype : kStored) {
    for (const std::int64_t n_q : {1, 3, 17}) {  // few rows, and blocks that convert a tile first
      const Problem p = make_problem(dtype, {4, 2, 64, 32}, n_q, 150);
      const Output expected = in_f32(p);
      EXPECT_EQ(expected.report.n_non_finite + expected.report.n_overflow, 0);
      for (const Isa isa : supported_isas()) {
        const Output found =
            attend_with(p, view_of(p, dtype), {p.k.bytes.data(), p.v.bytes.data(), nullptr, nullptr}, isa);
        EXPECT_TRUE(found.same_bits(expected)) << dtype_name(dtype) << " n_q " << n_q << " " << isa_name(isa);
      }
    }
  }
}

// Few rows take keys and values of q8_0 as they lie, more of them as f32: each number of rows, of blocks that one vector reads
// or several, in tiles that are seen whole, in part and with holes.
TEST(Types, EveryNumberOfRowsDecodesQ8) {
  constexpr std::int64_t kSizes[][2] = {{96, 32}, {32, 96}, {128, 128}};
  for (std::int64_t group = 1; group <= 13; ++group) {
    for (const auto& [k_dim, v_dim] : kSizes) {
      const Problem p = make_problem(DType::kQ8_0, {group, 1, k_dim, v_dim}, 1, 200);
      for (const MaskSpec& spec : {MaskSpec().causal(), MaskSpec().window(90, 0).keep_first(3)}) {
        const Output expected = attend_with(
            p, view_of(p, DType::kF32), {p.k.numbers.data(), p.v.numbers.data(), nullptr, nullptr}, Isa::kScalar, spec);
        for (const Isa isa : supported_isas()) {
          const Output found = attend_with(p, view_of(p, DType::kQ8_0),
                                           {p.k.bytes.data(), p.v.bytes.data(), nullptr, nullptr}, isa, spec);
          EXPECT_TRUE(found.same_bits(expected)) << "rows " << group << " k_dim " << k_dim << " " << isa_name(isa);
        }
      }
    }
  }
}

TEST(Types, OddHeadSizesAndStridesOfFp8) {
  for (const std::int64_t n_dim : {1, 7, 17, 40}) {
    const Problem p = make_problem(DType::kF8E4M3, {2, 1, n_dim, n_dim + 3}, 3, 90);
    const Output expected = in_f32(p);
    // As it is, and as [head][dim][key] with three bytes between the values of one key.
    std::vector<std::byte> k(static_cast<std::size_t>(n_dim * 90)), v(static_cast<std::size_t>((n_dim + 3) * 90 * 3));
    for (std::int64_t j = 0; j < 90; ++j) {
      for (std::int64_t d = 0; d < n_dim; ++d) {
        k[static_cast<std::size_t>(d * 90 + j)] = p.k.bytes[static_cast<std::size_t>(j * n_dim + d)];
      }
      for (std::int64_t d = 0; d < n_dim + 3; ++d) {
        v[static_cast<std::size_t>((j * (n_dim + 3) + d) * 3)] =
            p.v.bytes[static_cast<std::size_t>(j * (n_dim + 3) + d)];
      }
    }
    KvView strided = view_of(p, DType::kF8E4M3);
    strided.k = {0, 1, 90 * n_dim, 90};
    strided.v = {0, (n_dim + 3) * 3, 0, 3};
    for (const Isa isa : supported_isas()) {
      EXPECT_TRUE(
          attend_with(p, view_of(p, DType::kF8E4M3), {p.k.bytes.data(), p.v.bytes.data(), nullptr, nullptr}, isa)
              .same_bits(expected));
      EXPECT_TRUE(attend_with(p, strided, {k.data(), v.data(), nullptr, nullptr}, isa).same_bits(expected)) << n_dim;
    }
  }
}

// Keys that left the ring are overwritten by the newest: their slots hold later keys.
TEST(Ring, GivesTheBitsOfAllKeysInARow) {
  for (const DType dtype : kStored) {
    const std::int64_t n_kv = 331, row = dtype_bytes(dtype, 2 * 64);
    for (const std::int64_t page : {0, 4, 20}) {
      for (const std::int64_t ring : {100, 160, 400}) {
        const Problem p = make_problem(dtype, {4, 2, 64, 64}, 5, n_kv);
        const MaskSpec window = MaskSpec().causal().window(90, 0);
        const Output expected = attend_with(
            p, view_of(p, dtype), {p.k.bytes.data(), p.v.bytes.data(), nullptr, nullptr}, Isa::kScalar, window);
        std::vector<std::byte> k(static_cast<std::size_t>(ring * row)), v(k.size());
        std::vector<std::int32_t> pages;
        for (std::int64_t i = 0; page > 0 && i < ring / page; ++i)
          pages.push_back(static_cast<std::int32_t>(ring / page - 1 - i));
        for (std::int64_t j = 0; j < n_kv; ++j) {
          std::int64_t slot = j % ring;
          if (page > 0) slot = pages[static_cast<std::size_t>(slot / page)] * page + slot % page;
          std::memcpy(&k[static_cast<std::size_t>(slot * row)], &p.k.bytes[static_cast<std::size_t>(j * row)],
                      static_cast<std::size_t>(row));
          std::memcpy(&v[static_cast<std::size_t>(slot * row)], &p.v.bytes[static_cast<std::size_t>(j * row)],
                      static_cast<std::size_t>(row));
        }
        KvView view = view_of(p, dtype);
        view.ring_keys = ring;
        view.page_size = page;
        view.k.page_stride = view.v.page_stride = page * 2 * 64;
        for (const Isa isa : {Isa::kScalar, best_isa()}) {
          const Output found =
              attend_with(p, view, {k.data(), v.data(), page > 0 ? pages.data() : nullptr, nullptr}, isa, window);
          EXPECT_TRUE(found.same_bits(expected)) << dtype_name(dtype) << " ring " << ring << " page " << page;
        }
      }
    }
  }
}

// The tail of a ring tile lies at the other end of the memory; nothing between or behind is read.
TEST(Types, NothingPastTheLastKeyIsRead) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (const DType dtype : {DType::kF8E4M3, DType::kQ8_0}) {
    const Problem p = make_problem(dtype, {2, 1, 32, 32}, 3, 70);
    const std::size_t bytes = p.k.bytes.size();
    const std::size_t size = (bytes + page - 1) / page * page;
    std::byte* memory[2];
    for (std::byte*& at : memory) {
      void* mapped = mmap(nullptr, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      ASSERT_NE(mapped, MAP_FAILED);
      ASSERT_EQ(mprotect(static_cast<std::byte*>(mapped) + page, size, PROT_READ | PROT_WRITE), 0);
      at = static_cast<std::byte*>(mapped) + page + size - bytes;  // ends at memory that may not be touched
    }
    std::memcpy(memory[0], p.k.bytes.data(), bytes);
    std::memcpy(memory[1], p.v.bytes.data(), bytes);
    const Output expected = in_f32(p);
    for (const Isa isa : supported_isas()) {
      EXPECT_TRUE(attend_with(p, view_of(p, dtype), {memory[0], memory[1], nullptr, nullptr}, isa).same_bits(expected));
    }
    for (std::byte* at : memory) munmap(at - (size - bytes) - page, size + 2 * page);
  }
}

TEST(Types, PoisonInMaskedKeysChangesNoBit) {
  for (const DType dtype : {DType::kF8E4M3, DType::kQ8_0}) {
    Problem p = make_problem(dtype, {2, 1, 32, 32}, 4, 80);
    const KvSequence kv{p.k.bytes.data(), p.v.bytes.data(), nullptr, nullptr};
    const MaskSpec spec = MaskSpec().window(20, 0);
    const Output clean = attend_with(p, view_of(p, dtype), kv, Isa::kScalar, spec);
    // Query i sits at 76 + i: keys below 56 are seen by none, key 56 by the first query alone.
    const auto poison = [&](std::int64_t key) {
      for (Encoded* x : {&p.k, &p.v}) {
        const std::int64_t at = dtype_bytes(dtype, key * 32);
        if (dtype == DType::kQ8_0) {
          const std::uint16_t nan = 0x7E00;
          std::memcpy(&x->bytes[static_cast<std::size_t>(at)], &nan, 2);
        } else {
          for (std::int64_t d = 0; d < 32; ++d) x->bytes[static_cast<std::size_t>(at + d)] = std::byte{0x7F};
        }
      }
    };
    for (std::int64_t key = 0; key < 56; ++key) poison(key);
    for (const Isa isa : supported_isas()) {
      EXPECT_TRUE(attend_with(p, view_of(p, dtype), kv, isa, spec).same_bits(clean)) << dtype_name(dtype);
    }
    poison(56);
    for (const Isa isa : supported_isas()) {
      const Output found = attend_with(p, view_of(p, dtype), kv, isa, spec);
      EXPECT_EQ(found.report.n_non_finite, 2) << dtype_name(dtype);  // the first query, both heads
      for (std::size_t h = 0; h < 2; ++h) EXPECT_EQ(found.status[h], RowStatus::kNonFinite);
      EXPECT_EQ(std::memcmp(&found.out[64], &clean.out[64], (clean.out.size() - 64) * sizeof(float)), 0);
    }
  }
}

TEST(Types, HeadSizesFromOneTo576WithValuesOfAnotherSize) {
  constexpr std::int64_t sizes[][2] = {{1, 1},   {3, 8},    {8, 3},     {16, 17},   {17, 16},   {40, 64},
                                       {72, 96}, {111, 40}, {128, 192}, {192, 128}, {256, 111}, {576, 512}};
  for (const auto& [k_dim, v_dim] : sizes) {
    Random random(static_cast<std::uint64_t>(k_dim));
    const Shape shape{4, 2, k_dim, v_dim};
    const Numbers x = random_numbers(random, shape, 3, 130);
    for (const Layout layout : {Layout::kKeyHeadDim, Layout::kPagedFast}) {
      RunOptions options;
      options.layout = layout;
      options.scale = 1 / std::sqrt(static_cast<float>(k_dim));
      const std::vector<Sequence> sequences = {{0, 3, 127, 130}};
      const Output scalar = run(shape, {x}, sequences, MaskSpec().causal(), options);
      EXPECT_LT(
          worst_error(shape, x, scalar, 0, options, [](auto, std::int64_t i, std::int64_t j) { return j <= 127 + i; }),
          1)
          << k_dim << " " << v_dim;
      options.isa = best_isa();
      EXPECT_TRUE(run(shape, {x}, sequences, MaskSpec().causal(), options).same_bits(scalar)) << k_dim << " " << v_dim;
    }
  }
}

// Results of other types are the f32 results, rounded once; what leaves the narrower range is counted.
TEST(Types, ResultsAreRoundedOnceToTheirType) {
  Problem p = make_problem(DType::kF32, {2, 1, 32, 24}, 3, 70);
  for (std::size_t i = 0; i < p.v.numbers.size(); ++i) p.v.numbers[i] *= i % 24 == 5 ? 1e6f : 1.0f;
  std::memcpy(p.v.bytes.data(), p.v.numbers.data(), p.v.bytes.size());
  const KvSequence kv{p.k.bytes.data(), p.v.bytes.data(), nullptr, nullptr};
  const Output f32 = attend_with(p, view_of(p, DType::kF32), kv, Isa::kScalar);
  const Sequence sequence{0, 3, 67, 70};
  MaskPlan plan;
  ASSERT_TRUE(plan.compile(MaskSpec().causal(), {{&sequence, 1}, 2, 1}).ok());
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF64}) {
    for (const std::int64_t dim_stride : {1, 3}) {
      for (const Isa isa : supported_isas()) {
        std::vector<std::byte> out(p.q.size() * 3 * 8);
        std::vector<RowStatus> status(6);
        AttendArgs args;
        args.q = packed_heads(p.q.data(), 3, 2, 32);
        args.kv = view_of(p, DType::kF32);
        args.sequences = {&kv, 1};
        args.scale = 0.3f;
        args.out = {out.data(), dtype, MemorySpace::kHost, 3, 2, 24, 48 * dim_stride, 24 * dim_stride, dim_stride};
        args.row_status = status.data();
        args.status_row_stride = 2;
        ASSERT_TRUE(attend_exact(args, plan, pool(1), isa).ok());
        for (std::size_t i = 0; i < f32.out.size(); ++i) {
          const std::byte* at = &out[i * static_cast<std::size_t>(dim_stride * dtype_bytes(dtype, 1))];
          if (dtype == DType::kF64) {
            double value;
            std::memcpy(&value, at, 8);
            EXPECT_EQ(value, static_cast<double>(f32.out[i]));
          } else {
            std::uint16_t bits;
            std::memcpy(&bits, at, 2);
            EXPECT_EQ(bits, dtype == DType::kF16 ? base::f32_to_f16(f32.out[i]) : base::f32_to_bf16(f32.out[i]));
          }
        }
        const bool overflow = dtype == DType::kF16;  // column 5 is far beyond 65504
        for (const RowStatus row : status) EXPECT_EQ(row, overflow ? RowStatus::kOverflow : RowStatus::kOk);
      }
    }
  }
}

TEST(Types, WhatCannotBeIsNamed) {
  Problem p = make_problem(DType::kQ8_0, {2, 1, 64, 32}, 3, 70);
  const KvView good = view_of(p, DType::kQ8_0);
  const auto message = [&](const KvView& view, DType q = DType::kF32) {
    AttendArgs args;
    args.kv = view;
    args.q.dtype = q;
    Status status = check_layout(args);
    if (status.ok()) status = check_scales(view);
    return status.ok() ? std::string("ok") : status.error().message;
  };
  EXPECT_EQ(message(good), "ok");
  KvView view = good;
  view.k_dim = 48;
  EXPECT_NE(message(view).find("k_dim 48, expected a multiple of 32"), std::string::npos);
  view = good;
  view.v.key_stride = 40;
  EXPECT_NE(message(view).find("v key_stride 40"), std::string::npos);
  view = good;
  view.k.dim_stride = 32;
  EXPECT_NE(message(view).find("dim_stride"), std::string::npos);
  view = good;
  view.k_scales = p.k_scales.data();
  EXPECT_NE(message(view).find("k_scales or v_scales with K/V of type q8_0"), std::string::npos);
  view = good;
  view.dtype = DType::kF64;
  EXPECT_NE(message(view).find("K/V of type f64"), std::string::npos);
  view.dtype = static_cast<DType>(77);
  EXPECT_NE(message(view).find("unknown"), std::string::npos);
  view = good;
  view.dtype = DType::kF8E4M3;
  const float bad[] = {NAN};
  view.v_scales = bad;
  EXPECT_NE(message(view).find("v_scales[0] is not finite"), std::string::npos);
  view = good;
  view.ring_keys = -1;
  EXPECT_NE(message(view).find("ring_keys -1"), std::string::npos);
  view.ring_keys = 100;
  view.page_size = 64;
  EXPECT_NE(message(view).find("ring_keys 100, expected a multiple of page_size 64"), std::string::npos);
  EXPECT_NE(message(good, DType::kQ8_0).find("q of type q8_0"), std::string::npos);
  EXPECT_NE(message(good, DType::kF64).find("q of type f64"), std::string::npos);
}

TEST(Ring, AKeyThatIsGoneIsRefused) {
  Problem p = make_problem(DType::kF32, {2, 1, 32, 32}, 3, 70);
  const Sequence sequence{0, 3, 67, 70};
  MaskPlan plan;
  ASSERT_TRUE(plan.compile(MaskSpec().causal(), {{&sequence, 1}, 2, 1}).ok());
  std::vector<float> out(p.q.size());
  const KvSequence kv{p.k.bytes.data(), p.v.bytes.data(), nullptr, nullptr};
  AttendArgs args;
  args.q = packed_heads(p.q.data(), 3, 2, 32);
  args.out = packed_heads(out.data(), 3, 2, 32);
  args.kv = view_of(p, DType::kF32);
  args.kv.ring_keys = 64;
  args.sequences = {&kv, 1};
  const auto report = attend_exact(args, plan, pool(1), Isa::kScalar);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().message, "sequence 0, query 0: sees key 0, but a ring of 64 keys holds none before 6");
}

// A page with a visible key and no number is named, whatever else decides what is visible; one without is not looked
// at.
TEST(Ring, AMissingPageIsNamedUnlessAllItsKeysAreHidden) {
  const std::int64_t n_kv = 96, page = 16;
  const Problem p = make_problem(DType::kF32, {2, 1, 16, 16}, 2, n_kv);
  const Sequence sequence{0, 2, n_kv - 2, n_kv};
  std::vector<std::uint64_t> words(4, ~std::uint64_t{0});
  std::vector<float> bias(static_cast<std::size_t>(2 * 2 * n_kv), 0.0f);
  const std::vector<BitmapView> bitmaps{{words.data(), 2, 0}};
  std::vector<float> out(p.q.size());
  const auto message = [&](std::int32_t missing, std::int64_t ring, bool bits, bool biased) {
    std::vector<std::int32_t> pages{0, 1, 2, 3, 4, 5};
    pages[static_cast<std::size_t>(missing)] = -1;
    KvSequence kv{p.k.bytes.data(), p.v.bytes.data(), pages.data(), biased ? bias.data() : nullptr};
    MaskPlan plan;
    MaskSpec spec = MaskSpec().causal();
    if (bits) spec.bitmap(bitmaps);
    EXPECT_TRUE(plan.compile(spec, {{&sequence, 1}, 2, 1}).ok());
    AttendArgs args;
    args.q = packed_heads(p.q.data(), 2, 2, 16);
    args.out = packed_heads(out.data(), 2, 2, 16);
    args.kv = view_of(p, DType::kF32);
    args.kv.page_size = page;
    args.kv.k.page_stride = args.kv.v.page_stride = page * 16;
    args.kv.ring_keys = ring;
    args.bias = {DType::kF32, 2 * n_kv, n_kv, 1};
    args.sequences = {&kv, 1};
    const auto report = attend_exact(args, plan, pool(1), best_isa());
    return report.ok() ? std::string("ok") : report.error().message;
  };
  for (const std::int64_t ring : {0, 96, 160}) {
    EXPECT_EQ(message(2, ring, false, false), "sequence 0: page 2 holds visible keys but its number is -1");
    const std::string named = "sequence 0: page 2 holds key 32, which query 0 sees, but its number is -1";
    EXPECT_EQ(message(2, ring, true, false), named);
    EXPECT_EQ(message(2, ring, false, true), named);
  }
  // Hidden: by bits from both queries; by bias from all but the second query's second head.
  for (const std::size_t row : {0u, 2u}) words[row] &= ~(std::uint64_t{0xFFFF} << 32);
  EXPECT_EQ(message(2, 0, true, false), "ok");
  words[2] |= std::uint64_t{1} << 40;
  EXPECT_EQ(message(2, 0, true, false), "sequence 0: page 2 holds key 40, which query 1 sees, but its number is -1");
  for (std::int64_t row = 0; row < 4; ++row) {
    for (std::int64_t j = 48; j < 64; ++j) bias[static_cast<std::size_t>(row * n_kv + j)] = -INFINITY;
  }
  EXPECT_EQ(message(3, 0, false, true), "ok");
  bias[static_cast<std::size_t>(3 * n_kv + 63)] = 1;
  EXPECT_EQ(message(3, 0, false, true), "sequence 0: page 3 holds key 63, which query 1 sees, but its number is -1");
}

// A ring may be shorter than the bounds of a query where bits or bias hide the rest.
TEST(Ring, KeysThatAreGoneMayBeHiddenByBits) {
  const std::int64_t n_kv = 100, ring = 64;
  const Problem p = make_problem(DType::kF32, {2, 1, 16, 16}, 2, n_kv);
  std::vector<std::uint64_t> words{~std::uint64_t{0} << 36, ~std::uint64_t{0}, ~std::uint64_t{0} << 36,
                                   ~std::uint64_t{0}};
  const std::vector<BitmapView> bitmaps{{words.data(), 2, 0}};
  std::vector<float> k(static_cast<std::size_t>(ring * 16)), v(k.size());
  for (std::int64_t j = n_kv - ring; j < n_kv; ++j) {
    std::copy_n(&p.k.numbers[static_cast<std::size_t>(j * 16)], 16, &k[static_cast<std::size_t>(j % ring * 16)]);
    std::copy_n(&p.v.numbers[static_cast<std::size_t>(j * 16)], 16, &v[static_cast<std::size_t>(j % ring * 16)]);
  }
  const MaskSpec spec = MaskSpec().causal().bitmap(bitmaps);
  const Output expected = attend_with(p, view_of(p, DType::kF32),
                                      {p.k.bytes.data(), p.v.bytes.data(), nullptr, nullptr}, Isa::kScalar, spec);
  KvView view = view_of(p, DType::kF32);
  view.ring_keys = ring;
  for (const Isa isa : supported_isas()) {
    EXPECT_TRUE(attend_with(p, view, {k.data(), v.data(), nullptr, nullptr}, isa, spec).same_bits(expected));
  }
}

// Every code as a value of its own column: one key has weight 1, so that the result is the number.
TEST(Types, EveryFp8CodeComesThroughOnEveryIsa) {
  std::vector<std::uint8_t> codes(256), key(1);
  std::iota(codes.begin(), codes.end(), std::uint8_t{0});
  const float q = 1, scale = 0.3f;
  const Sequence sequence{0, 1, 0, 1};
  MaskPlan plan;
  ASSERT_TRUE(plan.compile(MaskSpec(), {{&sequence, 1}, 1, 1}).ok());
  const KvSequence kv{key.data(), codes.data(), nullptr, nullptr};
  for (const Isa isa : supported_isas()) {
    for (const Arithmetic arithmetic : {Arithmetic::kF32, Arithmetic::kF64}) {
      float out[256];
      AttendArgs args;
      args.arithmetic = arithmetic;
      args.q = packed_heads(&q, 1, 1, 1);
      args.kv = packed_kv(DType::kF8E4M3, 1, 1, 256);
      args.kv.v_scales = &scale;
      args.sequences = {&kv, 1};
      args.out = packed_heads(out, 1, 1, 256);
      args.check_weights = WeightCheck::kOff;
      const auto report = attend_exact(args, plan, pool(1), isa);
      ASSERT_TRUE(report.ok()) << report.error().message;
      EXPECT_EQ(report->n_non_finite, 1);
      for (unsigned code = 0; code < 256; ++code) {
        const double number = f8_by_definition(code);
        const float expected = static_cast<float>(number) * scale;
        if (std::isnan(number)) {
          EXPECT_TRUE(std::isnan(out[code])) << isa_name(isa) << " " << code;
        } else {
          EXPECT_EQ(out[code], expected) << isa_name(isa) << " " << code;
        }
      }
    }
  }
}

// Heads are counted before as many scales are read.
TEST(Types, ScalesOfHeadsThatAreNotThereAreNotRead) {
  const Problem p = make_problem(DType::kF8E4M3, {2, 1, 16, 16}, 2, 20);
  const Sequence sequence{0, 2, 18, 20};
  MaskPlan plan;
  ASSERT_TRUE(plan.compile(MaskSpec().causal(), {{&sequence, 1}, 2, 1}).ok());
  std::vector<float> out(p.q.size());
  const std::vector<float> scales{1, NAN};
  const KvSequence kv{p.k.bytes.data(), p.v.bytes.data(), nullptr, nullptr};
  AttendArgs args;
  args.q = packed_heads(p.q.data(), 2, 2, 16);
  args.out = packed_heads(out.data(), 2, 2, 16);
  args.kv = view_of(p, DType::kF8E4M3);
  args.kv.k_scales = scales.data();
  args.kv.n_kv_head = 2;
  args.sequences = {&kv, 1};
  const auto report = attend_exact(args, plan, pool(1), Isa::kScalar);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().message, "kv heads: expected 1, found 2");
}

}  // namespace
}  // namespace rowmax::attention::test::layout_checks_test

// G2a: nothing outside valid keys, pages, page tables, bitmaps and bias is read, and the caller's floating-point state
// stays as it was. G2b: a pair that is masked for a row cannot influence it, whatever lies there.
#include <cfenv>

#include "attention/guarantees/test_call.h"
#include "attention/guarantees/test_fence.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rowmax::attention::test::g02_masked_test {
namespace {

const float kSignalling = std::bit_cast<float>(0x7F800001u);

TEST(G2a, PageTablesBitmapsAndBiasAreNotReadPastTheirEnds) {
  Random random(201);
  const Shape shape{2, 1, 5, 6};
  for (std::int64_t n_kv : {1, 5, 63, 64, 65, 128, 130}) {
    for (std::int64_t n_q : {1, 9}) {
      for (std::int64_t page : {1, 5, 16, 64}) {
        for (bool at_end : {true, false}) {
          RawCall call = packed_call(shape);
          call.view.page_size = page;
          call.view.k = {5 * page, 5, 5, 1};
          call.view.v = {6 * page, 6, 6, 1};
          const std::int64_t n_pages = (n_kv + page - 1) / page, row_words = (n_kv + 63) / 64;
          // The pages themselves end with the last key.
          Fenced<float> k(random_floats(random, n_kv * 5), at_end), v(random_floats(random, n_kv * 6), at_end);
          std::vector<std::int32_t> pages(static_cast<std::size_t>(n_pages));
          std::iota(pages.begin(), pages.end(), 0);
          Fenced<std::int32_t> table(pages, at_end);
          std::vector<std::uint64_t> bits(static_cast<std::size_t>(2 * n_q * row_words));
          for (auto& word : bits) word = std::uint64_t{random.bits()} << 32 | random.bits();
          Fenced<std::uint64_t> words(bits, at_end);
          Fenced<float> bias(random_floats(random, n_q * 2 * n_kv), at_end);
          call.bias = {DType::kF32, 2 * n_kv, n_kv, 1};
          call.add(random_floats(random, n_q * 10), n_kv - n_q, n_kv, {k.data(), v.data(), table.data(), bias.data()});
          const std::vector<BitmapView> bitmaps{{words.data(), row_words, n_q * row_words}};
          const std::int64_t block_words = ((n_kv + 2) / 3 + 63) / 64, block_rows = (n_q + 1) / 2;
          bits.resize(static_cast<std::size_t>(2 * block_rows * block_words));
          Fenced<std::uint64_t> block_bits(bits, at_end);
          const std::vector<BlockMaskView> blocks{{block_bits.data(), block_words, block_rows * block_words, 2, 3}};
          const std::vector<KeySpan> odd{{n_kv / 3, n_kv}};
          for (Isa isa : supported_isas()) {
            ASSERT_EQ(run_raw(call, MaskSpec().bitmap(bitmaps), isa).report.n_non_finite, 0);
            ASSERT_EQ(run_raw(call, MaskSpec().causal().window(70, 0), isa, 3).report.n_non_finite, 0);
            // Tiles from a key that is no multiple of 64: each takes bits of two words.
            ASSERT_EQ(run_raw(call, MaskSpec().bitmap(bitmaps).valid(odd), isa).report.n_non_finite, 0);
            ASSERT_EQ(run_raw(call, MaskSpec().blocks(blocks).valid(odd), isa).report.n_non_finite, 0);
          }
        }
      }
    }
  }
}

// Bias of hidden pairs is not read either: rows of the array that no query sees lie behind the fence.
TEST(G2a, BiasOfHiddenKeysIsNotRead) {
  Random random(202);
  const Shape shape{1, 1, 3, 4};
  const std::int64_t n_kv = 100, begin = 20, end = 90;
  Fenced<float> k(random_floats(random, (end - begin) * 3), true), v(random_floats(random, (end - begin) * 4), true);
  Fenced<float> bias(random_floats(random, end - begin), true);
  RawCall call = packed_call(shape);
  call.bias = {DType::kF32, 0, 0, 1};
  call.add(random_floats(random, 2 * 3), n_kv, n_kv,
           {k.data() - begin * 3, v.data() - begin * 4, nullptr, bias.data() - begin});
  const std::vector<KeySpan> valid{{begin, end}};
  for (Isa isa : supported_isas()) {
    EXPECT_EQ(run_raw(call, MaskSpec().valid(valid).causal(), isa).report.n_non_finite, 0);
  }
}

// Masked signalling NaNs, overflow and underflow on the way: neither flags nor traps reach the caller.
TEST(G2a, FlagsAndTrapsOfTheCallerStayAsTheyWere) {
  Random random(203);
  const Shape shape{1, 1, 4, 4};
  RawCall call = packed_call(shape);
  std::vector<float> k = random_floats(random, 100 * 4), v = random_floats(random, 100 * 4);
  std::vector<std::uint64_t> words(2, ~std::uint64_t{0});
  for (std::int64_t j : {3, 70}) {
    words[static_cast<std::size_t>(j / 64)] &= ~(std::uint64_t{1} << (j % 64));
    for (std::int64_t d = 0; d < 4; ++d) {
      k[static_cast<std::size_t>(j * 4 + d)] = v[static_cast<std::size_t>(j * 4 + d)] = kSignalling;
    }
  }
  call.scale = 1e30f;
  call.add(random_floats(random, 4, 1e30f), 0, 100, {k.data(), v.data()});
  const std::vector<BitmapView> bitmaps{{words.data(), 0, 0}};
  for (Isa isa : supported_isas()) {
    std::feclearexcept(FE_ALL_EXCEPT);
    Output output = run_raw(call, MaskSpec().bitmap(bitmaps), isa);
    EXPECT_EQ(std::fetestexcept(FE_ALL_EXCEPT & ~FE_INEXACT), 0) << isa_name(isa);
    EXPECT_EQ(output.report.n_overflow, 1);
#if defined(__x86_64__)
    _mm_setcsr(0x1F80 & ~0x0E80u);  // invalid, divide by zero, overflow and underflow would trap
    output = run_raw(call, MaskSpec().bitmap(bitmaps), isa);
    EXPECT_EQ(_mm_getcsr() & ~0x20u, 0x1F80u & ~0x0E80u);
    _mm_setcsr(0x1F80);
    EXPECT_EQ(output.report.n_overflow, 1);
#endif
  }
}

// Every mask of 3 x 3 pairs, every key, every poison, in keys, values and both: one call for each poisoned copy.
TEST(G2b, EveryMaskOfThreeByThreeIgnoresEveryPoisonedKey) {
  Random random(204);
  const std::int64_t n = 3, v_dim = 17;
  const Shape shape{1, 1, 2, v_dim};
  const std::vector<float> q = random_floats(random, n * 2), k = random_floats(random, n * 2, 3),
                           v = random_floats(random, n * v_dim);
  std::vector<std::uint64_t> words;
  for (std::uint64_t mask = 0; mask < 512; ++mask) {
    for (int i = 0; i < 3; ++i) words.push_back(mask >> (3 * i) & 7);
  }
  std::vector<BitmapView> bitmaps;
  for (std::size_t mask = 0; mask < 512; ++mask) bitmaps.push_back({&words[3 * mask], 1, 0});
  const auto run_with = [&](const std::vector<float>& keys, const std::vector<float>& values, Isa isa) {
    RawCall call = packed_call(shape);
    for (int mask = 0; mask < 512; ++mask) call.add(q, 0, n, {keys.data(), values.data()});
    return run_raw(call, MaskSpec().bitmap(bitmaps), isa);
  };
  for (Isa isa : supported_isas()) {
    const Output clean = run_with(k, v, isa);
    for (float poison : {std::nanf(""), INFINITY, -INFINITY, kSignalling}) {
      for (std::int64_t j = 0; j < n; ++j) {
        for (int where = 1; where < 4; ++where) {
          std::vector<float> keys = k, values = v;
          if (where & 1) std::fill_n(keys.begin() + j * 2, 2, poison);
          if (where & 2) std::fill_n(values.begin() + j * v_dim, v_dim, poison);
          const Output poisoned = run_with(keys, values, isa);
          for (std::size_t row = 0; row < words.size(); ++row) {
            const auto r = static_cast<std::int64_t>(row);
            if ((words[row] >> j & 1) == 0) {
              ASSERT_TRUE(same_row(clean, r, poisoned, r, v_dim))
                  << isa_name(isa) << ", " << poison << " in key " << j << " reached row " << row;
            } else {
              ASSERT_NE(poisoned.status[row], RowStatus::kOk);
            }
          }
        }
      }
    }
  }
}

// Each key of three tiles in turn, rows of their own masks, few rows (tiles read where they lie) and many.
TEST(G2b, EachKeyOfSeveralTilesInTurn) {
  Random random(205);
  for (std::int64_t n_q : {2, 20}) {
    const Shape shape{2, 1, 4, 18};
    const std::int64_t n_kv = 150, row_words = 3;
    std::vector<float> k = random_floats(random, n_kv * 4), v = random_floats(random, n_kv * 18);
    std::vector<std::uint64_t> words(static_cast<std::size_t>(2 * n_q * row_words));
    for (auto& word : words) word = std::uint64_t{random.bits()} << 32 | random.bits();
    const std::vector<BitmapView> bitmaps{{words.data(), row_words, n_q * row_words}};
    RawCall call = packed_call(shape);
    call.add(random_floats(random, n_q * 8), n_kv - n_q, n_kv, {k.data(), v.data()});
    const MaskSpec spec = MaskSpec().causal().bitmap(bitmaps);
    const Result<MaskPlan> plan = compile(spec, {call.sequences, 2, 1});
    for (Isa isa : supported_isas()) {
      const Output clean = run_raw(call, spec, isa);
      for (std::int64_t j = 0; j < n_kv; ++j) {
        if (isa == Isa::kScalar && j % 7 != 0) continue;
        const std::vector<float> k_old(k.begin() + j * 4, k.begin() + j * 4 + 4),
            v_old(v.begin() + j * 18, v.begin() + j * 18 + 18);
        std::fill_n(k.begin() + j * 4, 4, NAN);
        std::fill_n(v.begin() + j * 18, 18, j % 2 == 0 ? NAN : INFINITY);
        const Output poisoned = run_raw(call, spec, isa);
        std::copy(k_old.begin(), k_old.end(), k.begin() + j * 4);
        std::copy(v_old.begin(), v_old.end(), v.begin() + j * 18);
        for (std::int64_t row = 0; row < 2 * n_q; ++row) {
          if (plan->visible(0, row % 2, row / 2, j)) continue;
          ASSERT_TRUE(same_row(clean, row, poisoned, row, 18))
              << isa_name(isa) << ": key " << j << " reached row " << row;
        }
      }
    }
  }
}

// What hides a key does not matter: bounds, spans, bias.
TEST(G2b, KeysHiddenByBoundsSpansAndBias) {
  Random random(206);
  const std::int64_t n_kv = 90, n_q = 3;
  const Shape shape{1, 1, 4, 8};
  const std::vector<KeySpan> valid{{10, 80}};
  std::vector<float> bias(static_cast<std::size_t>(n_q * n_kv), 0.5f);
  for (std::size_t i = 0; i < bias.size(); i += 3) bias[i] = -INFINITY;
  std::vector<float> k = random_floats(random, n_kv * 4), v = random_floats(random, n_kv * 8);
  RawCall call = packed_call(shape);
  call.bias = {DType::kF32, n_kv, 0, 1};
  call.add(random_floats(random, n_q * 4), 60, n_kv, {k.data(), v.data(), nullptr, bias.data()});
  const MaskSpec spec = MaskSpec().causal().window(30, 0).valid(valid);
  for (Isa isa : supported_isas()) {
    const Output clean = run_raw(call, spec, isa);
    for (std::int64_t j = 0; j < n_kv; ++j) {
      std::vector<float> keys = k, values = v;
      std::fill_n(keys.begin() + j * 4, 4, NAN);
      std::fill_n(values.begin() + j * 8, 8, NAN);
      call.kv[0].k = keys.data();
      call.kv[0].v = values.data();
      const Output poisoned = run_raw(call, spec, isa);
      for (std::int64_t i = 0; i < n_q; ++i) {
        const bool sees = j >= 10 && j < 80 && j <= 60 + i && j >= 30 + i &&
                          std::isfinite(bias[static_cast<std::size_t>(i * n_kv + j)]);
        ASSERT_EQ(same_row(clean, i, poisoned, i, 8), !sees) << isa_name(isa) << " key " << j << " query " << i;
      }
    }
    call.kv[0].k = k.data();
    call.kv[0].v = v.data();
  }
}

}  // namespace
}  // namespace rowmax::attention::test::g02_masked_test

// G3: a row without visible keys gives exactly +0 and lse -inf (with a sink: the sink's logit), and counts as empty;
// a masked key has a weight of exactly 0. G13: one NaN anywhere visible makes exactly the rows that see it NaN.
#include "attention/guarantees/test_call.h"

namespace rowmax::attention::test::g03_empty_test {
namespace {

// Every mask of 3 x 3 pairs; NaN in all keys and values that no row of the mask sees.
TEST(G3, EmptyRowsOfEveryMaskOfThreeByThree) {
  Random random(301);
  const Shape shape{2, 1, 2, 19};
  const float sinks[] = {1.25f, -3.5f};
  const std::vector<float> q = random_floats(random, 3 * 4), k = random_floats(random, 3 * 2),
                           v = random_floats(random, 3 * 19);
  std::vector<std::uint64_t> words;
  std::vector<BitmapView> bitmaps(512);
  for (std::uint64_t mask = 0; mask < 512; ++mask) {
    for (int i = 0; i < 3; ++i) words.push_back(mask >> (3 * i) & 7);
  }
  std::vector<std::vector<float>> keys(512, k), values(512, v);
  RawCall call = packed_call(shape);
  for (std::size_t mask = 0; mask < 512; ++mask) {
    bitmaps[mask] = {&words[3 * mask], 1, 0};
    const std::uint64_t seen = words[3 * mask] | words[3 * mask + 1] | words[3 * mask + 2];
    for (std::int64_t j = 0; j < 3; ++j) {
      if ((seen >> j & 1) != 0) continue;
      std::fill_n(keys[mask].begin() + j * 2, 2, NAN);
      std::fill_n(values[mask].begin() + j * 19, 19, NAN);
    }
    call.add(q, 0, 3, {keys[mask].data(), values[mask].data()});
  }
  for (const float* sink : {static_cast<const float*>(nullptr), &sinks[0]}) {
    call.sinks = sink;
    for (Isa isa : supported_isas()) {
      const Output output = run_raw(call, MaskSpec().bitmap(bitmaps), isa);
      std::int64_t n_empty = 0;
      for (std::size_t row = 0; row < words.size(); ++row) {
        for (std::size_t h = 0; h < 2; ++h) {
          const std::size_t at = row * 2 + h;
          ASSERT_EQ(output.status[at], words[row] == 0 ? RowStatus::kEmpty : RowStatus::kOk) << "row " << row;
          if (words[row] != 0) {
            ASSERT_TRUE(std::isfinite(output.lse[at]) && std::isfinite(output.out[at * 19]));
            continue;
          }
          ++n_empty;
          ASSERT_TRUE(exactly_plus_zero(&output.out[at * 19], 19)) << isa_name(isa) << " row " << row;
          ASSERT_EQ(output.lse[at], sink == nullptr ? -INFINITY : sink[h]);
        }
      }
      EXPECT_EQ(output.report.n_empty, n_empty);
      EXPECT_EQ(n_empty, 2 * 3 * 64);
    }
  }
}

// The weights themselves, of every mask of 3 x 3 pairs: +0 to the bit where hidden, positive where visible.
TEST(G3, WeightsAreExactlyZeroWhereHidden) {
  Random random(304);
  const Shape shape{1, 1, 2, 3};
  const std::vector<float> q = random_floats(random, 3 * 2), k = random_floats(random, 3 * 2),
                           v = random_floats(random, 3 * 3);
  std::vector<std::uint64_t> words;
  std::vector<BitmapView> bitmaps(512);
  RawCall call = packed_call(shape);
  for (std::uint64_t mask = 0; mask < 512; ++mask) {
    for (int i = 0; i < 3; ++i) words.push_back(mask >> (3 * i) & 7);
    call.add(q, 0, 3, {k.data(), v.data()});
  }
  for (std::size_t mask = 0; mask < 512; ++mask) bitmaps[mask] = {&words[3 * mask], 1, 0};
  for (Isa isa : supported_isas()) {
    std::vector<float> weights(words.size() * 4, -77.0f);
    call.weights = {weights.data(), 4, 4};
    run_raw(call, MaskSpec().bitmap(bitmaps), isa);
    for (std::size_t row = 0; row < words.size(); ++row) {
      double sum = 0;
      for (std::size_t j = 0; j < 3; ++j) {
        const float weight = weights[row * 4 + j];
        if ((words[row] >> j & 1) == 0) {
          ASSERT_EQ(std::bit_cast<std::uint32_t>(weight), 0u) << isa_name(isa) << " row " << row << " key " << j;
        } else {
          ASSERT_GT(weight, 0.0f);
          ASSERT_LE(weight, 1.0f);
        }
        sum += static_cast<double>(weight);
      }
      ASSERT_NEAR(sum, words[row] == 0 ? 0.0 : 1.0, 0x1p-20);
      ASSERT_EQ(weights[row * 4 + 3], -77.0f);  // past the last key
    }
  }
}

// Rows that are empty for every reason there is, in one call with rows that are not.
TEST(G3, EmptyForEveryReason) {
  Random random(302);
  const Shape shape{1, 1, 4, 4};
  const std::int64_t n_kv = 70;
  const std::vector<float> k = random_floats(random, n_kv * 4), v = random_floats(random, n_kv * 4);
  const std::vector<float> q = random_floats(random, 4), masked(static_cast<std::size_t>(n_kv), -INFINITY);
  RawCall call = packed_call(shape);
  call.bias = {DType::kF32, 0, 0, 1};
  call.add(q, -1, n_kv, {k.data(), v.data()});                          // before all keys
  call.add(q, 500, n_kv, {k.data(), v.data()});                         // the window has passed
  call.add(q, 20, 0, {nullptr, nullptr});                               // no keys at all
  call.add(q, 20, n_kv, {k.data(), v.data(), nullptr, masked.data()});  // bias
  call.add(q, 20, n_kv, {k.data(), v.data()});                          // no valid key
  call.add(q, 20, n_kv, {k.data(), v.data()});                          // not empty
  const std::vector<KeySpan> valid{{0, n_kv}, {0, n_kv}, {0, 0}, {0, n_kv}, {33, 33}, {0, n_kv}};
  for (Isa isa : supported_isas()) {
    for (int threads : {1, 3}) {
      const Output output = run_raw(call, MaskSpec().causal().window(30, 0).valid(valid), isa, threads);
      for (std::size_t row = 0; row < 5; ++row) {
        EXPECT_TRUE(exactly_plus_zero(&output.out[row * 4], 4)) << row;
        EXPECT_EQ(output.lse[row], -INFINITY);
        EXPECT_EQ(output.status[row], RowStatus::kEmpty) << row;
      }
      EXPECT_EQ(output.status[5], RowStatus::kOk);
      EXPECT_EQ(output.report.n_empty, 5);
    }
  }
}

// A masked key next to visible ones: as if it were not there, to the last bit, even where it would win by far.
TEST(G3, AMaskedKeyWeighsExactlyNothing) {
  Random random(303);
  const Shape shape{1, 1, 1, 3};
  for (std::int64_t n_kv : {2, 64, 65, 130}) {
    for (std::int64_t hidden : {std::int64_t{0}, n_kv / 2, n_kv - 1}) {
      std::vector<float> k = random_floats(random, n_kv), v = random_floats(random, n_kv * 3);
      std::vector<std::uint64_t> words(3, ~std::uint64_t{0});
      words[static_cast<std::size_t>(hidden / 64)] &= ~(std::uint64_t{1} << (hidden % 64));
      const std::vector<BitmapView> bitmaps{{words.data(), 0, 0}};
      for (Isa isa : supported_isas()) {
        Output first;
        for (float size : {0.0f, 1.0f, 1e30f}) {
          k[static_cast<std::size_t>(hidden)] = size;
          std::fill_n(v.begin() + hidden * 3, 3, size * 1e8f);
          RawCall call = packed_call(shape);
          call.add({2.0f}, 0, n_kv, {k.data(), v.data()});
          const Output output = run_raw(call, MaskSpec().bitmap(bitmaps), isa);
          if (size == 0.0f) first = output;
          ASSERT_TRUE(same_row(first, 0, output, 0, 3)) << isa_name(isa) << ", " << n_kv << " keys";
        }
      }
    }
  }
}

constexpr std::uint32_t kCanonicalNaN = 0x7FC00000u;

// A NaN with sign and payload in each query, key, value and bias of a small problem in turn: exactly the rows that see
// it are NaN (one bit pattern) and say so.
TEST(G13, OneNaNAnywhereReachesExactlyTheRowsThatSeeIt) {
  Random random(1301);
  const Shape shape{2, 1, 3, 2};
  const std::int64_t n_q = 4, n_kv = 70;
  std::vector<float> numbers[4] = {random_floats(random, n_q * 6), random_floats(random, n_kv * 3),
                                   random_floats(random, n_kv * 2), random_floats(random, n_q * 2 * n_kv)};
  const auto sees = [&](std::int64_t i, std::int64_t j) { return j <= 62 + i && j >= 57 + i; };
  for (Isa isa : supported_isas()) {
    for (int where = 0; where < 4; ++where) {
      for (std::size_t at = 0; at < numbers[where].size(); at += where == 3 ? 1 + at / 37 % 2 : 1) {
        const float old = numbers[where][at];
        numbers[where][at] = std::bit_cast<float>(0xFFC12345u);
        RawCall call = packed_call(shape);
        call.bias = {DType::kF32, 2 * n_kv, n_kv, 1};
        call.add(numbers[0], 62, n_kv, {numbers[1].data(), numbers[2].data(), nullptr, numbers[3].data()});
        const Output output = run_raw(call, MaskSpec().causal().window(5, 0), isa, where == 1 ? 2 : 1);
        numbers[where][at] = old;
        const auto n = static_cast<std::int64_t>(at);
        std::int64_t n_hit = 0;
        for (std::int64_t row = 0; row < n_q * 2; ++row) {
          const std::int64_t i = row / 2, h = row % 2;
          const bool hit = where == 0   ? n / 6 == i && n / 3 % 2 == h
                           : where == 1 ? sees(i, n / 3)
                           : where == 2 ? sees(i, n / 2)
                                        : n / (2 * n_kv) == i && n / n_kv % 2 == h && sees(i, n % n_kv);
          n_hit += hit;
          const auto r = static_cast<std::size_t>(row);
          ASSERT_EQ(output.status[r], hit ? RowStatus::kNonFinite : RowStatus::kOk)
              << isa_name(isa) << ", number " << at << " of array " << where << ", row " << row;
          for (std::int64_t d = 0; d < 2; ++d) {
            const float x = output.out[r * 2 + static_cast<std::size_t>(d)];
            const bool nan = hit && (where != 2 || n % 2 == d);
            ASSERT_EQ(std::isnan(x), nan);
            if (nan) {
              ASSERT_EQ(std::bit_cast<std::uint32_t>(x), kCanonicalNaN);
            }
          }
          ASSERT_EQ(std::isnan(output.lse[r]), hit && where != 2);
        }
        ASSERT_EQ(output.report.n_non_finite, n_hit);
      }
    }
  }
}

// In every key of a long row, so also where a whole split, or a tile before and after, is clean.
TEST(G13, InAnyTileAndSplitOfALongRow) {
  Random random(1302);
  const std::int64_t n_kv = 1300;
  std::vector<float> k = random_floats(random, n_kv), v = random_floats(random, n_kv);
  for (int threads : {1, 4}) {
    for (std::int64_t j = 0; j < n_kv; j += 61) {
      for (bool in_key : {true, false}) {
        std::vector<float>& numbers = in_key ? k : v;
        const float old = numbers[static_cast<std::size_t>(j)];
        numbers[static_cast<std::size_t>(j)] = NAN;
        RawCall call = packed_call({1, 1, 1, 1});
        call.add({1.0f}, n_kv - 1, n_kv, {k.data(), v.data()});
        const Output output = run_raw(call, MaskSpec().causal(), best_isa(), threads);
        numbers[static_cast<std::size_t>(j)] = old;
        ASSERT_EQ(std::bit_cast<std::uint32_t>(output.out[0]), kCanonicalNaN) << j;
        ASSERT_EQ(output.status[0], RowStatus::kNonFinite) << j;
      }
    }
  }
}

}  // namespace
}  // namespace rowmax::attention::test::g03_empty_test

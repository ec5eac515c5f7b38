// G4: specs whose masks are equal pair by pair give equal bits, given the same anchor. (Random compositions of all
// rules against their bitmap: MaskRules.CompositionsGiveTheBitsOfTheirBitmap.)
#include "attention/guarantees/test_call.h"
#include "attention/plan/plan.h"

namespace rowmax::attention::test::g04_composition_test {
namespace {

constexpr std::int64_t kMostKeys = 16;
const Shape kThreeWide{1, 1, 3, 3};

struct Data {
  std::vector<float> q, k, v;
  std::vector<float> query(std::int64_t i) const { return {q.begin() + i * 3, q.begin() + (i + 1) * 3}; }
};
Data data_of(std::uint64_t seed) {
  Random random(seed);
  return {random_floats(random, kMostKeys * 3, 2), random_floats(random, kMostKeys * 3, 2),
          random_floats(random, kMostKeys * 3)};
}
// Row of (query, lo, hi) in the table: keys [lo, hi) visible.
std::int64_t row_of_range(std::int64_t i, std::int64_t lo, std::int64_t hi) {
  if (lo >= hi) lo = hi = 0;
  return (i * kMostKeys + lo) * (kMostKeys + 1) + hi;
}

// Every query with every interval of sixteen keys, by bitmaps.
Output interval_table(const Data& data, Isa isa) {
  RawCall call = packed_call(kThreeWide);
  std::vector<std::uint64_t> words;
  for (std::int64_t lo = 0; lo < kMostKeys; ++lo) {
    for (std::int64_t hi = 0; hi <= kMostKeys; ++hi) words.push_back(bit_range(lo, hi));
  }
  std::vector<BitmapView> bitmaps;
  for (std::int64_t i = 0; i < kMostKeys; ++i) {
    for (const std::uint64_t& word : words) {
      bitmaps.push_back({&word, 1, 0});
      call.add(data.query(i), 0, kMostKeys, {data.k.data(), data.v.data()}, 0);
    }
  }
  return run_raw(call, MaskSpec().bitmap(bitmaps), isa);
}

// Bands of all (left, right) over sequences of all (n_q, n_kv) and positions, each row against the table.
void every_band(const std::vector<std::int64_t>& lengths, Isa isa) {
  const Data data = data_of(401);
  const Output table = interval_table(data, isa);
  for (std::int64_t left = -2; left <= kMostKeys; ++left) {
    for (std::int64_t right = -2; right <= kMostKeys; ++right) {
      RawCall call = packed_call(kThreeWide);
      for (std::int64_t n_q : lengths) {
        for (std::int64_t n_kv : lengths) {
          const std::vector<float> q(data.q.begin(), data.q.begin() + n_q * 3);
          call.add(q, n_kv - n_q, n_kv, {data.k.data(), data.v.data()});
        }
      }
      const std::int64_t l = left == kMostKeys ? kUnbounded : left, r = right == kMostKeys ? kUnbounded : right;
      const Output output = run_raw(call, MaskSpec().window(l, r), isa);
      for (const Sequence& s : call.sequences) {
        for (std::int64_t i = 0; i < s.n_q; ++i) {
          const std::int64_t p = s.q_pos + i;
          const std::int64_t lo = left == kMostKeys ? 0 : std::max<std::int64_t>(0, p - left);
          const std::int64_t hi =
              right == kMostKeys ? s.n_kv : std::max<std::int64_t>(0, std::min(s.n_kv, p + right + 1));
          ASSERT_TRUE(same_row(output, s.q_begin + i, table, row_of_range(i, lo, hi), 3))
              << isa_name(isa) << ": left " << left << " right " << right << ", query " << i << " of " << s.n_q << ", "
              << s.n_kv << " keys";
        }
      }
    }
  }
}
TEST(G4, EveryBandOfUpToSixteenKeysIsItsBitmap) {
  every_band({1, 2, 3, 5, 8, 11, 15, 16}, best_isa());
  every_band({3, 8}, Isa::kScalar);
}
TEST(Full_G4, EveryBandOfUpToSixteenQueriesAndKeysIsItsBitmap) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t n = 1; n <= kMostKeys; ++n) lengths.push_back(n);
  for (Isa isa : supported_isas()) every_band(lengths, isa);
}

// Every interval [lo, hi) of up to sixteen keys said in every way there is, all with anchor 0.
TEST(G4, EveryIntervalInEveryWordingGivesTheSameBits) {
  const Data data = data_of(402);
  struct Interval {
    std::int64_t lo, hi;
  };
  std::vector<Interval> all;
  for (std::int64_t lo = 0; lo < kMostKeys; ++lo) {
    for (std::int64_t hi = lo; hi <= kMostKeys; ++hi) all.push_back({lo, hi});
  }
  const std::size_t n = all.size();
  std::vector<KeySpan> spans, from, until;
  std::vector<std::int64_t> prefix;
  std::vector<std::uint64_t> words(n, 0), left_words(n, 0), right_words(n, 0);
  std::vector<std::vector<std::int32_t>> ids(n, std::vector<std::int32_t>(kMostKeys, 7));
  const std::int32_t q_id = 1;
  std::vector<SegmentIds> segments;
  std::vector<BitmapView> bitmaps, lefts, rights;
  std::vector<BlockMaskView> blocks;
  std::vector<std::vector<float>> bias(n, std::vector<float>(kMostKeys, -INFINITY));
  for (std::size_t x = 0; x < n; ++x) {
    const auto [lo, hi] = all[x];
    spans.push_back({lo, hi});
    from.push_back({lo, kMostKeys});
    until.push_back({0, hi});
    words[x] = bit_range(lo, hi);
    left_words[x] = bit_range(lo, kMostKeys);
    right_words[x] = bit_range(0, hi) | bit_range(20, 64);  // bits past the last key mean nothing
    std::fill(ids[x].begin() + lo, ids[x].begin() + hi, 1);
    if (lo > 0) std::fill(ids[x].begin(), ids[x].begin() + lo, 0);
    segments.push_back({&q_id, ids[x].data()});
    bitmaps.push_back({&words[x], 1, 0});
    lefts.push_back({&left_words[x], 0, 0});
    rights.push_back({&right_words[x], 0, 0});
    blocks.push_back({&words[x], 0, 0, 3, 1});
    std::fill(bias[x].begin() + lo, bias[x].begin() + hi, 0.0f);
  }
  const MaskSpec specs[] = {
      MaskSpec().bitmap(bitmaps),
      MaskSpec().valid(spans),
      MaskSpec().valid(from).valid(until),
      MaskSpec().bitmap(lefts).bitmap(rights),
      MaskSpec().valid(until).bitmap(lefts),
      MaskSpec().blocks(blocks),
      MaskSpec().segments(segments),
      MaskSpec().causal().valid(from),                // position hi - 1
      MaskSpec().causal().bitmap(lefts),              // position hi - 1
      MaskSpec().window(kUnbounded, -1).valid(from),  // position hi
      MaskSpec().window(0, kUnbounded).valid(until),  // position lo
      MaskSpec(),                                     // bias
      MaskSpec().bitmap(rights),                      // bias
  };
  for (Isa isa : supported_isas()) {
    Output first;
    for (std::size_t which = 0; which < std::size(specs); ++which) {
      RawCall call = packed_call(kThreeWide);
      call.bias = {DType::kF32, 0, 0, 1};
      for (std::size_t x = 0; x < n; ++x) {
        const auto [lo, hi] = all[x];
        const std::int64_t p = which == 7 || which == 8 ? hi - 1 : which == 9 ? hi : which == 10 ? lo : 5;
        // A zero is added to the visible scores of all wordings, so that -0 and +0 are alike.
        std::vector<float>& b = bias[x];
        static const std::vector<float> zeros(kMostKeys, 0.0f);
        call.add(data.query(static_cast<std::int64_t>(x) % kMostKeys), p, kMostKeys,
                 {data.k.data(), data.v.data(), nullptr, which >= 11 ? b.data() : zeros.data()}, 0);
      }
      const Output output = run_raw(call, specs[which], isa);
      if (which == 0) first = output;
      for (std::size_t x = 0; x < n; ++x) {
        const auto row = static_cast<std::int64_t>(x);
        ASSERT_TRUE(same_row(first, row, output, row, 3))
            << isa_name(isa) << ", wording " << which << ", keys [" << all[x].lo << ", " << all[x].hi << ")";
      }
    }
  }
}

// The same over several tiles and splits: intervals around their edges, as span, bitmap, bias and window.
TEST(G4, IntervalsAroundTileAndSplitEdges) {
  Random random(403);
  const std::int64_t n_kv = 1100, row_words = (n_kv + 63) / 64;
  const std::vector<float> k = random_floats(random, n_kv * 3, 2), v = random_floats(random, n_kv * 3);
  const std::vector<float> q = random_floats(random, 3, 2);
  const std::int64_t edges[] = {0, 1, 63, 64, 65, 127, 128, 200, 511, 512, 513, 576, 1023, 1024, 1025, 1100};
  std::vector<KeySpan> spans;
  for (std::int64_t lo : edges) {
    for (std::int64_t hi : edges) {
      if (lo < hi) spans.push_back({lo, hi});
    }
  }
  std::vector<std::uint64_t> words(spans.size() * static_cast<std::size_t>(row_words), 0);
  std::vector<BitmapView> bitmaps;
  std::vector<float> bias(spans.size() * static_cast<std::size_t>(n_kv), -INFINITY);
  const std::vector<float> zeros(static_cast<std::size_t>(n_kv), 0.0f);
  for (std::size_t x = 0; x < spans.size(); ++x) {
    for (std::int64_t j = spans[x].begin; j < spans[x].end; ++j) {
      set_bit(words, row_words, static_cast<std::int64_t>(x), j);
      bias[x * static_cast<std::size_t>(n_kv) + static_cast<std::size_t>(j)] = 0.0f;
    }
    bitmaps.push_back({&words[x * static_cast<std::size_t>(row_words)], 0, 0});
  }
  const MaskSpec specs[] = {MaskSpec().bitmap(bitmaps), MaskSpec().valid(spans), MaskSpec()};
  for (Isa isa : supported_isas()) {
    Output first;
    for (int which = 0; which < 3; ++which) {
      RawCall call = packed_call(kThreeWide);
      call.bias = {DType::kF32, 0, 0, 1};
      for (std::size_t x = 0; x < spans.size(); ++x) {
        call.add(q, 0, n_kv,
                 {k.data(), v.data(), nullptr, which == 2 ? &bias[x * static_cast<std::size_t>(n_kv)] : zeros.data()},
                 0);
      }
      const Output output = run_raw(call, specs[which], isa, which + 1);
      if (which == 0) first = output;
      ASSERT_TRUE(output.same_bits(first)) << isa_name(isa) << ", wording " << which;
    }
    // Each interval as the window of one query, a call each.
    for (std::size_t x = 0; x < spans.size(); x += isa == best_isa() ? 1 : 5) {
      RawCall call = packed_call(kThreeWide);
      call.bias = {DType::kF32, 0, 0, 1};
      call.add(q, spans[x].end - 1, n_kv, {k.data(), v.data(), nullptr, zeros.data()}, 0);
      const Output output = run_raw(call, MaskSpec().window(spans[x].end - 1 - spans[x].begin, 0), isa);
      ASSERT_TRUE(same_row(output, 0, first, static_cast<std::int64_t>(x), 3)) << spans[x].begin << " " << spans[x].end;
    }
  }
}

}  // namespace
}  // namespace rowmax::attention::test::g04_composition_test

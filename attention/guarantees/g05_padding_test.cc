// G5: a sequence padded on the left or right, packed with others, in pages of any size, or alone: the same bits.
#include "attention/guarantees/test_call.h"

namespace rowmax::attention::test::g05_padding_test {
namespace {

constexpr std::int64_t kTile = kKeyTile;
const Shape kShape{2, 1, 5, 6};

// A sequence of n keys with NaN before and behind, and its last queries.
struct Fixture {
  explicit Fixture(std::int64_t n_keys, std::uint64_t seed) : n(n_keys), n_q(std::min<std::int64_t>(n_keys, 3)) {
    Random random(seed);
    q = random_floats(random, n_q * 10, 2);
    for (auto [numbers, width] : {std::pair{&k, 5}, std::pair{&v, 6}}) {
      numbers->assign(static_cast<std::size_t>((n + 2 * kMargin) * width), NAN);
      for (std::int64_t x = 0; x < n * width; ++x) {
        (*numbers)[static_cast<std::size_t>(kMargin * width + x)] = random.uniform() * 2;
      }
    }
  }
  // As if `pad` keys of NaN came first.
  KvSequence padded(std::int64_t pad) const { return {k.data() + (kMargin - pad) * 5, v.data() + (kMargin - pad) * 6}; }
  Output alone(const MaskSpec& spec, Isa isa) const {
    RawCall call = packed_call(kShape);
    call.add(q, n - n_q, n, padded(0));
    return run_raw(call, spec, isa);
  }
  static constexpr std::int64_t kMargin = 2 * kTile + 2;
  std::int64_t n, n_q;
  std::vector<float> q, k, v;
};

const std::int64_t kLengths[] = {1, 2, 63, 64, 65, 127, 128, 129, 193};

MaskSpec spec_of(int which) {
  return which == 0 ? MaskSpec().causal() : which == 1 ? MaskSpec().window(66, 0) : MaskSpec().causal().chunk(50);
}

// Pads 0 to 2 tiles + 1 on the left and on the right, all in one call.
TEST(G5, LeftAndRightPaddingOfEveryAmountGivesTheBitsOfNone) {
  for (std::int64_t n : kLengths) {
    const Fixture x(n, 501);
    for (int which = 0; which < 3; ++which) {
      for (Isa isa : supported_isas()) {
        const Output want = x.alone(spec_of(which), isa);
        RawCall call = packed_call(kShape);
        std::vector<KeySpan> valid;
        const std::int64_t step = isa == best_isa() ? 1 : 13;
        for (std::int64_t pad = 0; pad <= 2 * kTile + 1; pad += step) {
          call.add(x.q, pad + n - x.n_q, pad + n, x.padded(pad));
          valid.push_back({pad, pad + n});
          call.add(x.q, n - x.n_q, n + pad, x.padded(0));
          valid.push_back({0, n});
          call.add(x.q, pad + n - x.n_q, pad + n + pad / 2, x.padded(pad));  // both sides
          valid.push_back({pad, pad + n});
        }
        const Output output = run_raw(call, spec_of(which).valid(valid), isa);
        for (const Sequence& s : call.sequences) {
          ASSERT_TRUE(same_row(output, s.q_begin * 2, want, 0, 6, x.n_q * 2))
              << isa_name(isa) << ", " << n << " keys, row " << s.q_begin;
        }
      }
    }
  }
}

// Keys in shuffled pages, padded or not, against contiguous memory.
TEST(G5, PagesOfEverySizeGiveTheBitsOfContiguousKeys) {
  Random random(502);
  for (std::int64_t n : kLengths) {
    const Fixture x(n, 503);
    const MaskSpec spec = MaskSpec().causal();
    for (std::int64_t page : {1, 5, 8, 16, 64, 128}) {
      RawCall call = packed_call(kShape);
      call.view.page_size = page;
      const bool by_dim = page >= 8 && n % 2 == 0;  // keys [dim][key] inside a page
      call.view.k = by_dim ? KvStrides{5 * page, 1, 5 * page, page} : KvStrides{5 * page, 5, 5, 1};
      call.view.v = {6 * page, 6, 6, 1};
      const std::int64_t pads[] = {0, 1, page - 1, page, page + 1, kTile - 1, kTile, kTile + 1, 2 * kTile + 1};
      std::int64_t n_pages = 0;
      for (std::int64_t pad : pads) n_pages += (pad + n + page - 1) / page;
      std::vector<std::int32_t> order(static_cast<std::size_t>(n_pages));
      std::iota(order.begin(), order.end(), 0);
      for (std::size_t i = order.size(); i > 1; --i) {
        std::swap(order[i - 1], order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
      }
      std::vector<float> k(static_cast<std::size_t>(n_pages * page * 5), NAN),
          v(static_cast<std::size_t>(n_pages * page * 6), NAN);
      std::vector<KeySpan> valid;
      const std::int32_t* table = order.data();
      for (std::int64_t pad : pads) {
        for (std::int64_t j = 0; j < n; ++j) {
          const std::int64_t at = table[(pad + j) / page], slot = (pad + j) % page;
          for (std::int64_t d = 0; d < 5; ++d) {
            k[static_cast<std::size_t>(at * 5 * page + slot * call.view.k.key_stride + d * call.view.k.dim_stride)] =
                x.k[static_cast<std::size_t>((x.kMargin + j) * 5 + d)];
          }
          for (std::int64_t d = 0; d < 6; ++d) {
            v[static_cast<std::size_t>((at * page + slot) * 6 + d)] =
                x.v[static_cast<std::size_t>((x.kMargin + j) * 6 + d)];
          }
        }
        call.add(x.q, pad + n - x.n_q, pad + n, {k.data(), v.data(), table});
        valid.push_back({pad, pad + n});
        table += (pad + n + page - 1) / page;
      }
      for (Isa isa : supported_isas()) {
        const Output want = x.alone(spec, isa);
        const Output output = run_raw(call, MaskSpec().causal().valid(valid), isa, page == 8 ? 3 : 1);
        for (const Sequence& s : call.sequences) {
          ASSERT_TRUE(same_row(output, s.q_begin * 2, want, 0, 6, x.n_q * 2))
              << isa_name(isa) << ", " << n << " keys, pages of " << page << ", row " << s.q_begin;
        }
      }
    }
  }
}

// Documents packed into one sequence (ordered segments), in every order of a few, against each alone.
TEST(G5, PackedDocumentsInEveryOrderGiveTheBitsOfEachAlone) {
  const std::int64_t lengths[] = {1, 64, 65, 130};
  std::vector<Fixture> documents;
  for (std::int64_t n : lengths) documents.emplace_back(n, static_cast<std::uint64_t>(510 + n));
  std::vector<std::size_t> order{0, 1, 2, 3};
  do {
    std::vector<float> q, k, v;
    std::vector<std::int32_t> q_ids, k_ids;
    std::vector<std::int64_t> positions;
    for (std::size_t d : order) {
      const Fixture& x = documents[d];
      for (std::int64_t i = 0; i < x.n_q; ++i) {
        positions.push_back(static_cast<std::int64_t>(k_ids.size()) + x.n - x.n_q + i);
        q_ids.push_back(static_cast<std::int32_t>(k_ids.size()));
      }
      q.insert(q.end(), x.q.begin(), x.q.end());
      k.insert(k.end(), x.k.begin() + x.kMargin * 5, x.k.end() - x.kMargin * 5);
      v.insert(v.end(), x.v.begin() + x.kMargin * 6, x.v.end() - x.kMargin * 6);
      k_ids.insert(k_ids.end(), static_cast<std::size_t>(x.n), static_cast<std::int32_t>(k_ids.size()));
    }
    RawCall call = packed_call(kShape);
    call.add(q, 0, static_cast<std::int64_t>(k_ids.size()), {k.data(), v.data()});
    call.sequences[0].positions = positions.data();
    const std::vector<SegmentIds> segments{{q_ids.data(), k_ids.data()}};
    const Output output = run_raw(call, MaskSpec().causal().segments(segments), best_isa(), 2);
    std::int64_t row = 0;
    for (std::size_t d : order) {
      const Fixture& x = documents[d];
      ASSERT_TRUE(same_row(output, row * 2, x.alone(MaskSpec().causal(), best_isa()), 0, 6, x.n_q * 2))
          << "document of " << x.n << " keys, row " << row;
      row += x.n_q;
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace
}  // namespace rowmax::attention::test::g05_padding_test

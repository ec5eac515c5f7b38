// G6: a query's bits do not depend on threads, on how a prompt is cut into calls, nor on the rest of the batch.
// G7: grouped and multi-query heads give the bits of repeated K/V heads.
#include "attention/guarantees/test_call.h"

namespace rowmax::attention::test::g06_chunks_test {
namespace {

// A causal sequence and its one-shot result, to be compared with calls for parts of it.
struct Prompt {
  Prompt(std::int64_t n_past, std::int64_t n_new, const Shape& s, std::uint64_t seed)
      : shape(s), past(n_past), n(n_new) {
    Random random(seed);
    q = random_floats(random, n * shape.n_head * shape.k_dim, 2);
    k = random_floats(random, (past + n) * shape.n_kv_head * shape.k_dim, 2);
    v = random_floats(random, (past + n) * shape.n_kv_head * shape.v_dim);
  }
  // Queries [begin, end) with the keys there are at that time.
  Output chunk(std::int64_t begin, std::int64_t end, const MaskSpec& spec, Isa isa, int threads = 1) const {
    const std::int64_t width = shape.n_head * shape.k_dim;
    RawCall call = packed_call(shape);
    call.add({q.begin() + begin * width, q.begin() + end * width}, past + begin, past + end, {k.data(), v.data()});
    return run_raw(call, spec, isa, threads);
  }
  bool chunk_is(const Output& whole, std::int64_t begin, std::int64_t end, const MaskSpec& spec, Isa isa,
                int threads = 1) const {
    const Output part = chunk(begin, end, spec, isa, threads);
    return same_row(part, 0, whole, begin * shape.n_head, shape.v_dim, (end - begin) * shape.n_head);
  }
  Shape shape;
  std::int64_t past, n;
  std::vector<float> q, k, v;
};

// A partition of a prompt is a set of chunks, and calls know nothing of each other: all 55 chunks of ten tokens are all
// 512 partitions. Behind 0 to 511 tokens that were there before, so that tile and split edges fall into the chunks.
TEST(G6, EveryPartitionOfTenTokensGivesTheBitsOfOneCall) {
  const MaskSpec specs[] = {MaskSpec().causal(), MaskSpec().window(60, 0), MaskSpec().causal().chunk(7)};
  for (std::int64_t past : {0, 60, 507}) {
    const Prompt prompt(past, 10, {2, 1, 4, 5}, 601);
    for (const MaskSpec& spec : specs) {
      for (Isa isa : supported_isas()) {
        const Output whole = prompt.chunk(0, 10, spec, isa);
        for (std::int64_t begin = 0; begin < 10; ++begin) {
          for (std::int64_t end = begin + 1; end <= 10; ++end) {
            ASSERT_TRUE(prompt.chunk_is(whole, begin, end, spec, isa, 1 + static_cast<int>(end % 3)))
                << isa_name(isa) << ", " << past << " tokens before, chunk [" << begin << ", " << end << ")";
          }
        }
      }
    }
  }
}

// Prefill in chunks of every size. every_chunk: any begin, which covers every partition there is.
void chunks(std::int64_t n, std::int64_t past, bool every_chunk, Isa isa) {
  const Prompt prompt(past, n, {1, 1, 4, 4}, 602);
  const MaskSpec causal = MaskSpec().causal();
  const Output whole = prompt.chunk(0, n, causal, isa);
  for (std::int64_t size = 1; size <= n; size += every_chunk || size < 16 ? 1 : 1 + size / 10) {
    for (std::int64_t begin = 0; begin < n; begin += every_chunk ? 1 : size) {
      if (!every_chunk && size < 8 && begin > 20 && begin % 64 > 8 && begin % 64 < 56) continue;
      ASSERT_TRUE(prompt.chunk_is(whole, begin, std::min(n, begin + size), causal, isa))
          << isa_name(isa) << ", " << size << " tokens from " << begin;
    }
  }
}
TEST(G6, ChunkedPrefillGivesTheBitsOfOneCall) {
  chunks(200, 0, false, best_isa());
  chunks(90, 450, false, best_isa());  // a split ends inside
  chunks(70, 0, false, Isa::kScalar);
}
TEST(Full_G6, EveryChunkOfTwoHundredTokensGivesTheBitsOfOneCall) {
  for (Isa isa : supported_isas()) {
    chunks(200, 0, true, isa);
    chunks(200, 400, true, isa);
  }
}

// One to eight threads; sequences of one to many splits, few and many rows, so that all ways of sharing work occur.
TEST(G6, OneToEightThreadsGiveTheSameBits) {
  Random random(603);
  const Shape shape{4, 2, 8, 8};
  const std::int64_t n_q[] = {1, 2, 70, 1, 8, 1}, n_kv[] = {2000, 700, 70, 3, 1100, 513};
  std::vector<std::vector<float>> k, v;
  RawCall call = packed_call(shape);
  for (std::size_t s = 0; s < 6; ++s) {
    k.push_back(random_floats(random, n_kv[s] * 16));
    v.push_back(random_floats(random, n_kv[s] * 16));
    call.add(random_floats(random, n_q[s] * 32), n_kv[s] - n_q[s], n_kv[s], {k[s].data(), v[s].data()});
  }
  for (const MaskSpec& spec : {MaskSpec().causal(), MaskSpec().window(600, 0).keep_first(4)}) {
    const Output one = run_raw(call, spec, best_isa());
    for (int threads = 2; threads <= 8; ++threads) {
      for (int round = 0; round < 3; ++round) {
        ASSERT_TRUE(run_raw(call, spec, best_isa(), threads).same_bits(one)) << threads << " threads";
      }
    }
    // A single sequence on many threads is cut into splits.
    RawCall alone = packed_call(shape);
    alone.add({call.q.begin(), call.q.begin() + 32}, n_kv[0] - 1, n_kv[0], call.kv[0]);
    for (int threads = 1; threads <= 8; ++threads) {
      const Output output = run_raw(alone, spec, best_isa(), threads);
      ASSERT_TRUE(same_row(output, 0, one, 0, 8, 4)) << threads << " threads, alone";
    }
  }
}

// At every place in batches of one to seven.
TEST(G6, BatchSizeAndPlaceDoNotMatter) {
  Random random(604);
  const Shape shape{2, 1, 6, 7};
  const std::int64_t n_kv[] = {5, 700, 64, 130, 1, 600, 65}, n_q[] = {5, 1, 3, 20, 1, 2, 1};
  std::vector<std::vector<float>> q, k, v;
  for (std::size_t s = 0; s < 7; ++s) {
    q.push_back(random_floats(random, n_q[s] * 12));
    k.push_back(random_floats(random, n_kv[s] * 6));
    v.push_back(random_floats(random, n_kv[s] * 7));
  }
  const auto add = [&](RawCall* call, std::size_t s) {
    return call->add(q[s], n_kv[s] - n_q[s], n_kv[s], {k[s].data(), v[s].data()});
  };
  for (std::size_t s = 0; s < 7; ++s) {
    RawCall single = packed_call(shape);
    add(&single, s);
    const Output alone = run_raw(single, MaskSpec().causal(), best_isa());
    for (std::size_t size = 2; size <= 7; ++size) {
      for (std::size_t place = 0; place < size; ++place) {
        RawCall batch = packed_call(shape);
        std::int64_t row = 0;
        for (std::size_t b = 0; b < size; ++b) {
          const std::int64_t first = add(&batch, b == place ? s : (s + 1 + b) % 7);
          if (b == place) row = first;
        }
        const Output output = run_raw(batch, MaskSpec().causal(), best_isa(), 1 + static_cast<int>(size % 3));
        ASSERT_TRUE(same_row(output, row * 2, alone, 0, 7, n_q[s] * 2))
            << "sequence " << s << " at " << place << " of " << size;
      }
    }
  }
}

// Twelve query heads over every possible number of K/V heads.
TEST(G7, EveryGroupingGivesTheBitsOfRepeatedHeads) {
  Random random(701);
  const std::int64_t n_head = 12, k_dim = 5, v_dim = 6;
  for (std::int64_t n_kv_head : {1, 2, 3, 4, 6, 12}) {
    for (auto [n_q, n_kv] : {std::pair<std::int64_t, std::int64_t>{1, 600}, {1, 40}, {20, 80}}) {
      const std::vector<float> k = random_floats(random, n_kv * n_kv_head * k_dim, 2),
                               v = random_floats(random, n_kv * n_kv_head * v_dim);
      std::vector<float> repeated_k, repeated_v, bias = random_floats(random, n_head * n_kv);
      for (std::int64_t row = 0; row < n_kv * n_head; ++row) {
        const std::int64_t from = row / n_head * n_kv_head + row % n_head / (n_head / n_kv_head);
        repeated_k.insert(repeated_k.end(), k.begin() + from * k_dim, k.begin() + (from + 1) * k_dim);
        repeated_v.insert(repeated_v.end(), v.begin() + from * v_dim, v.begin() + (from + 1) * v_dim);
      }
      const std::vector<float> q = random_floats(random, n_q * n_head * k_dim, 2);
      const std::vector<float> sinks = random_floats(random, n_head);
      std::vector<std::uint64_t> words(static_cast<std::size_t>(n_head * ((n_kv + 63) / 64)));
      for (auto& word : words) word = std::uint64_t{random.bits()} << 32 | random.bits();
      const std::vector<BitmapView> bitmaps{{words.data(), 0, (n_kv + 63) / 64}};  // per query head
      RawCall grouped = packed_call({n_head, n_kv_head, k_dim, v_dim}),
              repeated = packed_call({n_head, n_head, k_dim, v_dim});
      for (RawCall* call : {&grouped, &repeated}) {
        call->bias = {DType::kF32, 0, n_kv, 1};  // per query head
        call->sinks = sinks.data();
      }
      grouped.add(q, n_kv - n_q, n_kv, {k.data(), v.data(), nullptr, bias.data()});
      repeated.add(q, n_kv - n_q, n_kv, {repeated_k.data(), repeated_v.data(), nullptr, bias.data()});
      const MaskSpec spec = MaskSpec().causal().bitmap(bitmaps);
      for (Isa isa : supported_isas()) {
        ASSERT_TRUE(run_raw(grouped, spec, isa, 2).same_bits(run_raw(repeated, spec, isa)))
            << isa_name(isa) << ", " << n_kv_head << " kv heads, " << n_q << " queries";
      }
    }
  }
}

}  // namespace
}  // namespace rowmax::attention::test::g06_chunks_test

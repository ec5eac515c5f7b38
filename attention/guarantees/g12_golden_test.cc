// G12: the bits themselves, on every instruction set. (Attend.GoldenBits is another call; EveryMask.* compares the
// instruction sets with each other.) G14: 64-bit strides and counts. G17: what is applied to scores, in which order.
#include "attention/guarantees/test_call.h"
#include "attention/guarantees/test_fence.h"

namespace rowmax::attention::test::g12_golden_test {
namespace {

// f32 keys, bias, bitmap, sinks, empty rows, one to three splits, multi-query heads: what Attend.GoldenBits leaves out.
TEST(G12, GoldenBitsOfEveryIsa) {
  Random random(1201);
  const Shape shape{5, 1, 23, 37};
  RawCall call = packed_call(shape);
  call.bias = {DType::kF32, 0, 0, 1};
  call.scale = 0.6f;
  const std::vector<float> sinks = random_floats(random, 5, 4);
  call.sinks = sinks.data();
  const std::int64_t n_q[] = {40, 1, 3}, n_kv[] = {90, 1500, 64};
  std::vector<std::vector<float>> k, v, bias;
  std::vector<std::uint64_t> words(25);
  for (auto& word : words) word = std::uint64_t{random.bits()} << 32 | random.bits();
  for (std::size_t s = 0; s < 3; ++s) {
    k.push_back(random_floats(random, n_kv[s] * 23, 2));
    v.push_back(random_floats(random, n_kv[s] * 37, 2));
    bias.push_back(random_floats(random, n_kv[s], 3));
  }
  for (std::size_t s = 0; s < 3; ++s) {
    call.add(random_floats(random, n_q[s] * 115, 2), n_kv[s] - n_q[s] - 20, n_kv[s],
             {k[s].data(), v[s].data(), nullptr, bias[s].data()});
  }
  const std::vector<BitmapView> bitmaps{{words.data(), 0, 0}};
  for (Isa isa : supported_isas()) {
    for (int threads : {1, 4}) {
      const Output output = run_raw(call, MaskSpec().causal().window(1400, 0).bitmap(bitmaps), isa, threads);
      std::uint64_t hash = 0xCBF29CE484222325ull;  // FNV-1a over 32-bit words
      for (const std::vector<float>* values : {&output.out, &output.lse}) {
        for (float value : *values) hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001B3ull;
      }
      EXPECT_EQ(hash, 0x655365BD3D323E56ull) << isa_name(isa);
    }
  }
}

// Elements between neighbours. In 32 bits they are 65536, which lies in the first window, where zeros are.
constexpr std::int64_t kFar = (std::int64_t{1} << 32) + 65536;

// Each stride of queries, results, keys and values beyond 2^32 elements in turn. bf16, to span less.
TEST(G14, EveryStrideBeyond32Bits) {
  Random random(1401);
  const Shape shape{2, 2, 3, 3};
  const std::int64_t n_q = 2, n_kv = 3;
  Numbers x = random_numbers(random, shape, n_q, n_kv, DType::kBF16);
  for (float& q : x.q) q = rounded_to(DType::kBF16, q);
  RunOptions options;
  options.isa = best_isa();
  options.dtype = DType::kBF16;
  const std::vector<Sequence> sequences{{0, n_q, 1, n_kv}};
  const Output want = run(shape, {x}, sequences, MaskSpec().causal(), options);
  const Result<MaskPlan> plan = compile(MaskSpec().causal(), {sequences, 2, 2});
  for (int which = 0; which < 10; ++which) {
    FarApart far(static_cast<std::size_t>(kFar) * 2, 3);
    std::vector<std::uint16_t> k_memory(256), v_memory(256);
    if (!far.ok()) GTEST_SKIP() << "no address space";
    std::vector<std::uint16_t> q(12);
    std::vector<float> out(12);
    AttendArgs args;
    args.q = {q.data(), DType::kBF16, MemorySpace::kHost, n_q, 2, 3, 6, 3, 1};
    args.out = packed_heads(out.data(), n_q, 2, 3);
    args.kv = packed_kv(DType::kBF16, 2, 3, 3);
    KvSequence kv{k_memory.data(), v_memory.data()};
    const std::int32_t pages[] = {2, 0, 1};
    if (which < 2) {
      (which == 0 ? args.q.row_stride : args.q.head_stride) = kFar;
      args.q.data = far.as<void>();
    } else if (which < 8) {
      const bool keys = which % 2 == 0;
      KvStrides& strides = keys ? args.kv.k : args.kv.v;
      (keys ? kv.k : kv.v) = far.as<void>();
      if (which / 2 == 1) strides.key_stride = kFar;
      if (which / 2 == 2) strides.head_stride = kFar;
      if (which / 2 == 3) {
        args.kv.page_size = 1;
        (keys ? args.kv.v : args.kv.k).page_stride = 6;
        strides.page_stride = kFar;
        kv.pages = pages;
      }
    } else {
      (which == 8 ? args.kv.k : args.kv.v).dim_stride = kFar;
      (which == 8 ? kv.k : kv.v) = far.as<void>();
    }
    const auto page = [&](std::int64_t j) { return kv.pages == nullptr ? 0 : pages[j]; };
    for (std::int64_t i = 0; i < n_q * 6; ++i) {
      store_as(DType::kBF16, const_cast<void*>(args.q.data),
               i / 6 * args.q.row_stride + i / 3 % 2 * args.q.head_stride + i % 3, x.q[static_cast<std::size_t>(i)]);
    }
    for (std::int64_t i = 0; i < n_kv * 6; ++i) {
      const std::int64_t j = i / 6, h = i / 3 % 2, d = i % 3, slot = kv.pages == nullptr ? j : 0;
      const KvStrides &ks = args.kv.k, &vs = args.kv.v;
      store_as(DType::kBF16, const_cast<void*>(kv.k),
               page(j) * ks.page_stride + slot * ks.key_stride + h * ks.head_stride + d * ks.dim_stride,
               x.k[static_cast<std::size_t>(i)]);
      store_as(DType::kBF16, const_cast<void*>(kv.v),
               page(j) * vs.page_stride + slot * vs.key_stride + h * vs.head_stride + d * vs.dim_stride,
               x.v[static_cast<std::size_t>(i)]);
    }
    args.sequences = {&kv, 1};
    args.scale = options.scale;
    ASSERT_TRUE(attend_exact(args, *plan, pool(1), best_isa()).ok());
    ASSERT_EQ(std::memcmp(out.data(), want.out.data(), sizeof(float) * 12), 0) << "stride " << which;
  }
}

// Results, bitmap words and bias beyond 2^32 elements.
TEST(G14, ResultsBitmapsAndBiasBeyond32Bits) {
  Random random(1402);
  const Shape shape{2, 1, 3, 3};
  Numbers x = random_numbers(random, shape, 2, 70);
  const std::vector<Sequence> sequences{{0, 2, 68, 70}};
  FarApart far_words(static_cast<std::size_t>(kFar) * 8, 2), far_bias(static_cast<std::size_t>(kFar) * 4, 2),
      far_out(static_cast<std::size_t>(kFar) * 4, 2);
  if (!far_words.ok() || !far_bias.ok() || !far_out.ok()) GTEST_SKIP() << "no address space";
  std::vector<std::uint64_t> words(8);
  for (auto& word : words) word = std::uint64_t{random.bits()} << 32 | random.bits();
  x.bias = random_floats(random, 2 * 2 * 70);
  RunOptions options;
  options.isa = best_isa();
  const std::vector<BitmapView> near{{words.data(), 2, 4}};
  const Output want = run(shape, {x}, sequences, MaskSpec().bitmap(near), options);
  for (bool by_row : {true, false}) {
    const std::int64_t row = by_row ? kFar : 2, head = by_row ? 2 : kFar;
    const std::int64_t bias_row = by_row ? kFar : 70, bias_head = by_row ? 70 : kFar;
    const std::int64_t out_row = by_row ? kFar : 3, out_head = by_row ? 3 : kFar;
    for (std::int64_t i = 0; i < 2; ++i) {
      for (std::int64_t h = 0; h < 2; ++h) {
        std::memcpy(far_words.as<std::uint64_t>() + i * row + h * head, &words[static_cast<std::size_t>(h * 4 + i * 2)],
                    16);
        std::memcpy(far_bias.as<float>() + i * bias_row + h * bias_head,
                    &x.bias[static_cast<std::size_t>((i * 2 + h) * 70)], 280);
      }
    }
    const std::vector<BitmapView> far{{far_words.as<std::uint64_t>(), row, head}};
    const Result<MaskPlan> plan = compile(MaskSpec().bitmap(far), {sequences, 2, 1});
    KvSequence kv{x.k.data(), x.v.data(), nullptr, far_bias.as<void>()};
    AttendArgs args;
    args.q = packed_heads(static_cast<const float*>(x.q.data()), 2, 2, 3);
    args.out = packed_heads(far_out.as<float>(), 2, 2, 3);
    args.out.row_stride = out_row;
    args.out.head_stride = out_head;
    args.kv = packed_kv(DType::kF32, 1, 3, 3);
    args.sequences = {&kv, 1};
    args.bias = {DType::kF32, bias_row, bias_head, 1};
    args.scale = options.scale;
    ASSERT_TRUE(attend_exact(args, *plan, pool(1), best_isa()).ok());
    for (std::int64_t i = 0; i < 4; ++i) {
      ASSERT_EQ(std::memcmp(far_out.as<float>() + i / 2 * out_row + i % 2 * out_head,
                            &want.out[static_cast<std::size_t>(i * 3)], 12),
                0);
    }
  }
}

// More than 2^32 pairs, counted; and the last key of 2^33.
TEST(G14, PairsBeyond32Bits) {
  const std::int64_t n_kv = std::int64_t{1} << 21;
  const std::vector<Sequence> sequences{{0, 64, n_kv - 64, n_kv}};
  const Result<MaskPlan> plan = compile(MaskSpec().causal(), {sequences, 64, 8});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->stats().visible_pairs, 64 * (64 * n_kv - 64 * 63 / 2));
  const std::int64_t huge = (std::int64_t{1} << 33) + 5;
  const std::vector<Sequence> far{{0, 1, huge - 1, huge}};
  const Result<MaskPlan> window = compile(MaskSpec().window(2, 0), {far, 1, 1});
  ASSERT_TRUE(window.ok());
  EXPECT_TRUE(window->visible(0, 0, 0, huge - 1) && window->visible(0, 0, 0, huge - 3));
  EXPECT_FALSE(window->visible(0, 0, 0, huge - 4));
  // The keys themselves: three of them, at the end of 2^33.
  Random random(1403);
  const std::vector<float> k = random_floats(random, 3 * 4), v = random_floats(random, 3 * 4),
                           q = random_floats(random, 4);
  RawCall call = packed_call({1, 1, 4, 4}), near = call;
  call.add(q, huge - 1, huge, {k.data() - (huge - 3) * 4, v.data() - (huge - 3) * 4}, (huge - 3) / 64 * 64);
  near.add(q, 66 + (huge - 1) % 64 - 2, 131,
           {k.data() - (64 + (huge - 3) % 64) * 4, v.data() - (64 + (huge - 3) % 64) * 4}, 64);
  near.sequences[0].q_pos = 64 + (huge - 1) % 64;
  near.sequences[0].n_kv = near.sequences[0].q_pos + 1;
  const std::vector<KeySpan> valid{{huge - 3, huge}}, near_valid{{near.sequences[0].q_pos - 2, near.sequences[0].n_kv}};
  for (Isa isa : supported_isas()) {
    EXPECT_TRUE(run_raw(call, MaskSpec().causal().valid(valid), isa)
                    .same_bits(run_raw(near, MaskSpec().causal().valid(near_valid), isa)));
  }
}

// The case that libraries got wrong which cap after masking: tanh(-inf) is -1, and masked keys show.
TEST(G17, ASoftCapDoesNotShowMaskedKeys) {
  const std::vector<float> k{1, 1, 1, 1}, v{1, 1000, 1, 1000};
  const std::uint64_t word = 0b0101;
  const std::vector<BitmapView> bitmaps{{&word, 0, 0}};
  const std::vector<float> bias{0, -INFINITY, 0, -INFINITY};
  for (Isa isa : supported_isas()) {
    for (float cap : {1e-3f, 1.0f, 50.0f}) {
      RawCall call = packed_call({1, 1, 1, 1});
      call.softcap = cap;
      call.bias = {DType::kF32, 0, 0, 1};
      call.add({0.5f}, 0, 4, {k.data(), v.data()});
      EXPECT_EQ(run_raw(call, MaskSpec().bitmap(bitmaps), isa).out[0], 1.0f) << isa_name(isa) << ", cap " << cap;
      call.kv[0].bias = bias.data();
      EXPECT_EQ(run_raw(call, MaskSpec(), isa).out[0], 1.0f) << isa_name(isa) << ", cap " << cap;
    }
  }
}

// score = cap * tanh(scale * dot / cap) + bias: within the bound of that order, and far from the three other orders.
TEST(G17, ScaleThenSoftCapThenBias) {
  Random random(1701);
  const Shape shape{1, 1, 4, 4};
  const std::int64_t n_kv = 100;
  Numbers x = random_numbers(random, shape, 1, n_kv);
  x.bias = random_floats(random, n_kv, 3);
  RunOptions options;
  options.isa = best_isa();
  options.scale = 0.7f;
  options.softcap = 1.5f;
  const Output output = run(shape, {x}, {{0, 1, 0, n_kv}}, MaskSpec(), options);
  const auto everything = [](std::int64_t, std::int64_t, std::int64_t) { return true; };
  EXPECT_LT(worst_error(shape, x, output, 0, options, everything), 1.0);
  RunOptions twice = options;
  twice.scale = 0.49f;  // scaled twice
  EXPECT_GT(worst_error(shape, x, output, 0, twice, everything), 100.0);
  double after_bias = 0, norm = 0, other[4] = {};  // capped after the bias
  for (std::size_t j = 0; j < static_cast<std::size_t>(n_kv); ++j) {
    double dot = 0;
    for (std::size_t d = 0; d < 4; ++d) dot += static_cast<double>(x.q[d]) * static_cast<double>(x.k[j * 4 + d]);
    const double s = dot * 0.7 + static_cast<double>(x.bias[j]), weight = std::exp(1.5 * std::tanh(s / 1.5));
    norm += weight;
    for (std::size_t d = 0; d < 4; ++d) other[d] += weight * static_cast<double>(x.v[j * 4 + d]);
  }
  for (std::size_t d = 0; d < 4; ++d)
    after_bias = std::max(after_bias, std::fabs(other[d] / norm - static_cast<double>(output.out[d])));
  EXPECT_GT(after_bias, 1e-2);
}

// The scale is one product at the end of a score: doubling it doubles the query, bit for bit.
TEST(G17, DoublingTheScaleIsDoublingTheQuery) {
  Random random(1702);
  const Shape shape{2, 1, 7, 9};
  const std::int64_t n_kv = 600;
  const std::vector<float> q = random_floats(random, 3 * 14), k = random_floats(random, n_kv * 7),
                           v = random_floats(random, n_kv * 9), bias = random_floats(random, n_kv);
  for (Isa isa : supported_isas()) {
    for (float softcap : {0.0f, 2.0f}) {
      Output first;
      for (int power : {0, 1, 3, -2}) {
        RawCall call = packed_call(shape);
        std::vector<float> scaled = q;
        for (float& value : scaled) value = std::ldexp(value, power);
        call.scale = std::ldexp(0.37f, -power);
        call.softcap = softcap;
        call.bias = {DType::kF32, 0, 0, 1};
        call.add(scaled, n_kv - 3, n_kv, {k.data(), v.data(), nullptr, bias.data()});
        const Output output = run_raw(call, MaskSpec().causal(), isa);
        if (power == 0) first = output;
        ASSERT_TRUE(output.same_bits(first)) << isa_name(isa) << ", scale / 2^" << power;
      }
    }
  }
}

}  // namespace
}  // namespace rowmax::attention::test::g12_golden_test

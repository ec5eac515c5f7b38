// G9: results lie between the smallest and the largest visible value; equal values give that value; weights add up
// to 1. G10: adding a constant to a row's scores changes nothing beyond the bound, scaling values by a power of two
// scales results exactly, the order of keys matters within the bound, that of heads and sequences not at all.
#include "attention/guarantees/test_call.h"

namespace rowmax::attention::test::g09_properties_test {
namespace {

reference::Row row_of(const RawCall& c, std::int64_t i, std::int64_t n_kv, const std::vector<float>& k,
                      const std::vector<float>& v, const std::function<double(std::int64_t)>& bias = {}) {
  const std::int64_t dk = c.shape.k_dim, dv = c.shape.v_dim;
  const std::vector<double> q(c.q.begin() + i * dk, c.q.begin() + (i + 1) * dk), keys(k.begin(), k.end()),
      values(v.begin(), v.end());
  return reference::attend_row(
      q, n_kv, dv, {static_cast<double>(c.scale), 0.0}, [](std::int64_t) { return true; },
      [&](std::int64_t j) { return &keys[static_cast<std::size_t>(j * dk)]; },
      [&](std::int64_t j) { return &values[static_cast<std::size_t>(j * dv)]; }, bias);
}

TEST(G9, ResultsLieBetweenTheVisibleValues) {
  Random random(901);
  const Shape shape{1, 1, 5, 20};
  for (float size : {0.1f, 5.0f, 100.0f}) {
    for (std::int64_t n_kv : {1, 2, 64, 130, 900}) {
      const std::vector<float> k = random_floats(random, n_kv * 5, size), v = random_floats(random, n_kv * 20);
      RawCall call = packed_call(shape);
      call.add(random_floats(random, 3 * 5), 0, n_kv, {k.data(), v.data()});
      const Output output = run_raw(call, MaskSpec(), best_isa());
      for (std::int64_t i = 0; i < 3; ++i) {
        const double bound = reference::constant_bound(row_of(call, i, n_kv, k, v), n_kv);
        for (std::int64_t d = 0; d < 20; ++d) {
          float low = INFINITY, high = -INFINITY;
          for (std::int64_t j = 0; j < n_kv; ++j) {
            low = std::min(low, v[static_cast<std::size_t>(j * 20 + d)]);
            high = std::max(high, v[static_cast<std::size_t>(j * 20 + d)]);
          }
          const double x = output.out[static_cast<std::size_t>(i * 20 + d)];
          ASSERT_GE(x, low - bound);
          ASSERT_LE(x, high + bound);
        }
      }
    }
  }
}

// Errors of scores and exponentials cannot show here, whatever the scores.
TEST(G9, EqualValuesGiveThatValueWithinTheRoundingsOfTwoSums) {
  Random random(902);
  const Shape shape{1, 1, 5, 3};
  for (float size : {0.0f, 1.0f, 30.0f, 1e4f}) {
    for (std::int64_t n_kv : {1, 5, 64, 65, 512, 1300}) {
      const std::vector<float> k = random_floats(random, n_kv * 5, size);
      std::vector<float> v;
      for (std::int64_t j = 0; j < n_kv; ++j) v.insert(v.end(), {1.0f, -0.3f, 3e37f / static_cast<float>(n_kv)});
      RawCall call = packed_call(shape);
      call.add(random_floats(random, 5, 3), 0, n_kv, {k.data(), v.data()});
      const Output output = run_raw(call, MaskSpec(), best_isa());
      const double relative =
          reference::first_order(reference::Roundings(row_of(call, 0, n_kv, k, v), n_kv).numerator +
                                 reference::Roundings(row_of(call, 0, n_kv, k, v), n_kv).denominator + 1);
      for (std::size_t d = 0; d < 3; ++d) {
        ASSERT_LE(std::fabs(output.out[d] - static_cast<double>(v[d])), relative * std::fabs(static_cast<double>(v[d])))
            << n_kv << " keys, scores of size " << size;
      }
    }
  }
}

// The scores are the same bits in both passes, so only exponentials, their differences and the sum can err. A key's
// difference from the maximum errs by u (highest - s), which weighs at most u ln(keys) over all keys.
TEST(G9, WeightsAddUpToOne) {
  Random random(903);
  const Shape shape{1, 1, 5, 1};
  double worst = 0;
  for (float size : {0.1f, 3.0f, 50.0f, 1e3f}) {
    for (std::int64_t n_kv : {1, 2, 63, 64, 65, 512, 513, 3000}) {
      const std::vector<float> k = random_floats(random, n_kv * 5, size), v = random_floats(random, n_kv);
      std::vector<float> weights(static_cast<std::size_t>(n_kv));
      RawCall call = packed_call(shape);
      call.weights = {weights.data(), n_kv, n_kv};
      call.add(random_floats(random, 5), 0, n_kv, {k.data(), v.data()});
      run_raw(call, MaskSpec(), best_isa(), 2);
      reference::Row row = row_of(call, 0, n_kv, k, v);
      row.score_error = std::log(static_cast<double>(n_kv));
      const reference::Roundings r(row, n_kv);
      const double bound = reference::first_order(2 * r.weights + r.denominator + 1) + 2 * r.lost;
      double sum = 0;
      for (float weight : weights) {
        ASSERT_TRUE(weight >= 0.0f && weight <= 1.0f + 0x1p-20f);
        sum += static_cast<double>(weight);
      }
      ASSERT_LE(std::fabs(sum - 1), bound) << n_kv << " keys, scores of size " << size;
      worst = std::max(worst, std::fabs(sum - 1) / bound);
    }
  }
  RecordProperty("worst_in_bounds", std::to_string(worst));
}

// Bias and constant are integers, so that their sum is exact and both results have one exact answer.
TEST(G10, AConstantAddedToAllScoresOfARowStaysWithinTheBound) {
  Random random(1001);
  const Shape shape{1, 1, 6, 5};
  for (std::int64_t n_kv : {3, 64, 700}) {
    const std::vector<float> k = random_floats(random, n_kv * 6), v = random_floats(random, n_kv * 5);
    const std::vector<float> q = random_floats(random, 6);
    std::vector<float> bias(static_cast<std::size_t>(n_kv));
    for (float& b : bias) b = static_cast<float>(random.below(7)) - 3;
    Output first;
    for (float shift : {0.0f, 5.0f, -100.0f, 4000.0f, -65536.0f}) {
      std::vector<float> shifted = bias;
      for (float& b : shifted) b += shift;
      RawCall call = packed_call(shape);
      call.bias = {DType::kF32, 0, 0, 1};
      call.add(q, 0, n_kv, {k.data(), v.data(), nullptr, shifted.data()});
      const Output output = run_raw(call, MaskSpec(), best_isa());
      if (shift == 0.0f) first = output;
      const auto bound = [&](const std::vector<float>& b) {
        return reference::error_bound(
            row_of(call, 0, n_kv, k, v,
                   [&](std::int64_t j) { return static_cast<double>(b[static_cast<std::size_t>(j)]); }),
            n_kv);
      };
      const double both = bound(bias) + bound(shifted);
      for (std::size_t d = 0; d < 5; ++d) {
        ASSERT_LE(std::fabs(output.out[d] - static_cast<double>(first.out[d])), both) << "shift " << shift;
      }
    }
  }
}

TEST(G10, ValuesTimesAPowerOfTwoGiveExactlyThatMuchMore) {
  Random random(1002);
  const Shape shape{2, 1, 6, 19};
  const std::int64_t n_kv = 700;
  const std::vector<float> q = random_floats(random, 5 * 12), k = random_floats(random, n_kv * 6, 3);
  std::vector<float> v = random_floats(random, n_kv * 19);
  for (float& x : v) x += x < 0 ? -0.5f : 0.5f;  // nothing underflows
  for (Isa isa : supported_isas()) {
    Output first;
    for (int power : {0, 1, -1, 20, -20, 60, -60}) {
      std::vector<float> scaled = v;
      for (float& x : scaled) x = std::ldexp(x, power);
      RawCall call = packed_call(shape);
      call.add(q, n_kv - 5, n_kv, {k.data(), scaled.data()});
      Output output = run_raw(call, MaskSpec().causal(), isa);
      for (float& x : output.out) x = std::ldexp(x, -power);
      if (power == 0) first = output;
      ASSERT_TRUE(output.same_bits(first)) << isa_name(isa) << ", 2^" << power;
    }
  }
}

TEST(G10, KeysInAnotherOrderStayWithinTheBound) {
  Random random(1003);
  const Shape shape{1, 1, 6, 5};
  for (std::int64_t n_kv : {2, 64, 70, 1100}) {
    const std::vector<float> k = random_floats(random, n_kv * 6, 3), v = random_floats(random, n_kv * 5);
    RawCall call = packed_call(shape);
    call.add(random_floats(random, 6), 0, n_kv, {k.data(), v.data()});
    const Output first = run_raw(call, MaskSpec(), best_isa());
    const double bound = reference::error_bound(row_of(call, 0, n_kv, k, v), n_kv);
    std::vector<std::int64_t> order(static_cast<std::size_t>(n_kv));
    std::iota(order.begin(), order.end(), 0);
    for (int round = 0; round < 5; ++round) {
      for (std::size_t i = order.size(); i > 1; --i) {
        std::swap(order[i - 1], order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
      }
      std::vector<float> keys, values;
      for (std::int64_t j : order) {
        keys.insert(keys.end(), k.begin() + j * 6, k.begin() + (j + 1) * 6);
        values.insert(values.end(), v.begin() + j * 5, v.begin() + (j + 1) * 5);
      }
      call.kv[0] = {keys.data(), values.data()};
      const Output output = run_raw(call, MaskSpec(), best_isa());
      for (std::size_t d = 0; d < 5; ++d) {
        ASSERT_LE(std::fabs(output.out[d] - static_cast<double>(first.out[d])), 2 * bound) << n_kv << " keys";
      }
    }
  }
}

// Heads in reverse, their K/V heads, sinks and bias with them. (Sequences: G6.BatchSizeAndPlaceDoNotMatter.)
TEST(G10, HeadsInAnotherOrderGiveTheSameBits) {
  Random random(1004);
  const std::int64_t n_head = 6, n_kv_head = 3, dim = 4, n_q = 4, n_kv = 140;
  const auto reversed = [](const std::vector<float>& x, std::int64_t heads, std::int64_t width) {
    std::vector<float> y;
    for (std::int64_t row = 0; row < static_cast<std::int64_t>(x.size()) / width; ++row) {
      const std::int64_t from = row / heads * heads + heads - 1 - row % heads;
      y.insert(y.end(), x.begin() + from * width, x.begin() + (from + 1) * width);
    }
    return y;
  };
  const std::vector<float> q = random_floats(random, n_q * n_head * dim),
                           k = random_floats(random, n_kv * n_kv_head * dim),
                           v = random_floats(random, n_kv * n_kv_head * dim), sinks = random_floats(random, n_head),
                           bias = random_floats(random, n_q * n_head * n_kv);
  const std::vector<float> q2 = reversed(q, n_head, dim), k2 = reversed(k, n_kv_head, dim),
                           v2 = reversed(v, n_kv_head, dim), sinks2 = reversed(sinks, n_head, 1),
                           bias2 = reversed(bias, n_head, n_kv);
  for (Isa isa : supported_isas()) {
    RawCall one = packed_call({n_head, n_kv_head, dim, dim}), two = one;
    one.bias = two.bias = {DType::kF32, n_head * n_kv, n_kv, 1};
    one.sinks = sinks.data();
    two.sinks = sinks2.data();
    one.add(q, n_kv - n_q, n_kv, {k.data(), v.data(), nullptr, bias.data()});
    two.add(q2, n_kv - n_q, n_kv, {k2.data(), v2.data(), nullptr, bias2.data()});
    const Output a = run_raw(one, MaskSpec().causal(), isa), b = run_raw(two, MaskSpec().causal(), isa, 2);
    for (std::int64_t i = 0; i < n_q; ++i) {
      for (std::int64_t h = 0; h < n_head; ++h) {
        ASSERT_TRUE(same_row(a, i * n_head + h, b, i * n_head + n_head - 1 - h, dim)) << isa_name(isa);
      }
    }
  }
}

}  // namespace
}  // namespace rowmax::attention::test::g09_properties_test

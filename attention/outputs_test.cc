// What attend() adds to scores and sums, and how it names trouble: sinks, ALiBi and relative bias, fault location, the
// check for non-finite weights.
#include "attention/test_problem.h"

namespace rowmax::attention::test::outputs_test {
namespace {

bool causal(std::int64_t first, std::int64_t i, std::int64_t j) { return j <= first + i; }

Result<AttendReport> report_of(const Shape& shape, const Numbers& x, std::int64_t q_pos,
                               const std::function<void(AttendArgs*)>& change,
                               const MaskSpec& spec = MaskSpec().causal(), int threads = 1, Isa isa = best_isa()) {
  KvMemory memory(shape, {x}, DType::kF32, Layout::kKeyHeadDim);
  const std::vector<Sequence> sequences{{0, x.n_q, q_pos, x.n_kv}};
  const Result<MaskPlan> plan =
      compile(spec, {sequences, static_cast<std::int32_t>(shape.n_head), static_cast<std::int32_t>(shape.n_kv_head)});
  std::vector<float> out(static_cast<std::size_t>(x.n_q * shape.n_head * shape.v_dim));
  AttendArgs args;
  args.q = packed_heads(x.q.data(), x.n_q, shape.n_head, shape.k_dim);
  args.out = packed_heads(out.data(), x.n_q, shape.n_head, shape.v_dim);
  args.kv = memory.view();
  args.sequences = memory.sequences();
  change(&args);
  return attend_exact(args, *plan, pool(threads), isa);
}

TEST(Sinks, AgreeWithTheReferenceOnEveryIsaAndThreadCount) {
  Random random(61);
  const Shape shape{6, 2, 24, 40};
  const std::vector<float> sinks{0.5f, -3.0f, 40.0f, -INFINITY, 2.25f, -90.0f};
  for (auto [n_q, n_kv] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {1, 1300}, {3, 600}, {40, 150}, {9, 4}}) {
    const Numbers x = random_numbers(random, shape, n_q, n_kv);
    const std::int64_t q_pos = n_kv - n_q;  // negative: empty rows first
    const std::vector<Sequence> sequences{{0, n_q, q_pos, n_kv}};
    RunOptions options;
    options.sinks = sinks;
    options.adjust = [&](AttendArgs* args) { args->sinks = sinks.data(); };
    const Output scalar = run(shape, {x}, sequences, MaskSpec().causal(), options);
    EXPECT_LT(worst_error(shape, x, scalar, 0, options,
                          [&](std::int64_t, std::int64_t i, std::int64_t j) { return causal(q_pos, i, j); }),
              1.0)
        << n_q << " queries, " << n_kv << " keys";
    for (Isa isa : supported_isas()) {
      for (int threads : {1, 2, 5}) {
        options.isa = isa;
        options.threads = threads;
        ASSERT_TRUE(run(shape, {x}, sequences, MaskSpec().causal(), options).same_bits(scalar))
            << isa_name(isa) << ", " << threads << " threads";
      }
    }
  }
}

TEST(Sinks, MinusInfinityIsNoSink) {
  Random random(62);
  const Shape shape{2, 1, 16, 16};
  const std::vector<float> sinks(2, -INFINITY);
  const std::int64_t n_q = 20, n_kv = 15;  // five empty rows
  const Numbers x = random_numbers(random, shape, n_q, n_kv);
  const std::vector<Sequence> sequences{{0, n_q, n_kv - n_q, n_kv}};
  for (Isa isa : supported_isas()) {
    RunOptions options;
    options.isa = isa;
    const Output without = run(shape, {x}, sequences, MaskSpec().causal(), options);
    options.adjust = [&](AttendArgs* args) { args->sinks = sinks.data(); };
    const Output with = run(shape, {x}, sequences, MaskSpec().causal(), options);
    EXPECT_TRUE(with.same_bits(without)) << isa_name(isa);
    EXPECT_EQ(with.report.n_empty, 10);
  }
}

TEST(Sinks, AnEmptyRowGivesPlusZeroAndTheSinkAsLse) {
  const Shape shape{3, 1, 4, 4};
  Random random(63);
  const Numbers x = random_numbers(random, shape, 1, 5);
  const std::vector<Sequence> sequences{{0, 1, -1, 5}};
  const std::vector<float> sinks{0.1f, -77.125f, 3e38f};
  for (Isa isa : supported_isas()) {
    RunOptions options;
    options.isa = isa;
    options.adjust = [&](AttendArgs* args) { args->sinks = sinks.data(); };
    const Output output = run(shape, {x}, sequences, MaskSpec().causal(), options);
    for (float value : output.out) EXPECT_EQ(std::bit_cast<std::uint32_t>(value), 0u);
    EXPECT_EQ(output.lse, sinks);
    EXPECT_EQ(output.status, std::vector<RowStatus>(3, RowStatus::kEmpty));
  }
}

TEST(Sinks, ThatAreNaNOrPlusInfinityAreRefusedByName) {
  const Shape shape{3, 1, 4, 4};
  Random random(64);
  const Numbers x = random_numbers(random, shape, 2, 5);
  for (auto [value, text] :
       {std::pair{NAN, "sinks: head 2 is NaN"}, {static_cast<float>(INFINITY), "sinks: head 2 is +inf"}}) {
    const std::vector<float> sinks{0.0f, -INFINITY, value};
    const auto report = report_of(shape, x, 3, [&](AttendArgs* args) { args->sinks = sinks.data(); });
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(report.error().message, text);
  }
}

// A table over distances and slopes, and their sum in fp64.
struct DistanceBias {
  std::vector<float> slopes;
  std::vector<float> table;
  RelativeBias relative;

  DistanceBias(Random& random, std::int64_t n_head, std::int64_t min_distance, std::int64_t max_distance) {
    for (std::int64_t h = 0; h < n_head; ++h) slopes.push_back(0.02f * static_cast<float>(h + 1));
    table.resize(static_cast<std::size_t>(n_head * (max_distance - min_distance + 1)));
    for (float& entry : table) entry = random.uniform() * 3;
    relative = {table.data(), min_distance, max_distance, max_distance - min_distance + 1};
  }
  double exact(std::int64_t h, std::int64_t p, std::int64_t j) const {
    const std::int64_t distance = std::clamp(j - p, relative.min_distance, relative.max_distance);
    return -static_cast<double>(slopes[static_cast<std::size_t>(h)]) * std::fabs(static_cast<double>(p - j)) +
           static_cast<double>(
               table[static_cast<std::size_t>(h * relative.head_stride + distance - relative.min_distance)]);
  }
};

TEST(DistanceBias, AgreesWithTheReferenceOnEveryIsaAndThreadCount) {
  Random random(65);
  const Shape shape{4, 2, 20, 24};
  const DistanceBias bias(random, 4, -37, 12);
  for (auto [n_q, n_kv, q_pos] :
       {std::array<std::int64_t, 3>{1, 1, 0}, {1, 1200, 1199}, {45, 130, 60}, {7, 70, -3}, {5, 300, 5000}}) {
    for (bool dense : {false, true}) {
      Numbers x = random_numbers(random, shape, n_q, n_kv);
      if (dense) {
        x.bias.resize(static_cast<std::size_t>(n_q * 4 * n_kv));
        for (float& value : x.bias) value = random.below(5) == 0 ? -INFINITY : random.uniform();
      }
      const std::vector<Sequence> sequences{{0, n_q, q_pos, n_kv}};
      RunOptions options;
      options.adjust = [&](AttendArgs* args) {
        args->alibi_slopes = bias.slopes.data();
        args->relative_bias = bias.relative;
      };
      options.added_bias = [&, first = q_pos](std::int64_t h, std::int64_t i, std::int64_t j) {
        return bias.exact(h, first + i, j);
      };
      options.bias_error = 4 * (1 + 3 + 0.08 * 5005);  // four roundings of what is at most that large
      const Output scalar = run(shape, {x}, sequences, MaskSpec().window(kUnbounded, 20), options);
      EXPECT_LT(
          worst_error(shape, x, scalar, 0, options,
                      [&, first = q_pos](std::int64_t, std::int64_t i, std::int64_t j) { return j <= first + i + 20; }),
          1.0)
          << n_q << " queries, " << n_kv << " keys, dense " << dense;
      for (Isa isa : supported_isas()) {
        for (int threads : {1, 3}) {
          options.isa = isa;
          options.threads = threads;
          ASSERT_TRUE(run(shape, {x}, sequences, MaskSpec().window(kUnbounded, 20), options).same_bits(scalar))
              << isa_name(isa) << ", " << threads << " threads";
        }
      }
    }
  }
}

TEST(DistanceBias, HasTheBitsOfTheSameNumbersAsADenseBias) {
  Random random(66);
  const Shape shape{2, 1, 12, 12};
  for (std::int64_t q_pos :
       {std::int64_t{100}, std::int64_t{1} << 24, (std::int64_t{1} << 30) - 20, std::int64_t{1} << 50}) {
    const std::int64_t n_q = 30, n_kv = 140;
    const DistanceBias bias(random, 2, -150, 3);
    const std::vector<float> slopes{0.25f, 1e-9f};
    Numbers x = random_numbers(random, shape, n_q, n_kv);
    const std::vector<Sequence> sequences{{0, n_q, q_pos, n_kv}};
    const MaskSpec spec = MaskSpec().causal();
    Numbers dense = x;
    dense.bias.resize(static_cast<std::size_t>(n_q * 2 * n_kv));
    for (std::int64_t i = 0; i < n_q; ++i) {
      for (std::int64_t h = 0; h < 2; ++h) {
        for (std::int64_t j = 0; j < n_kv; ++j) {
          const std::int64_t distance = std::clamp<std::int64_t>(j - q_pos - i, -150, 3);
          const float far = static_cast<float>(std::llabs(q_pos + i - j));
          const float alibi = -slopes[static_cast<std::size_t>(h)] * far;
          dense.bias[static_cast<std::size_t>((i * 2 + h) * n_kv + j)] =
              alibi + bias.table[static_cast<std::size_t>(h * 154 + distance + 150)];
        }
      }
    }
    for (Isa isa : supported_isas()) {
      RunOptions options;
      options.isa = isa;
      options.softcap = 5.0f;
      const Output want = run(shape, {dense}, sequences, spec, options);
      options.adjust = [&](AttendArgs* args) {
        args->alibi_slopes = slopes.data();
        args->relative_bias = bias.relative;
      };
      EXPECT_TRUE(run(shape, {x}, sequences, spec, options).same_bits(want)) << isa_name(isa) << " " << q_pos;
    }
  }
}

TEST(DistanceBias, BadOnesAreRefusedByName) {
  const Shape shape{2, 1, 4, 4};
  Random random(67);
  const Numbers x = random_numbers(random, shape, 2, 5);
  const std::vector<float> slopes{1.0f, NAN};
  const auto of_slopes = report_of(shape, x, 3, [&](AttendArgs* args) { args->alibi_slopes = slopes.data(); });
  ASSERT_FALSE(of_slopes.ok());
  EXPECT_EQ(of_slopes.error().message, "alibi_slopes: head 1 is NaN");
  const auto of_table = report_of(shape, x, 3, [&](AttendArgs* args) {
    args->relative_bias = {slopes.data(), 3, 2, 0};
  });
  ASSERT_FALSE(of_table.ok());
  EXPECT_EQ(of_table.error().message, "relative_bias: min_distance 3, max_distance 2");
}

// Rows of the packed q that lie in reverse order of the sequences: the report counts rows, the check sequences.
TEST(Faults, TheFirstFaultyRowIsReportedWhateverTheThreads) {
  Random random(68);
  const Shape shape{4, 2, 16, 16};
  std::vector<Numbers> numbers;
  for (int s = 0; s < 2; ++s) numbers.push_back(random_numbers(random, shape, 30, 700));
  numbers[0].k[static_cast<std::size_t>((690 * 2 + 1) * 16 + 3)] = NAN;       // kv head 1: heads 2, 3 from query 20 on
  numbers[1].v[static_cast<std::size_t>((695 * 2 + 0) * 16 + 3)] = INFINITY;  // kv head 0: heads 0, 1 from query 25 on
  const std::vector<Sequence> sequences{{30, 30, 670, 700}, {0, 30, 670, 700}};
  for (Isa isa : supported_isas()) {
    for (int threads : {1, 2, 7}) {
      RunOptions options;
      options.isa = isa;
      options.threads = threads;
      const Output output = run(shape, numbers, sequences, MaskSpec().causal(), options);
      EXPECT_EQ(output.report.fault_row, 25) << threads;
      EXPECT_EQ(output.report.fault_head, 0);
      EXPECT_EQ(output.report.n_overflow, 10);
      EXPECT_EQ(output.report.n_non_finite, 20);
    }
  }
  const Output fine = run(shape, {random_numbers(random, shape, 30, 700)}, {sequences.data() + 1, sequences.data() + 2},
                          MaskSpec().causal(), {});
  EXPECT_EQ(fine.report.fault_row, -1);
  EXPECT_EQ(fine.report.fault_head, -1);
}

TEST(Faults, TheWeightCheckNamesTheFirstKeyToBlame) {
  Random random(69);
  const Shape shape{4, 2, 16, 16};
  const Numbers clean = random_numbers(random, shape, 20, 1200);
  struct Case {
    std::int64_t key;
    std::int64_t kv_head;
    float value;
    const char* text;
  };
  const Case cases[] = {
      {1185, 1, NAN, "attend: weight is NaN at sequence 0, head 2, query 5, key 1185 (score NaN)"},
      {40, 0, NAN, "attend: weight is NaN at sequence 0, head 0, query 0, key 40 (score NaN)"},
  };
  for (const Case& c : cases) {
    Numbers x = clean;
    x.k[static_cast<std::size_t>((c.key * 2 + c.kv_head) * 16 + 3)] = c.value;
    x.k[static_cast<std::size_t>((1199 * 2 + 1) * 16)] = NAN;  // another, later
    for (Isa isa : supported_isas()) {
      for (int threads : {1, 2, 6}) {
        for (std::int64_t n_q : {20, 6}) {  // few rows are computed split by split
          Numbers part = x;
          part.n_q = n_q;
          part.q.resize(static_cast<std::size_t>(n_q * 4 * 16));
          const auto on = report_of(
              shape, part, 1180, [](AttendArgs* args) { args->check_weights = WeightCheck::kOn; }, MaskSpec().causal(),
              threads, isa);
          ASSERT_FALSE(on.ok());
          EXPECT_EQ(on.error().code, ErrorCode::kNumericFault);
          EXPECT_EQ(on.error().message, c.text) << isa_name(isa) << " " << threads;
        }
        const auto off = report_of(
            shape, x, 1180, [](AttendArgs* args) { args->check_weights = WeightCheck::kOff; }, MaskSpec().causal(),
            threads, isa);
        ASSERT_TRUE(off.ok());
        EXPECT_GT(off->n_non_finite, 0);
      }
    }
  }
}

TEST(Faults, TheWeightCheckIsOnByDefaultInDebugBuilds) {
  Random random(70);
  const Shape shape{1, 1, 4, 4};
  Numbers x = random_numbers(random, shape, 1, 3);
  x.k[1] = INFINITY;
  x.q[1] = 1.0f;
  const auto report = report_of(shape, x, 2, [](AttendArgs*) {});
#ifdef NDEBUG
  EXPECT_TRUE(report.ok());
#else
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().message, "attend: weight is NaN at sequence 0, head 0, query 0, key 0 (score +inf)");
#endif
  // Non-finite values spoil results, not weights.
  x = random_numbers(random, shape, 1, 3);
  x.v[0] = NAN;
  const auto values = report_of(shape, x, 2, [](AttendArgs* args) { args->check_weights = WeightCheck::kOn; });
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(values->n_non_finite, 1);
  // All visible scores -inf: 0 / 0.
  x.v[0] = 1;
  x.q = {1e20f, 0, 0, 0};
  for (std::int64_t j = 0; j < 3; ++j) x.k[static_cast<std::size_t>(j * 4)] = -1e30f;
  const auto all = report_of(shape, x, 2, [](AttendArgs* args) { args->check_weights = WeightCheck::kOn; });
  ASSERT_FALSE(all.ok());
  EXPECT_EQ(all.error().message, "attend: weight is NaN at sequence 0, head 0, query 0, key 0 (score -inf)");
}

}  // namespace
}  // namespace rowmax::attention::test::outputs_test

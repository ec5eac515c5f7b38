// Unfinished rows of calls over parts of the keys, and merge_partials().
#include "attention/test_problem.h"

namespace rowmax::attention::test::merge_test {
namespace {

struct Part {
  std::vector<float> o, m, l;
  std::vector<RowStatus> status;
  PartialView view;

  Part(std::int64_t n_rows, std::int64_t n_head, std::int64_t v_dim)
      : o(static_cast<std::size_t>(n_rows * n_head * v_dim), -77.0f),
        m(static_cast<std::size_t>(n_rows * n_head), -77.0f),
        l(m),
        status(m.size(), RowStatus::kOk) {
    view = {o.data(), n_head * v_dim, v_dim, m.data(), l.data(), status.data(), n_head, 1};
  }
};

// Attention over keys [begin, end) alone, tiles cut from key 0.
Part attend_part(const Shape& shape, const Numbers& x, std::int64_t q_pos, std::int64_t begin, std::int64_t end,
                 RunOptions options) {
  Part part(x.n_q, shape.n_head, shape.v_dim);
  const std::vector<KeySpan> valid{{begin, end}};
  options.adjust = [&](AttendArgs* args) {
    args->partial = part.view;
    args->out = {};
    args->lse = nullptr;
  };
  run(shape, {x}, {{0, x.n_q, q_pos, x.n_kv, nullptr, 0}}, MaskSpec().causal().valid(valid), options);
  return part;
}

Output merge(const Shape& shape, std::int64_t n_row, const std::vector<Part>& parts, const RunOptions& options) {
  Output output;
  output.out.assign(static_cast<std::size_t>(n_row * shape.n_head * shape.v_dim), -77.0f);
  output.lse.assign(static_cast<std::size_t>(n_row * shape.n_head), -77.0f);
  output.status.assign(output.lse.size(), RowStatus::kOk);
  std::vector<PartialView> views;
  for (const Part& part : parts) views.push_back(part.view);
  MergeArgs args;
  args.parts = views;
  args.n_row = n_row;
  args.n_head = shape.n_head;
  args.v_dim = shape.v_dim;
  args.sinks = options.sinks.empty() ? nullptr : options.sinks.data();
  args.out = packed_heads(output.out.data(), n_row, shape.n_head, shape.v_dim);
  args.lse = output.lse.data();
  args.lse_row_stride = shape.n_head;
  args.row_status = output.status.data();
  args.status_row_stride = shape.n_head;
  const Result<AttendReport> report = merge_partials(args, *cpu_backend(pool(options.threads), options.isa));
  EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message);
  if (report.ok()) output.report = *report;
  return output;
}

TEST(Merge, AtEveryCutOfSplitsTheBitsAreThoseOfOneCall) {
  Random random(81);
  const Shape shape{4, 2, 16, 260};
  const std::vector<float> sinks{0.5f, -INFINITY, 30.0f, -2.0f};
  for (std::int64_t n_q : {1, 10}) {
    const std::int64_t n_kv = 512 * 2 + 300, q_pos = n_kv - n_q - 1;
    const Numbers x = random_numbers(random, shape, n_q, n_kv);
    for (bool with_sinks : {false, true}) {
      RunOptions options;
      options.isa = best_isa();
      if (with_sinks) {
        options.sinks = sinks;
        options.adjust = [&](AttendArgs* args) { args->sinks = sinks.data(); };
      }
      const Output whole = run(shape, {x}, {{0, n_q, q_pos, n_kv, nullptr, 0}}, MaskSpec().causal(), options);
      // Parts after the first are one split long.
      const std::vector<std::vector<std::int64_t>> cuts{{0, n_kv}, {0, 512, 1024, n_kv}, {0, 1024, n_kv}};
      for (const std::vector<std::int64_t>& cut : cuts) {
        for (Isa isa : supported_isas()) {
          for (int threads : {1, 2}) {
            if (isa == Isa::kScalar && threads != 1) continue;
            options.isa = isa;
            options.threads = threads;
            std::vector<Part> parts;
            for (std::size_t i = 0; i + 1 < cut.size(); ++i) {
              parts.push_back(attend_part(shape, x, q_pos, cut[i], cut[i + 1], options));
            }
            const Output merged = merge(shape, n_q, parts, options);
            ASSERT_TRUE(merged.same_bits(whole)) << isa_name(isa) << ", " << parts.size() << " parts";
            EXPECT_EQ(merged.report.n_rows, n_q * 4);
          }
        }
      }
    }
  }
}

TEST(Merge, CutAnywhereAndInAnyOrderItAgreesWithTheReference) {
  Random random(82);
  const Shape shape{2, 1, 20, 36};
  const std::int64_t n_q = 6, n_kv = 700, q_pos = 650;
  const Numbers x = random_numbers(random, shape, n_q, n_kv);
  RunOptions options;
  options.isa = best_isa();
  const auto visible = [&](std::int64_t, std::int64_t i, std::int64_t j) { return j <= q_pos + i; };
  for (int round = 0; round < 40; ++round) {
    std::int64_t a = random.below(n_kv + 1), b = random.below(n_kv + 1);
    if (a > b) std::swap(a, b);
    std::vector<Part> parts;
    parts.push_back(attend_part(shape, x, q_pos, a, b, options));
    parts.push_back(attend_part(shape, x, q_pos, b, n_kv, options));
    parts.push_back(attend_part(shape, x, q_pos, 0, a, options));
    EXPECT_LT(worst_error(shape, x, merge(shape, n_q, parts, options), 0, options, visible), 1.0) << a << " " << b;
  }
}

TEST(Merge, EmptyPartsAreNeutralWhateverTheyHold) {
  Random random(83);
  const Shape shape{2, 1, 8, 24};
  const Numbers x = random_numbers(random, shape, 3, 90);
  RunOptions options;
  options.isa = best_isa();
  const Part part = attend_part(shape, x, 87, 0, 90, options);
  Part empty = attend_part(shape, x, 87, 90, 90, options);
  for (std::size_t i = 0; i < empty.m.size(); ++i) {
    EXPECT_EQ(empty.m[i], -INFINITY);
    EXPECT_EQ(empty.l[i], 0.0f);
    EXPECT_EQ(empty.status[i], RowStatus::kEmpty);
  }
  for (float value : empty.o) EXPECT_EQ(std::bit_cast<std::uint32_t>(value), 0u);
  const Output alone = merge(shape, 3, {part}, options);
  EXPECT_TRUE(merge(shape, 3, {empty, part, empty}, options).same_bits(alone));
  // All empty, and no parts at all.
  for (const std::vector<Part>& parts : {std::vector<Part>{empty, empty}, std::vector<Part>{}}) {
    const Output nothing = merge(shape, 3, parts, options);
    for (float value : nothing.out) EXPECT_EQ(std::bit_cast<std::uint32_t>(value), 0u);
    for (float lse : nothing.lse) EXPECT_EQ(lse, -INFINITY);
    EXPECT_EQ(nothing.report.n_empty, 6);
  }
  RunOptions sinks = options;
  sinks.sinks = {0.25f, -INFINITY};
  const Output sunk = merge(shape, 3, {empty}, sinks);
  EXPECT_EQ(sunk.lse[0], 0.25f);
  EXPECT_EQ(sunk.lse[1], -INFINITY);
}

TEST(Merge, TroubleInOnePartSurvives) {
  Random random(84);
  const Shape shape{1, 1, 4, 4};
  const std::int64_t n_kv = 200;
  Numbers clean = random_numbers(random, shape, 2, n_kv);
  for (std::size_t i = 0; i < 4; ++i) clean.q[i] = clean.q[4 + i] = i == 0 ? 1e20f : 0.1f;
  for (std::int64_t j = 0; j < n_kv; ++j) clean.k[static_cast<std::size_t>(j * 4)] = 0.0f;
  struct Case {
    float key, value;
    RowStatus status;
  };
  for (const Case& c : {Case{NAN, 1, RowStatus::kNonFinite}, Case{1e20f, 1, RowStatus::kOverflow},
                        Case{-1e20f, 1, RowStatus::kOverflow}, Case{0, NAN, RowStatus::kNonFinite},
                        Case{0, INFINITY, RowStatus::kOverflow}, Case{0, 1, RowStatus::kOk}}) {
    for (std::int64_t at : {10, 110, 199}) {
      Numbers x = clean;
      x.k[static_cast<std::size_t>(at * 4)] = c.key;
      x.v[static_cast<std::size_t>(at * 4)] = c.value;
      for (Isa isa : supported_isas()) {
        RunOptions options;
        options.isa = isa;
        std::vector<Part> parts;
        for (std::int64_t begin : {0, 100, 150}) {
          parts.push_back(attend_part(shape, x, n_kv, begin, begin == 0 ? 100 : begin + 50, options));
        }
        const Output merged = merge(shape, 2, parts, options);
        EXPECT_EQ(merged.status[1], c.status) << c.key << " " << c.value << " at " << at;
        EXPECT_EQ(merged.report.fault_row, c.status == RowStatus::kOk ? -1 : 0);
        EXPECT_EQ(std::isnan(merged.out[0]), c.status == RowStatus::kNonFinite || std::isinf(c.key) || c.key > 1e19f);
      }
    }
  }
}

TEST(Merge, WrongArgumentsAreNamed) {
  Random random(85);
  const Shape shape{1, 1, 8, 8};
  const Numbers x = random_numbers(random, shape, 2, 10);
  RunOptions options;
  options.isa = best_isa();
  const Part part = attend_part(shape, x, 8, 0, 10, options);
  std::vector<float> out(16);
  const auto error_of = [&](const std::function<void(MergeArgs*, PartialView*)>& change) {
    PartialView view = part.view;
    MergeArgs args;
    args.n_row = 2;
    args.n_head = 1;
    args.v_dim = 8;
    args.out = packed_heads(out.data(), 2, 1, 8);
    change(&args, &view);
    args.parts = {&view, 1};
    const Result<AttendReport> report = merge_partials(args, *cpu_backend(pool(1), best_isa()));
    return report.ok() ? std::string() : report.error().message;
  };
  EXPECT_EQ(error_of([](MergeArgs*, PartialView*) {}), "");
  EXPECT_EQ(error_of([](MergeArgs* a, PartialView*) { a->v_dim = 0; }), "merge_partials: n_row 2, n_head 1, v_dim 0");
  EXPECT_EQ(error_of([](MergeArgs* a, PartialView*) { a->out.n_dim = 7; }),
            "merge_partials: out does not have the parts' rows, heads and v_dim");
  EXPECT_EQ(error_of([](MergeArgs*, PartialView* p) { p->l = nullptr; }),
            "merge_partials: part 0 lacks o, m, l or status");
  const float sink = NAN;
  EXPECT_EQ(error_of([&](MergeArgs* a, PartialView*) { a->sinks = &sink; }), "sinks: head 0 is NaN");
  // Unfinished rows beside what only finished ones have.
  KvMemory memory(shape, {x}, DType::kF32, Layout::kKeyHeadDim);
  const std::vector<Sequence> sequences{{0, 2, 8, 10}};
  const Result<MaskPlan> plan = compile(MaskSpec().causal(), {sequences, 1, 1});
  const auto attend_error = [&](const std::function<void(AttendArgs*)>& change) {
    AttendArgs args;
    args.q = packed_heads(x.q.data(), 2, 1, 8);
    args.kv = memory.view();
    args.sequences = memory.sequences();
    args.partial = part.view;
    change(&args);
    const Result<AttendReport> report = attend_exact(args, *plan, pool(1), best_isa());
    return report.ok() ? std::string() : report.error().message;
  };
  std::vector<float> more(100);
  EXPECT_EQ(attend_error([](AttendArgs*) {}), "");
  EXPECT_EQ(attend_error([&](AttendArgs* a) { a->partial.m = nullptr; }), "partial: m, l or status is missing");
  EXPECT_EQ(attend_error([&](AttendArgs* a) { a->lse = more.data(); }), "partial: rows are not finished, so no lse");
  EXPECT_EQ(attend_error([&](AttendArgs* a) { a->weights.data = more.data(); }),
            "partial: rows are not finished, so no weights");
  EXPECT_EQ(attend_error([&](AttendArgs* a) { a->sinks = more.data(); }),
            "partial: rows are not finished, so no sinks");
}

}  // namespace
}  // namespace rowmax::attention::test::merge_test

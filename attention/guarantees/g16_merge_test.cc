// G16: attention over parts of the keys, merged, is attention over all of them within the bound, wherever they are cut;
// parts without keys change no bit. (Cuts at split edges give the very bits: Merge.AtEveryCutOfSplitsTheBitsAre...;
// trouble in a part: Merge.TroubleInOnePartSurvives.)
#include "attention/guarantees/test_call.h"

namespace rowmax::attention::test::g16_merge_test {
namespace {

struct Part {
  std::vector<float> o, m, l;
  std::vector<RowStatus> status;
  PartialView view;
};

// One head, keys [begin, end) alone.
Part attend_part(const RawCall& call, std::int64_t begin, std::int64_t end, Isa isa) {
  const auto n = static_cast<std::size_t>(call.n_row());
  const std::int64_t dim = call.shape.v_dim;
  Part part{std::vector<float>(n * static_cast<std::size_t>(dim), NAN),
            std::vector<float>(n, NAN),
            std::vector<float>(n, NAN),
            std::vector<RowStatus>(n),
            {}};
  part.view = {part.o.data(), dim, dim, part.m.data(), part.l.data(), part.status.data(), 1, 1};
  Output unused;
  AttendArgs args = args_of(call, &unused);
  args.partial = part.view;
  args.out = {};
  args.lse = nullptr;
  const std::vector<KeySpan> valid{{begin, end}};
  const Result<MaskPlan> plan = compile(MaskSpec().causal().valid(valid), {call.sequences, 1, 1});
  EXPECT_TRUE(plan.ok());
  const Result<AttendReport> report = attend_exact(args, *plan, pool(1), isa);
  EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message);
  return part;
}

Output merge(const RawCall& call, const std::vector<const Part*>& parts, Isa isa) {
  std::vector<PartialView> views;
  for (const Part* part : parts) views.push_back(part->view);
  Output output;
  const AttendArgs to = args_of(call, &output);
  MergeArgs args;
  args.parts = views;
  args.n_row = call.n_row();
  args.n_head = 1;
  args.v_dim = call.shape.v_dim;
  args.out = to.out;
  args.lse = to.lse;
  args.lse_row_stride = 1;
  args.row_status = to.row_status;
  args.status_row_stride = 1;
  const Result<AttendReport> report = merge_partials(args, *cpu_backend(pool(1), isa));
  EXPECT_TRUE(report.ok());
  if (report.ok()) output.report = *report;
  return output;
}

// Causal, keys from 0, three queries, two of which see fewer keys than the last (and, for one key, none).
struct Problem {
  explicit Problem(std::int64_t n) : n_kv(n), call(packed_call({1, 1, 4, 5})) {
    Random random(static_cast<std::uint64_t>(1600 + n));
    k = random_floats(random, n * 4, 3);
    v = random_floats(random, n * 5);
    const std::vector<float> q = random_floats(random, 3 * 4, 3);
    call.add(q, n - 3, n, {k.data(), v.data()}, 0);
    const std::vector<double> keys(k.begin(), k.end()), values(v.begin(), v.end());
    for (std::int64_t i = 0; i < 3; ++i) {
      rows.push_back(reference::attend_row(
          {q.begin() + i * 4, q.begin() + (i + 1) * 4}, n, 5, {static_cast<double>(call.scale), 0.0},
          [&](std::int64_t j) { return j <= n - 3 + i; },
          [&](std::int64_t j) { return &keys[static_cast<std::size_t>(j * 4)]; },
          [&](std::int64_t j) { return &values[static_cast<std::size_t>(j * 5)]; }, {}));
    }
  }
  Problem(const Problem&) = delete;
  void check(const Output& output, const std::string& what) const {
    for (std::size_t i = 0; i < 3; ++i) {
      if (rows[i].n_visible == 0) {
        ASSERT_EQ(output.status[i], RowStatus::kEmpty) << what;
        ASSERT_TRUE(exactly_plus_zero(&output.out[i * 5], 5)) << what;
        ASSERT_EQ(output.lse[i], -INFINITY) << what;
        continue;
      }
      ASSERT_EQ(output.status[i], RowStatus::kOk) << what;
      // A part's splits are its own: two more than of one call.
      const double bound = reference::error_bound(rows[i], n_kv + 2 * 512);
      for (std::size_t d = 0; d < 5; ++d) ASSERT_LE(std::fabs(output.out[i * 5 + d] - rows[i].out[d]), bound) << what;
      ASSERT_LE(std::fabs(output.lse[i] - rows[i].lse), reference::lse_bound(rows[i], n_kv + 2 * 512)) << what;
    }
  }
  std::int64_t n_kv;
  RawCall call;
  std::vector<float> k, v;
  std::vector<reference::Row> rows;
};

// Every way to cut up to eight keys into three runs, empty ones among them, merged in all six orders.
TEST(G16, EveryCutOfAFewKeysIntoThreeAgreesWithOneCall) {
  for (std::int64_t n : {1, 2, 3, 5, 8}) {
    const Problem x(n);
    for (Isa isa : supported_isas()) {
      for (std::int64_t a = 0; a <= n; ++a) {
        for (std::int64_t b = a; b <= n; ++b) {
          const Part parts[] = {attend_part(x.call, 0, a, isa), attend_part(x.call, a, b, isa),
                                attend_part(x.call, b, n, isa)};
          std::vector<std::size_t> order{0, 1, 2};
          do {
            x.check(merge(x.call, {&parts[order[0]], &parts[order[1]], &parts[order[2]]}, isa),
                    std::to_string(n) + " keys cut at " + std::to_string(a) + " and " + std::to_string(b));
            if (HasFatalFailure()) return;
          } while (std::next_permutation(order.begin(), order.end()));
        }
      }
    }
  }
}

TEST(G16, EveryCutOfALongRowIntoTwo) {
  for (std::int64_t n : {130, 700}) {
    const Problem x(n);
    for (std::int64_t a = 0; a <= n; a += n > 200 ? 11 : 1) {
      const Part first = attend_part(x.call, 0, a, best_isa()), second = attend_part(x.call, a, n, best_isa());
      x.check(merge(x.call, {&first, &second}, best_isa()), std::to_string(n) + " keys cut at " + std::to_string(a));
      if (HasFatalFailure()) return;
    }
  }
}

// A part without keys has m -inf; wherever it stands, no bit changes.
TEST(G16, PartsWithoutKeysAreNeutral) {
  const Problem x(90);
  for (Isa isa : supported_isas()) {
    const Part none = attend_part(x.call, 30, 30, isa), first = attend_part(x.call, 0, 30, isa),
               second = attend_part(x.call, 30, 90, isa);
    for (float m : none.m) EXPECT_EQ(m, -INFINITY);
    const Output want = merge(x.call, {&first, &second}, isa);
    EXPECT_TRUE(merge(x.call, {&none, &first, &second}, isa).same_bits(want));
    EXPECT_TRUE(merge(x.call, {&first, &none, &second}, isa).same_bits(want));
    EXPECT_TRUE(merge(x.call, {&none, &first, &none, &second, &none}, isa).same_bits(want));
    EXPECT_TRUE(merge(x.call, {&first}, isa).same_bits(merge(x.call, {&none, &first}, isa)));
  }
}

}  // namespace
}  // namespace rowmax::attention::test::g16_merge_test

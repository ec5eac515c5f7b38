// Every case of the conformance suite (conformance/, whose expected values come from fp64 code that shares nothing with
// this library) through attend(): the mask as a MaskSpec, and again as a bitmap; on every ISA.
#include <gtest/gtest.h>

#include <cmath>

#include "attention/test_conformance_cases.h"
#include "attention/test_problem.h"

namespace rowmax::attention::conformance::conformance_test {
namespace {

using test::Output;

// What the file says of a row: see conformance/README.md.
enum RowKind : std::int64_t { kNumber, kEmptyRow, kNaN, kPoisoned, kRange, kBounded };

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases = CaseReader::read(ROWMAX_SOURCE_DIR "/conformance/cases.bin");
  return cases;
}

enum class Form { kStructured, kBitmap };

// A case as arguments of compile() and attend(), with everything that these point into.
class Call {
 public:
  Call(const Case& c, Form form, DType kv_type) : c_(c) {
    make_numbers(kv_type);
    make_sequences();
    make_spec(form);
    make_scores();
  }

  const std::vector<Sequence>& sequences() const { return sequences_; }
  Result<MaskPlan> plan() const {
    return compile(spec_,
                   {sequences_, static_cast<std::int32_t>(c_.n_head()), static_cast<std::int32_t>(c_.n_kv_head())});
  }
  // As run(), with the weights [row][head][n_kv] as well.
  Output run_with_weights(const MaskPlan& plan, Isa isa, std::vector<float>* weights) {
    weights->assign(static_cast<std::size_t>(c_.batch() * c_.n_q() * c_.n_head() * c_.n_kv() + 1), -77.0f);
    args_.weights = {weights->data(), c_.n_head() * c_.n_kv(), c_.n_kv()};
    const Output output = run(plan, isa);
    args_.weights = {};
    return output;
  }
  Output run_f64(const MaskPlan& plan, Isa isa) {
    args_.arithmetic = Arithmetic::kF64;
    const Output output = run(plan, isa);
    args_.arithmetic = Arithmetic::kF32;
    return output;
  }
  Output run(const MaskPlan& plan, Isa isa) {
    Output output;
    const std::int64_t n_row = c_.batch() * c_.n_q();
    output.out.assign(static_cast<std::size_t>(n_row * c_.n_head() * c_.v_dim()), -77.0f);
    output.lse.assign(static_cast<std::size_t>(n_row * c_.n_head()), -77.0f);
    output.status.assign(static_cast<std::size_t>(n_row * c_.n_head()), RowStatus::kOk);
    args_.out = packed_heads(output.out.data(), n_row, c_.n_head(), c_.v_dim());
    args_.lse = output.lse.data();
    args_.lse_row_stride = c_.n_head();
    args_.row_status = output.status.data();
    args_.status_row_stride = c_.n_head();
    const Result<AttendReport> report = test::attend_exact(args_, plan, test::pool(1), isa);
    EXPECT_TRUE(report.ok()) << c_.name() << ": " << (report.ok() ? "" : report.error().message);
    if (report.ok()) output.report = *report;
    return output;
  }

 private:
  // Queries as packed rows [batch * n_q][head][dim]; keys and values as they lie in the file.
  void make_numbers(DType kv_type) {
    const Tensor& q = c_.tensor("q");
    for (std::int64_t b = 0; b < c_.batch(); ++b)
      for (std::int64_t i = 0; i < c_.n_q(); ++i)
        for (std::int64_t h = 0; h < c_.n_head(); ++h)
          for (std::int64_t d = 0; d < c_.k_dim(); ++d) q_.push_back(static_cast<float>(q.real[q.at(b, h, i, d)]));
    args_.q = packed_heads(static_cast<const float*>(q_.data()), c_.batch() * c_.n_q(), c_.n_head(), c_.k_dim());
    args_.kv = packed_kv(kv_type, c_.n_kv_head(), c_.k_dim(), c_.v_dim());
    args_.kv.k = {0, c_.k_dim(), c_.k_dim() * c_.n_kv(), 1};
    args_.kv.v = {0, c_.v_dim(), c_.v_dim() * c_.n_kv(), 1};
    for (auto [key, memory] : {std::pair{"k", &k_}, std::pair{"v", &v_}}) {
      const Tensor& tensor = c_.tensor(key);
      memory->resize((tensor.real.size() + 1) * sizeof(float));
      for (std::size_t i = 0; i < tensor.real.size(); ++i)
        test::store_as(kv_type, memory->data(), static_cast<std::int64_t>(i), static_cast<float>(tensor.real[i]));
    }
    kv_.resize(static_cast<std::size_t>(c_.batch()));
    for (std::size_t b = 0; b < kv_.size(); ++b) {
      const std::int64_t entry = static_cast<std::int64_t>(b);
      kv_[b].k = k_.data() + dtype_bytes(kv_type, entry * c_.tensor("k").stride(0));
      kv_[b].v = v_.data() + dtype_bytes(kv_type, entry * c_.tensor("v").stride(0));
    }
    args_.sequences = kv_;
    args_.scale = static_cast<float>(c_.real.at("scale"));
    args_.softcap = static_cast<float>(c_.real.at("softcap"));
    args_.check_weights = WeightCheck::kOff;  // rows that are meant to be NaN are checked here, by row
  }

  void make_sequences() {
    for (std::int64_t b = 0; b < c_.batch(); ++b) {
      Sequence sequence{b * c_.n_q(), c_.n_q(), c_.tensor("q_pos").whole[static_cast<std::size_t>(b)], c_.n_kv()};
      if (c_.has("positions")) sequence.positions = c_.tensor("positions").whole.data() + b * c_.n_q();
      sequences_.push_back(sequence);
    }
  }

  // Bits of a boolean tensor [batch][head][rows][columns] (axes may be 1 long), packed in words of 64.
  std::vector<BitmapView> packed_bits(const Tensor& bits) {
    const std::int64_t heads = bits.shape[1], rows = bits.shape[2], columns = bits.shape[3];
    const std::int64_t row_words = (columns + 63) / 64;
    std::vector<std::uint64_t>& words =
        words_.emplace_back(static_cast<std::size_t>(bits.shape[0] * heads * rows * row_words + 1));
    for (std::int64_t b = 0; b < bits.shape[0]; ++b)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t j = 0; j < columns; ++j)
            if (bits.whole[bits.at(b, h, i, j)] != 0)
              words[static_cast<std::size_t>(((b * heads + h) * rows + i) * row_words + j / 64)] |= std::uint64_t{1}
                                                                                                    << (j % 64);
    std::vector<BitmapView> views;
    for (std::int64_t b = 0; b < c_.batch(); ++b)
      views.push_back({words.data() + (bits.shape[0] == 1 ? 0 : b) * heads * rows * row_words,
                       rows == 1 ? 0 : row_words, heads == 1 ? 0 : rows * row_words});
    return views;
  }

  void make_spec(Form form) {
    if (c_.has("valid")) {  // in both forms: it says where the tile grid starts
      const std::vector<std::int64_t>& valid = c_.tensor("valid").whole;
      for (std::size_t b = 0; b < sequences_.size(); ++b) valid_.push_back({valid[2 * b], valid[2 * b + 1]});
      spec_.valid(valid_);
    }
    if (form == Form::kBitmap) {
      Tensor keep = c_.tensor("keep");
      if (keep.shape[3] != c_.n_kv()) widen(&keep);
      bitmaps_ = packed_bits(keep);
      spec_.bitmap(bitmaps_);
      return;
    }
    if (c_.number("causal", 0) != 0) spec_.causal();
    if (c_.whole.count("left") != 0 || c_.whole.count("right") != 0)
      spec_.window(c_.number("left", kUnbounded), c_.number("right", kUnbounded));
    if (c_.has("q_segments")) {
      q_ids_.assign(c_.tensor("q_segments").whole.begin(), c_.tensor("q_segments").whole.end());
      k_ids_.assign(c_.tensor("k_segments").whole.begin(), c_.tensor("k_segments").whole.end());
      for (std::int64_t b = 0; b < c_.batch(); ++b)
        segments_.push_back({q_ids_.data() + b * c_.n_q(), k_ids_.data() + b * c_.n_kv()});
      spec_.segments(segments_);
    }
    if (c_.number("chunk", 0) != 0) spec_.chunk(c_.number("chunk", 0));
    if (c_.has("prefix")) spec_.prefix(c_.tensor("prefix").whole);
    if (c_.number("keep_first", 0) != 0) spec_.keep_first(c_.number("keep_first", 0));
    if (c_.has("bitmap")) {
      bitmaps_ = packed_bits(c_.tensor("bitmap"));
      spec_.bitmap(bitmaps_);
    }
    if (c_.has("blocks")) {
      for (const BitmapView& view : packed_bits(c_.tensor("blocks")))
        blocks_.push_back(
            {view.words, view.row_stride, view.head_stride, c_.number("q_block", 0), c_.number("k_block", 0)});
      spec_.blocks(blocks_);
    }
    if (c_.has("tree")) {
      parents_.assign(c_.tensor("tree").whole.begin(), c_.tensor("tree").whole.end());
      trees_.push_back({parents_.data(), -1});
      spec_.tree(trees_);
    }
  }
  // The last axis of `keep` is 1 long where all keys are alike.
  void widen(Tensor* keep) const {
    std::vector<std::int64_t> wide;
    for (std::int64_t bit : keep->whole) wide.insert(wide.end(), static_cast<std::size_t>(c_.n_kv()), bit);
    keep->whole = std::move(wide);
    keep->shape[3] = c_.n_kv();
  }

  void make_scores() {
    if (c_.has("bias")) {
      const Tensor& bias = c_.tensor("bias");
      bias_ = bias.floats();
      args_.bias = {DType::kF32, bias.stride(2), bias.stride(1), bias.stride(3)};
      for (std::size_t b = 0; b < kv_.size(); ++b)
        kv_[b].bias = bias_.data() + static_cast<std::int64_t>(b) * bias.stride(0);
    }
    if (c_.has("alibi")) {
      slopes_ = c_.tensor("alibi").floats();
      args_.alibi_slopes = slopes_.data();
    }
    if (c_.has("relative")) {
      const Tensor& table = c_.tensor("relative");
      table_ = table.floats();
      const std::int64_t reach = table.shape[1] / 2;
      args_.relative_bias = {table_.data(), -reach, reach, table.shape[1]};
    }
    if (c_.has("sinks")) {
      sinks_ = c_.tensor("sinks").floats();
      args_.sinks = sinks_.data();
    }
  }

  const Case& c_;
  std::vector<float> q_, bias_, slopes_, table_, sinks_;
  std::vector<std::byte> k_, v_;
  std::vector<KvSequence> kv_;
  std::vector<Sequence> sequences_;
  std::vector<KeySpan> valid_;
  std::vector<std::int32_t> q_ids_, k_ids_, parents_;
  std::vector<SegmentIds> segments_;
  std::vector<std::vector<std::uint64_t>> words_;
  std::vector<BitmapView> bitmaps_;
  std::vector<BlockMaskView> blocks_;
  std::vector<TreeView> trees_;
  MaskSpec spec_;
  AttendArgs args_;
};

std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

// One row of a result and what the file expects of it.
struct RowCheck {
  const Case& c;
  std::int64_t b, h, i;
  const float* out;
  float lse;
  RowStatus status;
  bool f64;

  double expected(std::int64_t d) const { return c.tensor("out").real[c.tensor("out").at(b, h, i, d)]; }
  double of(const char* key) const { return c.tensor(key).real[c.tensor(key).at(b, h, i, 0)]; }
  RowKind kind() const { return static_cast<RowKind>(c.tensor("kind").whole[c.tensor("kind").at(b, h, i, 0)]); }
  bool close(std::int64_t d) const { return std::fabs(out[d] - expected(d)) <= of("out_tol"); }
  bool lse_close() const {
    return static_cast<double>(lse) == of("lse") || std::fabs(lse - of("lse")) <= of("lse_tol");
  }

  // "" or what is wrong.
  std::string problem() const {
    switch (kind()) {
      case kNumber:
        if (status != RowStatus::kOk) return "status is not ok";
        for (std::int64_t d = 0; d < c.v_dim(); ++d)
          if (!close(d)) return differs(d);
        return lse_close() ? "" : lse_differs();
      case kEmptyRow:
        if (status != RowStatus::kEmpty) return "status is not empty";
        for (std::int64_t d = 0; d < c.v_dim(); ++d)
          if (bits_of(out[d]) != 0) return "not +0: " + differs(d);
        return lse_close() ? "" : lse_differs();
      case kNaN:
        if (status != RowStatus::kNonFinite) return "status is not non-finite";
        for (std::int64_t d = 0; d < c.v_dim(); ++d)
          if (!std::isnan(out[d])) return differs(d);
        return std::isnan(lse) ? "" : lse_differs();
      case kPoisoned: return poisoned();
      case kRange: return out_of_range();
      case kBounded: return bounded();
    }
    return "unknown kind of row";
  }
  // Reported, or (in f64) right.
  std::string out_of_range() const {
    if (status == RowStatus::kOverflow) return "";
    if (!f64) return "overflow not reported";
    for (std::int64_t d = 0; d < c.v_dim(); ++d)
      if (!(std::fabs(out[d] - expected(d)) <= of("out_tol") + 1e-6 * std::fabs(expected(d))))
        return "overflow not reported";
    return "";
  }
  std::string poisoned() const {
    if (status != RowStatus::kNonFinite && status != RowStatus::kOverflow) return "non-finite value not reported";
    for (std::int64_t d = 0; d < c.v_dim(); ++d) {
      if (std::isnan(expected(d)) ? !std::isnan(out[d]) : std::isinf(expected(d)) && std::isfinite(out[d]))
        return differs(d);
      if (std::isfinite(expected(d)) && !close(d) && !std::isnan(out[d])) return differs(d);
    }
    return "";
  }
  std::string bounded() const {
    if (status != RowStatus::kOk) return "status is not ok";
    const Tensor &keep = c.tensor("keep"), &v = c.tensor("v");
    for (std::int64_t d = 0; d < c.v_dim(); ++d) {
      double low = INFINITY, high = -INFINITY;
      for (std::int64_t j = 0; j < c.n_kv(); ++j) {
        if (keep.whole[keep.at(b, h, i, j)] == 0) continue;
        const double value = v.real[v.at(b, h / (c.n_head() / c.n_kv_head()), j, d)];
        low = std::min(low, value);
        high = std::max(high, value);
      }
      const double slack = 1e-5 * std::max(std::fabs(low), std::fabs(high));
      if (!(out[d] >= low - slack && out[d] <= high + slack)) return differs(d);
    }
    return "";
  }
  std::string differs(std::int64_t d) const {
    return "dim " + std::to_string(d) + " is " + std::to_string(out[d]) + ", not " + std::to_string(expected(d));
  }
  std::string lse_differs() const { return "lse is " + std::to_string(lse) + ", not " + std::to_string(of("lse")); }
};

void expect_right(const Case& c, const Output& output, const std::string& how, bool f64 = false) {
  for (std::int64_t b = 0; b < c.batch(); ++b) {
    for (std::int64_t h = 0; h < c.n_head(); ++h) {
      for (std::int64_t i = 0; i < c.n_q(); ++i) {
        const auto row = static_cast<std::size_t>((b * c.n_q() + i) * c.n_head() + h);
        const RowCheck check{c,
                             b,
                             h,
                             i,
                             output.out.data() + row * static_cast<std::size_t>(c.v_dim()),
                             output.lse[row],
                             output.status[row],
                             f64};
        const std::string problem = check.problem();
        ASSERT_EQ(problem, "") << c.name() << " (" << how << "), batch " << b << " head " << h << " query " << i
                               << "\n  " << c.text.at("why");
      }
    }
  }
}

// Whether every query's tile grid starts at the same key in both plans: only then are the same bits promised.
bool same_anchors(const Case& c, const MaskPlan& a, const MaskPlan& b) {
  for (std::int64_t s = 0; s < c.batch(); ++s)
    for (std::int64_t i = 0; i < c.n_q(); ++i)
      if (a.anchor(s, i) != b.anchor(s, i)) return false;
  return true;
}

// out and lse of rows of a batch entry.
std::vector<float> rows_of(const Case& c, const Output& output, std::size_t group) {
  std::vector<float> numbers;
  const std::vector<std::int64_t>& ranges = c.tensor("bit_rows_" + std::to_string(group)).whole;
  for (std::size_t r = 0; r < ranges.size(); r += 3) {
    const auto begin = static_cast<std::size_t>((ranges[r] * c.n_q() + ranges[r + 1]) * c.n_head());
    const auto end = static_cast<std::size_t>((ranges[r] * c.n_q() + ranges[r + 2]) * c.n_head());
    const auto width = static_cast<std::size_t>(c.v_dim());
    numbers.insert(numbers.end(), &output.out[begin * width], &output.out[begin * width] + (end - begin) * width);
    numbers.insert(numbers.end(), &output.lse[begin], &output.lse[begin] + (end - begin));
  }
  return numbers;
}

TEST(Conformance, TheFileIsThere) {
  ASSERT_GE(all_cases().size(), 300u) << "conformance/cases.bin cannot be read";
  std::int64_t rows[6] = {};
  for (const Case& c : all_cases())
    for (std::int64_t kind : c.tensor("kind").whole) ++rows[kind];
  for (std::int64_t n : rows) EXPECT_GT(n, 0) << "a kind of row that nothing tests";
}

TEST(Conformance, TheMaskIsTheOneMeant) {
  for (const Case& c : all_cases()) {
    const Call call(c, Form::kStructured, DType::kF32);
    const Result<MaskPlan> plan = call.plan();
    ASSERT_TRUE(plan.ok()) << c.name() << ": " << plan.error().message;
    const Tensor& keep = c.tensor("keep");
    for (std::int64_t b = 0; b < c.batch(); ++b)
      for (std::int64_t h = 0; h < c.n_head(); ++h)
        for (std::int64_t i = 0; i < c.n_q(); ++i)
          for (std::int64_t j = 0; j < c.n_kv(); ++j) {
            bool hidden_by_bias = false;
            if (c.has("bias")) hidden_by_bias = std::isinf(c.tensor("bias").real[c.tensor("bias").at(b, h, i, j)]);
            if (hidden_by_bias) continue;
            ASSERT_EQ(plan->visible(b, h, i, j), keep.whole[keep.at(b, h, i, j)] != 0)
                << c.name() << ": batch " << b << " head " << h << " query " << i << " key " << j;
          }
  }
}

TEST(Conformance, EveryCaseOnEveryIsaInBothForms) {
  for (const Case& c : all_cases()) {
    Call structured(c, Form::kStructured, DType::kF32), bitmap(c, Form::kBitmap, DType::kF32);
    const Result<MaskPlan> plan = structured.plan(), bitmap_plan = bitmap.plan();
    ASSERT_TRUE(plan.ok()) << c.name() << ": " << plan.error().message;
    ASSERT_TRUE(bitmap_plan.ok()) << c.name() << ": " << bitmap_plan.error().message;
    Output scalar;
    for (Isa isa : supported_isas()) {
      const std::string name(isa_name(isa));
      const Output output = structured.run(*plan, isa), again = bitmap.run(*bitmap_plan, isa);
      ASSERT_NO_FATAL_FAILURE(expect_right(c, output, name));
      ASSERT_NO_FATAL_FAILURE(expect_right(c, again, name + ", mask as a bitmap"));
      if (same_anchors(c, *plan, *bitmap_plan)) {
        ASSERT_TRUE(output.same_bits(again))
            << c.name() << " (" << name << "): a bitmap of the same mask gives other bits";
      }
      if (isa == supported_isas().front()) scalar = output;
      ASSERT_TRUE(output.same_bits(scalar))
          << c.name() << ": " << name << " differs from " << isa_name(supported_isas().front());
    }
  }
}

TEST(Conformance, WeightsAreExactlyZeroWhereHiddenAndAddUpToOne) {
  for (const Case& c : all_cases()) {
    Call call(c, Form::kStructured, DType::kF32);
    const Result<MaskPlan> plan = call.plan();
    ASSERT_TRUE(plan.ok()) << c.name();
    std::vector<float> weights;
    const Output output = call.run_with_weights(*plan, test::best_isa(), &weights);
    ASSERT_TRUE(output.same_bits(call.run(*plan, test::best_isa()))) << c.name() << ": weights change the result";
    const Tensor& keep = c.tensor("keep");
    for (std::int64_t row = 0; row < c.batch() * c.n_q() * c.n_head(); ++row) {
      const std::int64_t h = row % c.n_head(), i = row / c.n_head() % c.n_q(), b = row / c.n_head() / c.n_q();
      double sum = 0;
      for (std::int64_t j = 0; j < c.n_kv(); ++j) {
        const float weight = weights[static_cast<std::size_t>(row * c.n_kv() + j)];
        if (keep.whole[keep.at(b, h, i, j)] == 0) {
          ASSERT_EQ(bits_of(weight), 0u) << c.name() << ": batch " << b << " head " << h << " query " << i << " key "
                                         << j;
        }
        sum += weight;
      }
      if (output.status[static_cast<std::size_t>(row)] != RowStatus::kOk || c.has("sinks")) continue;
      ASSERT_NEAR(sum, 1.0, 1e-4) << c.name() << ": batch " << b << " head " << h << " query " << i;
    }
  }
}

TEST(Conformance, DoubleArithmeticIsRightWhereFloatsOverflowToo) {
  for (const Case& c : all_cases()) {
    Call call(c, Form::kStructured, DType::kF32);
    const Result<MaskPlan> plan = call.plan();
    ASSERT_TRUE(plan.ok()) << c.name();
    ASSERT_NO_FATAL_FAILURE(expect_right(c, call.run_f64(*plan, test::best_isa()), "f64", true)) << c.name();
  }
}

TEST(Conformance, HalfPrecisionKeysAndValuesGiveTheBitsOfFloats) {
  int n = 0;
  for (const Case& c : all_cases()) {
    const std::string& type = c.text.at("dtype");
    if (type == "f32") continue;
    ++n;
    Call wide(c, Form::kStructured, DType::kF32),
        narrow(c, Form::kStructured, type == "f16" ? DType::kF16 : DType::kBF16);
    const Result<MaskPlan> plan = wide.plan();
    ASSERT_TRUE(plan.ok()) << c.name();
    for (Isa isa : supported_isas())
      ASSERT_TRUE(wide.run(*plan, isa).same_bits(narrow.run(*plan, isa)))
          << c.name() << " as " << type << " on " << isa_name(isa);
  }
  EXPECT_GT(n, 20);
}

TEST(Conformance, CallsThatMustAgreeGiveTheSameBits) {
  struct First {
    std::string name;
    std::vector<float> numbers;
    int members = 1;
  };
  std::map<std::string, First> groups;
  for (const Case& c : all_cases()) {
    const std::vector<std::string> names = c.bit_groups();
    if (names.empty()) continue;
    Call call(c, Form::kStructured, DType::kF32);
    const Result<MaskPlan> plan = call.plan();
    ASSERT_TRUE(plan.ok()) << c.name();
    const Output output = call.run(*plan, test::best_isa());
    for (std::size_t group = 0; group < names.size(); ++group) {
      const std::vector<float> numbers = rows_of(c, output, group);
      const auto [first, fresh] = groups.try_emplace(names[group], First{c.name(), numbers});
      if (fresh) continue;
      ++first->second.members;
      ASSERT_EQ(numbers.size(), first->second.numbers.size()) << c.name();
      ASSERT_EQ(std::memcmp(numbers.data(), first->second.numbers.data(), numbers.size() * sizeof(float)), 0)
          << names[group] << ": " << c.name() << " differs from " << first->second.name;
    }
  }
  EXPECT_GE(groups.size(), 10u);
  for (const auto& [name, first] : groups) EXPECT_GE(first.members, 2) << name;
}

}  // namespace
}  // namespace rowmax::attention::conformance::conformance_test

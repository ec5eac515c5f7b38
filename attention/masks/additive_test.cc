// Additive masks out and in: the same bits for every type and fill, and the right word for every sentinel.
#include <cmath>
#include <limits>

#include "attention/plan/test_masks.h"
#include "rowmax/mask_convert.h"

namespace rowmax::attention::test::additive_test {
namespace {

constexpr DType kFloats[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kF64};
constexpr double kLowestF32 = -3.4028234663852886e38;

// Numbers as a tensor of a type.
class Tensor {
 public:
  Tensor(DType dtype, std::size_t n) : dtype_(dtype), bytes_(n * 8, std::byte{0xAB}) {}
  Tensor(DType dtype, const std::vector<double>& values) : Tensor(dtype, values.size()) {
    for (std::size_t i = 0; i < values.size(); ++i) set(i, values[i]);
  }
  void* data() { return bytes_.data(); }
  void set(std::size_t i, double x) {
    if (dtype_ == DType::kF64) {
      reinterpret_cast<double*>(bytes_.data())[i] = x;
    } else {
      store_as(dtype_, bytes_.data(), static_cast<std::int64_t>(i), static_cast<float>(x));
    }
  }
  std::size_t size() const { return static_cast<std::size_t>(dtype_info(dtype_).block_bytes); }
  const std::byte* at(std::size_t i) const { return bytes_.data() + i * size(); }
  double get(std::size_t i) const {
    switch (dtype_) {
      case DType::kF64: return reinterpret_cast<const double*>(bytes_.data())[i];
      case DType::kF32: return static_cast<double>(reinterpret_cast<const float*>(bytes_.data())[i]);
      case DType::kF16: return base::f16_to_f32(reinterpret_cast<const std::uint16_t*>(bytes_.data())[i]);
      default: return base::bf16_to_f32(reinterpret_cast<const std::uint16_t*>(bytes_.data())[i]);
    }
  }

 private:
  DType dtype_;
  std::vector<std::byte> bytes_;
};

Result<AdditiveMask> read(DType dtype, const std::vector<double>& values, std::int64_t n_q, double threshold = -9000) {
  Tensor tensor(dtype, values);
  const std::int64_t n_kv = static_cast<std::int64_t>(values.size()) / n_q;
  return from_additive({tensor.data(), n_q, n_kv, n_kv, 1}, dtype, threshold);
}

TEST(Additive, FillValues) {
  for (const DType dtype : kFloats) EXPECT_EQ(*mask_fill(dtype, Fill::kMinusInfinity), -INFINITY);
  EXPECT_EQ(*mask_fill(DType::kF16, Fill::kLowestFinite), -65504.0);
  EXPECT_EQ(*mask_fill(DType::kBF16, Fill::kLowestFinite), -3.3895313892515355e38);
  EXPECT_EQ(*mask_fill(DType::kF32, Fill::kLowestFinite), kLowestF32);
  EXPECT_EQ(*mask_fill(DType::kF64, Fill::kLowestFinite), -1.7976931348623157e308);
  EXPECT_EQ(mask_fill(DType::kQ8_0, Fill::kLowestFinite).error().message,
            "additive masks of q8_0: expected f32, f16, bf16 or f64");
  EXPECT_EQ(mask_fill(DType::kF8E4M3, Fill::kLowestFinite).error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(mask_fill(static_cast<DType>(99), Fill::kLowestFinite).ok());
}

TEST(Additive, EveryTypeAndFillComesBackAsTheSameBits) {
  Random random(51);
  for (int round = 0; round < 400; ++round) {
    const MaskCase c = random_case(random, 6, 90);
    const CaseSpec x(c);
    const Result<MaskPlan> plan = compile(x.spec, x.geometry());
    const DType dtype = kFloats[round % 4];
    const Fill fill = round / 4 % 2 == 0 ? Fill::kMinusInfinity : Fill::kLowestFinite;
    const std::int64_t head = random.below(c.n_head);
    // Rows or keys outside, with gaps, that must stay as they are.
    const bool turned = random.below(2) == 0;
    const std::int64_t gap = 1 + random.below(2);
    const std::int64_t key_stride = turned ? c.n_q + 1 : gap, row_stride = turned ? 1 : (c.n_kv + 1) * gap;
    Tensor tensor(dtype, static_cast<std::size_t>((c.n_q + 1) * (c.n_kv + 1) * gap));
    const Tensor before = tensor;
    ASSERT_TRUE(to_additive(*plan, 0, head, dtype, fill, tensor.data(), row_stride, key_stride).ok());
    std::vector<char> written(static_cast<std::size_t>((c.n_q + 1) * (c.n_kv + 1) * gap));
    std::int64_t n_hidden = 0;
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      for (std::int64_t j = 0; j < c.n_kv; ++j) {
        const std::size_t at = static_cast<std::size_t>(i * row_stride + j * key_stride);
        const double want = c.visible(head, i, j) ? 0.0 : *mask_fill(dtype, fill);
        ASSERT_EQ(tensor.get(at), want);
        ASSERT_FALSE(std::signbit(tensor.get(at)) && want == 0);
        written[at] = 1;
        n_hidden += want != 0;
      }
    }
    for (std::size_t at = 0; at < written.size(); ++at) {
      ASSERT_TRUE(written[at] || std::memcmp(tensor.at(at), before.at(at), tensor.size()) == 0) << "written outside";
    }
    const Result<AdditiveMask> back = from_additive({tensor.data(), c.n_q, c.n_kv, row_stride, key_stride}, dtype);
    ASSERT_TRUE(back.ok()) << back.error().message;
    for (std::int64_t i = 0; i < c.n_q; ++i) {
      for (std::int64_t j = 0; j < c.n_kv; ++j) ASSERT_EQ(back->mask.keeps(i, j), c.visible(head, i, j));
    }
    EXPECT_EQ(back->mask.detected().n_hidden, n_hidden);
    EXPECT_FALSE(back->has_bias);
    if (n_hidden == 0) {
      EXPECT_EQ(back->sentinel, Sentinel::kNone);
    } else {
      EXPECT_EQ(back->sentinel, fill == Fill::kLowestFinite ? Sentinel::kLowestFinite : Sentinel::kMinusInfinity);
      EXPECT_EQ(back->sentinel_value, *mask_fill(dtype, fill));
    }
  }
}

TEST(Additive, SentinelsOfOtherFrameworks) {
  const double bf16_lowest = -3.3895313892515355e38;
  const struct {
    DType dtype;
    double value;
    Sentinel want;
    double stored;
  } cases[] = {
      {DType::kF32, -INFINITY, Sentinel::kMinusInfinity, -INFINITY},
      {DType::kF32, kLowestF32, Sentinel::kLowestFinite, kLowestF32},
      {DType::kF32, -65504, Sentinel::kLowestNarrower, -65504},
      {DType::kF32, bf16_lowest, Sentinel::kLowestNarrower, bf16_lowest},
      {DType::kF32, -1e9, Sentinel::kMinus1e9, -1e9},
      {DType::kF32, -10000, Sentinel::kMinus1e4, -10000},
      {DType::kF32, kLowestF32 / 2, Sentinel::kOtherFinite, kLowestF32 / 2},
      {DType::kF32, -50000, Sentinel::kOtherFinite, -50000},
      {DType::kF16, -65504, Sentinel::kLowestFinite, -65504},
      {DType::kF16, -1e9, Sentinel::kMinusInfinity, -INFINITY},  // what f16 makes of it
      {DType::kF16, -10000, Sentinel::kMinus1e4, -10000},
      {DType::kBF16, -1e9, Sentinel::kMinus1e9, -998244352},
      {DType::kBF16, -10000, Sentinel::kMinus1e4, -9984},
      {DType::kBF16, bf16_lowest, Sentinel::kLowestFinite, bf16_lowest},
      {DType::kBF16, -65504, Sentinel::kLowestNarrower, -65536},
      {DType::kBF16, kLowestF32, Sentinel::kMinusInfinity, -INFINITY},  // rounds beyond bf16
      {DType::kF64, kLowestF32, Sentinel::kLowestNarrower, kLowestF32},
      {DType::kF64, -1.7976931348623157e308, Sentinel::kLowestFinite, -1.7976931348623157e308},
      {DType::kF64, -1e9, Sentinel::kMinus1e9, -1e9},
  };
  for (const auto& c : cases) {
    const Result<AdditiveMask> mask = read(c.dtype, {0, c.value, 0, 0}, 2);
    ASSERT_TRUE(mask.ok());
    EXPECT_EQ(mask->sentinel, c.want) << dtype_name(c.dtype) << " " << c.value << ": " << mask->text();
    EXPECT_EQ(mask->sentinel_value, c.stored) << dtype_name(c.dtype) << " " << c.value;
    EXPECT_FALSE(mask->mask.keeps(0, 1));
    EXPECT_TRUE(mask->mask.keeps(0, 0) && mask->mask.keeps(1, 0) && mask->mask.keeps(1, 1));
  }
}

TEST(Additive, SumsOfTwoMasks) {
  // A causal and a padding mask added, both with finfo.min: -inf where both hide.
  const float lowest = static_cast<float>(kLowestF32);
  const volatile float sum = lowest + lowest;
  const Result<AdditiveMask> mask = read(DType::kF32, {kLowestF32, static_cast<double>(sum), kLowestF32, 0}, 2);
  EXPECT_EQ(mask->sentinel, Sentinel::kMixed);
  EXPECT_EQ(mask->sentinel_value, kLowestF32);
  EXPECT_EQ(mask->mask.detected().kind, MaskKind::kCausal);
  EXPECT_EQ(mask->text(),
            "causal from position 0, keys [1, 2) of 2 valid (left padding); 3 of 4 pairs hidden, 1 row sees nothing; "
            "hidden by several numbers, most often -3.40282347e+38: finite, so that code which adds it averages a row "
            "that sees nothing over all keys; here such a row is empty");
}

TEST(Additive, BiasesAndThresholds) {
  const std::vector<double> alibi{0, -INFINITY, -0.5, 0};
  EXPECT_TRUE(read(DType::kF32, alibi, 2)->has_bias);
  EXPECT_EQ(read(DType::kF32, alibi, 2)->text(),
            "causal from position 0; 1 of 4 pairs hidden, 0 rows see nothing; hidden by -inf (minus_infinity); visible "
            "pairs have values other than 0: pass the tensor as bias too");
  EXPECT_FALSE(read(DType::kF32, {-0.0, 0, 0, 0}, 2)->has_bias);
  EXPECT_EQ(read(DType::kF32, {0, 0, 0, 0}, 2)->sentinel, Sentinel::kNone);
  EXPECT_EQ(read(DType::kF32, {0, -8999, 0, -9000}, 2)->mask.detected().n_hidden, 1);
  EXPECT_EQ(read(DType::kF32, {0, -100, 0, -99}, 2, -100)->mask.detected().n_hidden, 1);
  EXPECT_EQ(read(DType::kF32, {0, kLowestF32, 0, -INFINITY}, 2, -INFINITY)->mask.detected().n_hidden, 1);
  const Result<AdditiveMask> others = read(DType::kF64, {0, -20000, -30000, -25000}, 2);
  EXPECT_EQ(others->sentinel, Sentinel::kOtherFinite);
  EXPECT_EQ(others->sentinel_value, -30000);
  EXPECT_FALSE(read(DType::kF32, {0, 0}, 1, 0).ok());
  EXPECT_FALSE(read(DType::kF32, {0, 0}, 1, NAN).ok());
  EXPECT_EQ(read(DType::kF32, {0, 0}, 1, 3).error().message, "additive mask: threshold 3, expected below 0");
}

TEST(Additive, NanAndInfinityAreNamed) {
  for (const DType dtype : kFloats) {
    const Result<AdditiveMask> nan = read(dtype, {0, 0, 0, -INFINITY, 0, NAN}, 2);
    ASSERT_FALSE(nan.ok());
    EXPECT_EQ(nan.error().code, ErrorCode::kNumericFault);
    EXPECT_EQ(nan.error().message, "additive mask: NaN at query 1, key 2");
    EXPECT_EQ(read(dtype, {0, INFINITY}, 1).error().message, "additive mask: +inf at query 0, key 1");
  }
}

TEST(Additive, RefusesWhatMakesNoSense) {
  const Sequence sequence{0, 2, 0, 3};
  const Result<MaskPlan> plan = compile(MaskSpec().causal(), {{&sequence, 1}, 2, 1});
  float out[6];
  const auto message = [&](std::int64_t s, std::int64_t h, DType dtype, void* to, std::int64_t row, std::int64_t key) {
    const Status status = to_additive(*plan, s, h, dtype, Fill::kMinusInfinity, to, row, key);
    return status.ok() ? std::string() : status.error().message;
  };
  EXPECT_EQ(message(0, 0, DType::kF32, out, 3, 1), "");
  EXPECT_EQ(message(1, 0, DType::kF32, out, 3, 1),
            "to_additive: sequence 1, head 0 of a plan of 1 sequences and 2 heads");
  EXPECT_NE(message(0, 2, DType::kF32, out, 3, 1), "");
  EXPECT_EQ(message(0, 0, DType::kQ8_0, out, 3, 1), "additive masks of q8_0: expected f32, f16, bf16 or f64");
  EXPECT_EQ(message(0, 0, DType::kF32, nullptr, 3, 1), "to_additive: no memory to write to");
  EXPECT_EQ(message(0, 0, DType::kF32, out, 0, 1), "to_additive: strides 0 and 1 would write over themselves");
  EXPECT_EQ(message(0, 0, DType::kF32, out, 3, 0), "to_additive: strides 3 and 0 would write over themselves");
  EXPECT_FALSE(from_additive({out, 1, 2, 2, 1}, DType::kF8E4M3).ok());
  EXPECT_EQ(from_additive({nullptr, 1, 2, 2, 1}, DType::kF32).error().message, "additive mask: no data");
}

TEST(Additive, NamesAreDistinct) {
  for (int a = 0; a <= static_cast<int>(Sentinel::kMixed); ++a) {
    for (int b = 0; b < a; ++b) {
      EXPECT_STRNE(sentinel_name(static_cast<Sentinel>(a)), sentinel_name(static_cast<Sentinel>(b)));
    }
  }
}

}  // namespace
}  // namespace rowmax::attention::test::additive_test

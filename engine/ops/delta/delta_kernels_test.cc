#include "engine/ops/delta/delta_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/ops/rows/row_kernels.h"

namespace rowmax::engine::delta_kernels_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kHalfUlp = 0x1p-24;

using Floats = std::vector<float>;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

Floats random_floats(std::int64_t n, std::uint64_t seed, float low = -1.0f, float high = 1.0f) {
  Floats out(at(n));
  for (float& x : out) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    x = low + (high - low) * static_cast<float>(seed >> 40) / 16777216.0f;
  }
  return out;
}

// NaNs have no defined payload.
std::vector<std::uint32_t> bits_of(const Floats& x) {
  std::vector<std::uint32_t> bits(x.size());
  if (!x.empty()) std::memcpy(bits.data(), x.data(), x.size() * 4);
  for (std::uint32_t& word : bits) {
    if ((word & 0x7FFFFFFF) > 0x7F800000) word = 0x7FC00000;
  }
  return bits;
}

// ---- the delta rule

struct Problem {
  std::int64_t dk, dv, n_tok;
  Floats state, q, k, v, decay, beta;

  static constexpr std::int64_t kPad = 5, kGateStride = 3;
  std::int64_t k_stride() const { return dk + kPad; }
  std::int64_t v_stride() const { return dv + kPad; }
  DeltaInputs inputs(std::int64_t first_tok = 0) const {
    return {q.data() + first_tok * k_stride(),
            k_stride(),
            k.data() + first_tok * k_stride(),
            k_stride(),
            v.data() + first_tok * v_stride(),
            v_stride(),
            decay.data() + first_tok * kGateStride,
            beta.data() + first_tok * kGateStride,
            kGateStride};
  }
};

// As in a model: q and k of length 1, decay and beta in (0, 1). What lies between the tokens' rows is NaN, and so are
// the state's columns beyond dv.
Problem make_problem(std::int64_t dk, std::int64_t dv, std::int64_t n_tok, float low = 0.7f, float high = 1.0f) {
  Problem p{dk, dv, n_tok, {}, {}, {}, {}, {}, {}};
  const auto seed = static_cast<std::uint64_t>(dk * 1000003 + dv * 1009 + n_tok);
  p.state = random_floats(delta_state_floats(dk, dv), seed);
  for (std::int64_t panel = 0; panel < delta_panels(dv); ++panel) {
    for (std::int64_t i = 0; i < dk * 16; ++i) {
      if (panel * 16 + i % 16 >= dv) p.state[at(panel * dk * 16 + i)] = kNan;
    }
  }
  p.q = random_floats(n_tok * p.k_stride(), seed + 1);
  p.k = random_floats(n_tok * p.k_stride(), seed + 2);
  p.v = random_floats(n_tok * p.v_stride(), seed + 3, -3.0f, 3.0f);
  p.decay = random_floats(n_tok * Problem::kGateStride, seed + 4, low, high);
  p.beta = random_floats(n_tok * Problem::kGateStride, seed + 5, 0.05f, low == 0.7f ? 1.0f : 0.6f);
  for (std::int64_t t = 0; t < n_tok; ++t) {
    for (Floats* row : {&p.q, &p.k}) {
      float* x = row->data() + t * p.k_stride();
      double squares = 0;
      for (std::int64_t i = 0; i < dk; ++i) squares += static_cast<double>(x[i]) * x[i];
      for (std::int64_t i = 0; i < dk; ++i) x[i] = static_cast<float>(x[i] / std::sqrt(squares));
      for (std::int64_t i = dk; i < p.k_stride(); ++i) x[i] = kNan;
    }
    for (std::int64_t j = dv; j < p.v_stride(); ++j) p.v[at(t * p.v_stride() + j)] = kNan;
  }
  return p;
}

struct Result {
  Floats state, out;  // out [n_tok][v_stride], its padding and what no panel wrote -7
};

// Tokens in calls of `calls` each, panels in calls of `panels` each.
Result run(const DeltaKernels& kernels, const Problem& p, std::int64_t calls, std::int64_t panels) {
  Result r{p.state, Floats(at(p.n_tok * p.v_stride()), -7.0f)};
  for (std::int64_t t = 0; t < p.n_tok; t += calls) {
    for (std::int64_t first = 0; first < delta_panels(p.dv); first += panels) {
      kernels.delta_rule(r.state.data(), p.inputs(t), std::min(calls, p.n_tok - t), p.dk, p.dv, first,
                         std::min(first + panels, delta_panels(p.dv)), r.out.data() + t * p.v_stride(), p.v_stride());
    }
  }
  return r;
}

// The contract, one number at a time.
Result by_definition(const Problem& p) {
  Result r{p.state, Floats(at(p.n_tok * p.v_stride()), -7.0f)};
  for (std::int64_t t = 0; t < p.n_tok; ++t) {
    const float *q = &p.q[at(t * p.k_stride())], *k = &p.k[at(t * p.k_stride())], *v = &p.v[at(t * p.v_stride())];
    for (std::int64_t j = 0; j < p.dv; ++j) {
      const auto s = [&](std::int64_t i) -> float& { return r.state[at((j / 16 * p.dk + i) * 16 + j % 16)]; };
      for (std::int64_t i = 0; i < p.dk; ++i) s(i) = s(i) * p.decay[at(t * Problem::kGateStride)];
      float m = 0, o = 0;
      for (std::int64_t i = 0; i < p.dk; ++i) m = std::fma(s(i), k[i], m);
      const float difference = v[j] - m;
      const float d = difference * p.beta[at(t * Problem::kGateStride)];
      for (std::int64_t i = 0; i < p.dk; ++i) s(i) = std::fma(k[i], d, s(i));
      for (std::int64_t i = 0; i < p.dk; ++i) o = std::fma(s(i), q[i], o);
      r.out[at(t * p.v_stride() + j)] = o;
    }
  }
  return r;
}

// The columns that mean something.
Floats columns_of(const Problem& p, const Floats& state) {
  Floats out;
  for (std::int64_t j = 0; j < p.dv; ++j) {
    for (std::int64_t i = 0; i < p.dk; ++i) out.push_back(state[at((j / 16 * p.dk + i) * 16 + j % 16)]);
  }
  return out;
}

const std::pair<std::int64_t, std::int64_t> kHeads[] = {{1, 1},   {3, 15},   {16, 16},  {33, 17},
                                                        {64, 47}, {100, 96}, {128, 64}, {129, 113}};

TEST(DeltaRule, HasTheBitsOfItsOrderHoweverItIsCut) {
  for (const auto& [dk, dv] : kHeads) {
    for (const std::int64_t n_tok : {1, 2, 3, 7}) {
      const Problem p = make_problem(dk, dv, n_tok);
      const Result want = by_definition(p);
      for (const Isa isa : supported_isas()) {
        for (const std::int64_t calls : {n_tok, std::int64_t{1}, std::int64_t{2}}) {
          for (const std::int64_t panels : {delta_panels(dv), std::int64_t{1}, std::int64_t{3}}) {
            const Result got = run(delta_kernels(isa), p, calls, panels);
            ASSERT_EQ(bits_of(got.out), bits_of(want.out))
                << isa_name(isa) << " " << dk << " x " << dv << ", " << n_tok << " by " << calls;
            ASSERT_EQ(bits_of(columns_of(p, got.state)), bits_of(columns_of(p, want.state)))
                << isa_name(isa) << " " << dk << " x " << dv << ", " << n_tok << " by " << calls;
          }
        }
      }
    }
  }
}

// Against fp64, with the error bounded operation by operation beside it: `e` bounds |f32 - fp64| of each number of the
// state to first order (hence the 1.01), half an ulp added for every rounding; a chain of n fma adds at most n half ulps
// of the sum of magnitudes. Decays and betas of at most 0.6 keep the bound from growing with the tokens: |k| = 1, so
// that a token multiplies it by at most decay (1 + beta) < 1.
void expect_close_to_f64(const Problem& p, double* worst) {
  const Result got = run(delta_kernels(supported_isas().back()), p, p.n_tok, delta_panels(p.dv));
  const auto n = static_cast<double>(p.dk);
  for (std::int64_t j = 0; j < p.dv; ++j) {
    std::vector<double> s(at(p.dk)), e(at(p.dk), 0.0);
    for (std::int64_t i = 0; i < p.dk; ++i) s[at(i)] = p.state[at((j / 16 * p.dk + i) * 16 + j % 16)];
    for (std::int64_t t = 0; t < p.n_tok; ++t) {
      const float *q = &p.q[at(t * p.k_stride())], *k = &p.k[at(t * p.k_stride())];
      const double decay = p.decay[at(t * Problem::kGateStride)], beta = p.beta[at(t * Problem::kGateStride)];
      double m = 0, m_size = 0, m_error = 0;
      for (std::int64_t i = 0; i < p.dk; ++i) {
        s[at(i)] *= decay;
        e[at(i)] = e[at(i)] * decay + kHalfUlp * std::fabs(s[at(i)]);
        m += s[at(i)] * k[i];
        m_size += std::fabs(s[at(i)] * k[i]);
        m_error += e[at(i)] * std::fabs(k[i]);
      }
      m_error += n * kHalfUlp * m_size;
      const double v = p.v[at(t * p.v_stride() + j)], d = (v - m) * beta;
      const double d_error = m_error * beta + 2 * kHalfUlp * std::fabs(d);
      double o = 0, o_size = 0, o_error = 0;
      for (std::int64_t i = 0; i < p.dk; ++i) {
        s[at(i)] += k[i] * d;
        e[at(i)] += std::fabs(k[i]) * d_error + kHalfUlp * std::fabs(s[at(i)]);
        o += s[at(i)] * q[i];
        o_size += std::fabs(s[at(i)] * q[i]);
        o_error += e[at(i)] * std::fabs(q[i]);
      }
      o_error += n * kHalfUlp * o_size;
      const double found = got.out[at(t * p.v_stride() + j)];
      *worst = std::max(*worst, std::fabs(found - o) / (1.01 * o_error));
    }
    for (std::int64_t i = 0; i < p.dk; ++i) {
      const double found = got.state[at((j / 16 * p.dk + i) * 16 + j % 16)];
      *worst = std::max(*worst, std::fabs(found - s[at(i)]) / (1.01 * e[at(i)]));
    }
  }
}

TEST(DeltaRule, IsCloseToF64) {
  double worst = 0;
  for (const auto& [dk, dv] : kHeads) {
    for (const std::int64_t n_tok : {1, 2, 5}) expect_close_to_f64(make_problem(dk, dv, n_tok), &worst);
  }
  std::printf("largest error %.3f of its bound", worst);
  EXPECT_LE(worst, 1);
  double long_worst = 0;
  expect_close_to_f64(make_problem(128, 40, 300, 0.3f, 0.6f), &long_worst);
  std::printf(", after 300 tokens %.3f\n", long_worst);
  EXPECT_LE(long_worst, 1);
}

// With beta 1 and decay 1 the rule makes the state answer k with v exactly as far as rounding goes: o = v for q = k.
TEST(DeltaRule, AStateAnswersAKeyWithItsValue) {
  Problem p = make_problem(128, 128, 4);
  p.q = p.k;
  for (float& x : p.decay) x = 1.0f;
  for (float& x : p.beta) x = 1.0f;
  for (const Isa isa : supported_isas()) {
    const Result got = run(delta_kernels(isa), p, 4, 8);
    for (std::int64_t t = 0; t < 4; ++t) {
      for (std::int64_t j = 0; j < p.dv; ++j) {
        ASSERT_NEAR(got.out[at(t * p.v_stride() + j)], p.v[at(t * p.v_stride() + j)], 1e-5) << isa_name(isa);
      }
    }
  }
}

TEST(DeltaRule, NonFiniteNumbersSpreadAsTheDefinitionSays) {
  const std::int64_t dk = 33, dv = 37, n_tok = 4;
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    for (int which = 0; which < 6; ++which) {
      Problem p = make_problem(dk, dv, n_tok);
      Floats& row = which == 0   ? p.q
                    : which == 1 ? p.k
                    : which == 2 ? p.v
                    : which == 3 ? p.decay
                    : which == 4 ? p.beta
                                 : p.state;
      row[at(which == 0 || which == 1 ? p.k_stride() + 7
             : which == 2             ? p.v_stride() + 19
             : which == 5             ? 40
                                      : Problem::kGateStride)] = bad;
      const Result want = by_definition(p);
      for (const Isa isa : supported_isas()) {
        const Result got = run(delta_kernels(isa), p, n_tok, delta_panels(dv));
        ASSERT_EQ(bits_of(got.out), bits_of(want.out)) << isa_name(isa) << " " << which << " " << bad;
        ASSERT_EQ(bits_of(columns_of(p, got.state)), bits_of(columns_of(p, want.state)))
            << isa_name(isa) << " " << which << " " << bad;
        // A value's column alone.
        for (std::int64_t j = 0; which == 2 && j < dv; ++j) {
          ASSERT_EQ(std::isfinite(got.out[at(2 * p.v_stride() + j)]), j != 19) << isa_name(isa) << " " << bad;
        }
      }
    }
  }
}

TEST(DeltaRule, NoTokensChangeNothing) {
  const Problem p = make_problem(16, 16, 1);
  for (const Isa isa : supported_isas()) {
    Floats state = p.state;
    delta_kernels(isa).delta_rule(state.data(), p.inputs(), 0, 16, 16, 0, 1, nullptr, 0);
    EXPECT_EQ(bits_of(state), bits_of(p.state));
  }
}

// ---- the convolution

struct Conv {
  std::int64_t n_channel, n_tok;
  int n_taps;
  Floats weights, state, x;  // x [n_tok][n_channel + 3]

  std::int64_t stride() const { return n_channel + 3; }
  ConvInputs inputs(std::int64_t first_tok, std::int64_t begin, std::int64_t end) const {
    return {weights.data(), n_taps, n_channel, begin, end, x.data() + first_tok * stride(), stride()};
  }
  // Input of token t, which may lie before the first.
  float input(std::int64_t t, std::int64_t c) const {
    return t < 0 ? state[at((t + n_taps - 1) * n_channel + c)] : x[at(t * stride() + c)];
  }
};

Conv make_conv(std::int64_t n_channel, std::int64_t n_tok, int n_taps) {
  const auto seed = static_cast<std::uint64_t>(n_channel * 1009 + n_tok * 31 + n_taps);
  return {n_channel,
          n_tok,
          n_taps,
          random_floats(n_taps * n_channel, seed),
          random_floats((n_taps - 1) * n_channel, seed + 1, -4.0f, 4.0f),
          random_floats(n_tok * (n_channel + 3), seed + 2, -4.0f, 4.0f)};
}

struct ConvResult {
  Floats state, y;  // y [n_tok][stride], where nothing is written -7
};

ConvResult run(const DeltaKernels& kernels, const Conv& conv, std::int64_t calls, std::int64_t channels,
               bool silu = true) {
  ConvResult r{conv.state, Floats(conv.x.size(), -7.0f)};
  for (std::int64_t t = 0; t < conv.n_tok; t += calls) {
    for (std::int64_t c = 0; c < conv.n_channel; c += channels) {
      (silu ? kernels.conv_silu : kernels.conv)(
          r.state.data(), conv.inputs(t, c, std::min(c + channels, conv.n_channel)), std::min(calls, conv.n_tok - t),
          r.y.data() + t * conv.stride(), conv.stride());
    }
  }
  return r;
}

TEST(Conv, EqualsItsDefinitionHoweverItIsCut) {
  double worst = 0;
  for (const int n_taps : {1, 2, 3, 4, 7, kMaxConvTaps}) {
    for (const std::int64_t n_channel : {1, 15, 16, 17, 48, 83}) {
      for (const std::int64_t n_tok : {1, 2, 3, 4, 9}) {
        const Conv conv = make_conv(n_channel, n_tok, n_taps);
        ConvResult want{conv.state, Floats(conv.x.size(), -7.0f)}, plain = want;
        for (std::int64_t t = 0; t < n_tok; ++t) {
          float* y = &want.y[at(t * conv.stride())];
          for (std::int64_t c = 0; c < n_channel; ++c) {
            y[c] = 0;
            for (int j = 0; j < n_taps; ++j) {
              y[c] = std::fma(conv.weights[at(j * n_channel + c)], conv.input(t - n_taps + 1 + j, c), y[c]);
            }
          }
          std::copy_n(y, n_channel, &plain.y[at(t * conv.stride())]);
          row_kernels(Isa::kScalar).silu(y, n_channel);
        }
        for (std::int64_t j = 0; j < n_taps - 1; ++j) {
          for (std::int64_t c = 0; c < n_channel; ++c) {
            want.state[at(j * n_channel + c)] = conv.input(n_tok - n_taps + 1 + j, c);
          }
        }
        for (const Isa isa : supported_isas()) {
          for (const std::int64_t calls : {n_tok, std::int64_t{1}, std::int64_t{2}}) {
            for (const std::int64_t channels : {n_channel, std::int64_t{16}, std::int64_t{32}}) {
              const ConvResult got = run(delta_kernels(isa), conv, calls, channels);
              ASSERT_EQ(bits_of(got.y), bits_of(want.y))
                  << isa_name(isa) << " " << n_channel << " channels, " << n_taps << " taps, " << n_tok << " tokens";
              ASSERT_EQ(bits_of(got.state), bits_of(want.state))
                  << isa_name(isa) << " " << n_channel << " channels, " << n_taps << " taps, " << n_tok << " tokens";
              const ConvResult without = run(delta_kernels(isa), conv, calls, channels, false);
              ASSERT_EQ(bits_of(without.y), bits_of(plain.y)) << isa_name(isa) << ", without SiLU";
              ASSERT_EQ(bits_of(without.state), bits_of(want.state)) << isa_name(isa) << ", without SiLU";
            }
          }
          // In place.
          Conv copy = conv;
          delta_kernels(isa).conv_silu(copy.state.data(), copy.inputs(0, 0, n_channel), n_tok, copy.x.data(),
                                       copy.stride());
          for (std::int64_t t = 0; t < n_tok; ++t) {
            ASSERT_EQ(std::memcmp(&copy.x[at(t * conv.stride())], &want.y[at(t * conv.stride())], at(n_channel) * 4),
                      0);
          }
          ASSERT_EQ(bits_of(copy.state), bits_of(want.state));
        }
        // And fp64: n_taps roundings of the sum of magnitudes, through a slope of at most 1.1; SiLU's own 4 ulp.
        for (std::int64_t t = 0; t < n_tok; ++t) {
          for (std::int64_t c = 0; c < n_channel; ++c) {
            double a = 0, size = 0;
            for (int j = 0; j < n_taps; ++j) {
              const double term = static_cast<double>(conv.weights[at(j * n_channel + c)]) *
                                  static_cast<double>(conv.input(t - n_taps + 1 + j, c));
              a += term;
              size += std::fabs(term);
            }
            const double y = a / (1 + std::exp(-a));
            const double bound = 1.1 * n_taps * kHalfUlp * size + 8 * kHalfUlp * std::fabs(y);
            worst = std::max(worst, std::fabs(want.y[at(t * conv.stride() + c)] - y) / bound);
          }
        }
      }
    }
  }
  std::printf("largest error %.3f of its bound\n", worst);
  EXPECT_LE(worst, 1);
}

TEST(Conv, NonFiniteInputsReachTheirChannelForAsLongAsTheyAreSeen) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    Conv conv = make_conv(35, 9, 4);
    conv.x[at(2 * conv.stride() + 33)] = bad;
    for (const Isa isa : supported_isas()) {
      const ConvResult got = run(delta_kernels(isa), conv, 9, 35);
      for (std::int64_t t = 0; t < 9; ++t) {
        for (std::int64_t c = 0; c < 35; ++c) {
          const float y = got.y[at(t * conv.stride() + c)];
          const bool sees = c == 33 && t >= 2 && t < 6;
          // SiLU takes +inf to +inf and -inf to NaN.
          ASSERT_EQ(!std::isfinite(y), sees) << isa_name(isa) << " token " << t << " channel " << c << " " << y;
        }
      }
    }
  }
}

TEST(Conv, WeightsTurned) {
  const Floats from = {1, 2, 3, 4, 5, 6};  // 3 channels of 2 taps
  Floats to(6);
  turn_conv_weights(from.data(), 3, 2, to.data());
  EXPECT_EQ(to, (Floats{1, 3, 5, 2, 4, 6}));
}

}  // namespace
}  // namespace rowmax::engine::delta_kernels_test

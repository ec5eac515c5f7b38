#include "rowmax/engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/guarded.h"
#include "base/math/f64.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

struct Candidate {
  float logit;
  TokenId id;
};
// Likelier first; ties to the lowest id.
bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}
// The order of std heaps keeps the greatest on top.
bool below(const Candidate& a, const Candidate& b) { return likelier(b, a); }

// SplitMix64 (Steele, Lea, Flood 2014): one 64-bit state, the same numbers everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  double uniform() {  // [0, 1), 53 bits
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

Status in_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return {};
  return Error{ErrorCode::kInvalidArgument, std::string(name) + ": expected " + std::to_string(low) + " to " +
                                                std::to_string(high) + ", found " + std::to_string(value)};
}

Error not_finite(std::size_t id, float value) {
  return Error{ErrorCode::kNumericFault, "logit of token " + std::to_string(id) + " is " + std::to_string(value)};
}

}  // namespace

static Status check(const SamplingParams& params, std::int64_t n_vocab) {
  ROWMAX_RETURN_IF_ERROR(in_range("temperature", params.temperature, 0, 100));
  ROWMAX_RETURN_IF_ERROR(in_range("top_k", params.top_k, 0, 1 << 30));
  ROWMAX_RETURN_IF_ERROR(in_range("top_p", params.top_p, 0, 1));
  ROWMAX_RETURN_IF_ERROR(in_range("min_p", params.min_p, 0, 1));
  ROWMAX_RETURN_IF_ERROR(in_range("repetition_penalty", params.repetition_penalty, 0.01, 100));
  ROWMAX_RETURN_IF_ERROR(in_range("frequency_penalty", params.frequency_penalty, -100, 100));
  ROWMAX_RETURN_IF_ERROR(in_range("presence_penalty", params.presence_penalty, -100, 100));
  ROWMAX_RETURN_IF_ERROR(in_range("penalty_window", params.penalty_window, -1, 1 << 30));
  for (const auto& [token, bias] : params.logit_bias) {
    if (token < 0 || token >= n_vocab) {
      return Error{ErrorCode::kInvalidArgument, "logit_bias: expected token ids 0 to " + std::to_string(n_vocab - 1) +
                                                    ", found " + std::to_string(token)};
    }
    ROWMAX_RETURN_IF_ERROR(in_range("logit_bias", bias, -1e6, 1e6));
  }
  return {};
}

Status validate(const SamplingParams& params, std::int64_t n_vocab) {
  return base::guarded([&] { return check(params, n_vocab); });
}

struct Sampler::Impl {
  SamplingParams params;
  std::int64_t n_vocab;
  Random random;
  std::deque<TokenId> seen;
  std::unordered_map<TokenId, int> counts;
  std::vector<Candidate> candidates;
  std::vector<double> weights;

  void accept(TokenId token);
  Result<TokenId> sample(std::span<const float> logits);

  void penalise() {
    for (const auto& [token, bias] : params.logit_bias) candidates[static_cast<std::size_t>(token)].logit += bias;
    // Every token's penalty touches that token alone, so the map's order cannot matter.
    for (const auto& [token, count] : counts) {
      float& logit = candidates[static_cast<std::size_t>(token)].logit;
      logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
      logit -= params.frequency_penalty * static_cast<float>(count) + params.presence_penalty;
    }
  }

  // Keeps the candidates that top_k, top_p and min_p leave, likeliest first; their softmax numerators in `weights`.
  void restrict_to_likeliest() {
    if (params.top_k > 0 && params.top_k < static_cast<int>(candidates.size())) {
      std::nth_element(candidates.begin(), candidates.begin() + params.top_k, candidates.end(), likelier);
      candidates.resize(static_cast<std::size_t>(params.top_k));
    }
    const float most = std::min_element(candidates.begin(), candidates.end(), likelier)->logit;
    const double inverse = 1.0 / static_cast<double>(params.temperature);
    const auto weight = [&](const Candidate& c) {
      return base::exp_f64((static_cast<double>(c.logit) - most) * inverse);
    };
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
    double total = 0;
    for (const Candidate& c : candidates) total += weight(c);
    std::make_heap(candidates.begin(), candidates.end(), below);
    weights.clear();
    std::vector<Candidate> kept;
    double sum = 0;
    for (auto end = candidates.end(); end != candidates.begin(); --end) {
      std::pop_heap(candidates.begin(), end, below);
      const Candidate& c = *(end - 1);
      const double w = weight(c);
      if (!kept.empty() && (w < params.min_p || sum >= params.top_p * total)) break;
      kept.push_back(c);
      weights.push_back(w);
      sum += w;
    }
    candidates.swap(kept);
  }
};

Sampler::Sampler(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;
Sampler::~Sampler() = default;

Result<Sampler> Sampler::create(const SamplingParams& params, std::int64_t n_vocab) {
  return base::guarded([&]() -> Result<Sampler> {
    ROWMAX_RETURN_IF_ERROR(check(params, n_vocab));
    return Sampler(std::unique_ptr<Impl>(new Impl{params, n_vocab, Random(params.seed), {}, {}, {}, {}}));
  });
}

void Sampler::Impl::accept(TokenId token) {
  if (token < 0 || token >= n_vocab || params.penalty_window == 0) return;
  seen.push_back(token);
  try {
    ++counts[token];
  } catch (...) {  // both know of the token or neither
    seen.pop_back();
    throw;
  }
  if (params.penalty_window > 0 && static_cast<int>(seen.size()) > params.penalty_window) {
    const auto oldest = counts.find(seen.front());
    seen.pop_front();
    if (--oldest->second == 0) counts.erase(oldest);
  }
}

Status Sampler::accept(TokenId token) {
  return base::guarded([&]() -> Status {
    impl_->accept(token);
    return {};
  });
}

Result<TokenId> Sampler::sample(std::span<const float> logits) {
  return base::guarded([&] { return impl_->sample(logits); });
}

Result<TokenId> Sampler::Impl::sample(std::span<const float> logits) {
  candidates.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) return not_finite(i, logits[i]);
    candidates[i] = {logits[i], static_cast<TokenId>(i)};
  }
  if (candidates.empty()) return Error{ErrorCode::kInvalidArgument, "sample: expected logits, found none"};
  penalise();
  if (params.temperature == 0) return std::min_element(candidates.begin(), candidates.end(), likelier)->id;
  restrict_to_likeliest();
  double total = 0;
  for (double w : weights) total += w;
  const double target = random.uniform() * total;
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (target < sum) return candidates[i].id;
  }
  return candidates.back().id;
}

Result<TokenId> argmax(std::span<const float> logits) {
  return base::guarded([&]() -> Result<TokenId> {
    if (logits.empty()) return Error{ErrorCode::kInvalidArgument, "argmax: expected logits, found none"};
    std::size_t best = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (!std::isfinite(logits[i])) return not_finite(i, logits[i]);
      if (logits[i] > logits[best]) best = i;
    }
    return static_cast<TokenId>(best);
  });
}

double log_probability(std::span<const float> logits, TokenId token) noexcept {
  double most = logits[0];
  for (float x : logits) most = x > most ? x : most;
  // Four sums in a fixed order: the chain of additions would otherwise be the slowest part.
  double sums[4] = {0, 0, 0, 0};
  for (std::size_t i = 0; i < logits.size(); ++i) sums[i % 4] += base::exp_f64(static_cast<double>(logits[i]) - most);
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - most -
         base::log_f64((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace rowmax::engine

// From logits to a token. Everything is a function of the logits, the parameters, the tokens seen and the seed: our own
// generator, our own exp, ties to the lowest id, so that the same seed gives the same text on every machine.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "rowmax/engine/tokenizer.h"
#include "rowmax/result.h"

namespace rowmax::engine {

// Applied in this order: logit_bias, penalties, temperature, top_k, softmax, top_p, min_p, draw.
struct SamplingParams {
  float temperature = 0.8f;         // 0: greedy, the highest logit (after bias and penalties)
  int top_k = 40;                   // 0: all
  float top_p = 0.95f;              // 1: off; the smallest set of likeliest tokens whose sum reaches top_p
  float min_p = 0.0f;               // 0: off; drops tokens below min_p times the likeliest
  float repetition_penalty = 1.0f;  // 1: off; divides positive, multiplies negative logits of tokens seen
  float frequency_penalty = 0.0f;   // subtracted once per occurrence
  float presence_penalty = 0.0f;    // subtracted once if it occurred
  int penalty_window = 64;          // how many of the last tokens count as seen; -1: all
  std::vector<std::pair<TokenId, float>> logit_bias;
  std::uint64_t seed = 0;
};
// kInvalidArgument naming the field, its range and what was found (NaN and infinities included).
Status validate(const SamplingParams& params, std::int64_t n_vocab);

class Sampler {
 public:
  static Result<Sampler> create(const SamplingParams& params, std::int64_t n_vocab);
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;
  ~Sampler();

  // A token that the penalties should know of (prompt tokens and sampled ones). kOutOfMemory: it is not known of.
  Status accept(TokenId token);
  // logits: [n_vocab]. kNumericFault when one is NaN or infinite. After an error the next draw is what this one would
  // have been.
  Result<TokenId> sample(std::span<const float> logits);

 private:
  struct Impl;
  explicit Sampler(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

// The lowest id among the highest logits; kNumericFault when one is not finite.
Result<TokenId> argmax(std::span<const float> logits);
// ln of the softmax probability of `token`; the sum is taken in f64 in a fixed order.
double log_probability(std::span<const float> logits, TokenId token) noexcept;

}  // namespace rowmax::engine

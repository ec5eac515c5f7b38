// How a request wants tokens to be chosen, and where each value came from.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "apps/server/fields.h"
#include "apps/text/json.h"
#include "rowmax/engine/sampler.h"

namespace rowmax::server {

enum class ValueSource : std::uint8_t { kDefault, kCommandLine, kRequest };

enum class SamplingField : std::uint8_t {
  kTemperature,
  kTopK,
  kTopP,
  kMinP,
  kRepetitionPenalty,
  kFrequencyPenalty,
  kPresencePenalty,
  kPenaltyWindow,
  kLogitBias,
  kSeed,
  kCount
};

struct SamplingInput {
  engine::SamplingParams params;
  std::array<ValueSource, static_cast<std::size_t>(SamplingField::kCount)> sources = {};

  ValueSource& source(SamplingField field) { return sources[static_cast<std::size_t>(field)]; }
  // {"temperature": {"value": 0.8, "source": "default"}, ...}
  text::Json json() const;
};
using SamplingDefaults = SamplingInput;

// What the command line's values are, as defaults of requests: "command line" where they differ from SamplingParams'.
SamplingDefaults sampling_defaults(const engine::SamplingParams& command_line);

// temperature, top_k (-1 and 0: all), top_p, min_p, repetition_penalty (also repeat_penalty), frequency_penalty,
// presence_penalty, repeat_last_n, logit_bias ({"ID": bias}), seed. null is the default.
SamplingInput read_sampling(Fields& fields, const SamplingDefaults& defaults, std::int64_t n_vocab);

}  // namespace rowmax::server

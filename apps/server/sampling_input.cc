#include "apps/server/sampling_input.h"

#include <charconv>
#include <optional>
#include <string>

namespace rowmax::server {

using text::Json;

namespace {

constexpr std::size_t kMaxBiases = 4096;

const char* source_name(ValueSource source) {
  switch (source) {
    case ValueSource::kDefault: return "default";
    case ValueSource::kCommandLine: return "command line";
    case ValueSource::kRequest: return "request";
  }
  return "";
}

Json bias_json(const engine::SamplingParams& params) {
  Json biases = Json::object();
  for (const auto& [token, bias] : params.logit_bias) biases.append(std::to_string(token), text::shortest(bias));
  return biases;
}

void read_bias(Fields& fields, SamplingInput& input, std::int64_t n_vocab) {
  const engine::Json biases = fields.object("logit_bias");
  if (biases.is_null()) return;
  input.params.logit_bias.clear();
  input.source(SamplingField::kLogitBias) = ValueSource::kRequest;
  if (biases.size() > kMaxBiases) return fields.fail("logit_bias", "at most 4096 tokens", biases);
  for (const auto& [key, value] : biases.members()) {
    std::int64_t id = 0;
    const auto [end, code] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (code != std::errc() || end != key.data() + key.size() || id < 0 || id >= n_vocab) {
      fields.fail({400,
                   fields.full_name("logit_bias") + ": expected token ids 0 to " + std::to_string(n_vocab - 1) +
                       " as keys, found \"" + std::string(key.substr(0, 60)) + "\"",
                   fields.full_name("logit_bias"), "invalid_value"});
      return;
    }
    if (!value.is_number() || !(value.as_double() >= -1e6 && value.as_double() <= 1e6)) {
      return fields.fail("logit_bias." + std::string(key), "a number from -1e+06 to 1e+06", value);
    }
    input.params.logit_bias.emplace_back(static_cast<engine::TokenId>(id), static_cast<float>(value.as_double()));
  }
}

}  // namespace

Json SamplingInput::json() const {
  Json json = Json::object();
  const auto add = [&](const char* name, SamplingField field, Json value) {
    json.append(name, {{"value", std::move(value)}, {"source", source_name(sources[static_cast<std::size_t>(field)])}});
  };
  add("temperature", SamplingField::kTemperature, text::shortest(params.temperature));
  add("top_k", SamplingField::kTopK, params.top_k);
  add("top_p", SamplingField::kTopP, text::shortest(params.top_p));
  add("min_p", SamplingField::kMinP, text::shortest(params.min_p));
  add("repetition_penalty", SamplingField::kRepetitionPenalty, text::shortest(params.repetition_penalty));
  add("frequency_penalty", SamplingField::kFrequencyPenalty, text::shortest(params.frequency_penalty));
  add("presence_penalty", SamplingField::kPresencePenalty, text::shortest(params.presence_penalty));
  add("repeat_last_n", SamplingField::kPenaltyWindow, params.penalty_window);
  add("logit_bias", SamplingField::kLogitBias, bias_json(params));
  add("seed", SamplingField::kSeed, params.seed);
  return json;
}

SamplingDefaults sampling_defaults(const engine::SamplingParams& command_line) {
  const engine::SamplingParams plain;
  SamplingDefaults defaults{command_line, {}};
  const auto note = [&](SamplingField field, bool same) {
    defaults.source(field) = same ? ValueSource::kDefault : ValueSource::kCommandLine;
  };
  note(SamplingField::kTemperature, command_line.temperature == plain.temperature);
  note(SamplingField::kTopK, command_line.top_k == plain.top_k);
  note(SamplingField::kTopP, command_line.top_p == plain.top_p);
  note(SamplingField::kMinP, command_line.min_p == plain.min_p);
  note(SamplingField::kRepetitionPenalty, command_line.repetition_penalty == plain.repetition_penalty);
  note(SamplingField::kFrequencyPenalty, command_line.frequency_penalty == plain.frequency_penalty);
  note(SamplingField::kPresencePenalty, command_line.presence_penalty == plain.presence_penalty);
  note(SamplingField::kPenaltyWindow, command_line.penalty_window == plain.penalty_window);
  note(SamplingField::kLogitBias, command_line.logit_bias == plain.logit_bias);
  note(SamplingField::kSeed, command_line.seed == plain.seed);
  return defaults;
}

SamplingInput read_sampling(Fields& fields, const SamplingDefaults& defaults, std::int64_t n_vocab) {
  SamplingInput input = defaults;
  engine::SamplingParams& params = input.params;
  // The ranges are those of engine::validate.
  const auto number = [&](SamplingField field, const char* name, double low, double high, float& target) {
    const auto value = fields.number(name, low, high);
    if (!value) return;
    target = static_cast<float>(*value);
    input.source(field) = ValueSource::kRequest;
  };
  const auto integer = [&](SamplingField field, const char* name, std::int64_t low, int& target) {
    const auto value = fields.integer(name, low, 1 << 30);
    if (!value) return;
    target = static_cast<int>(*value);
    input.source(field) = ValueSource::kRequest;
  };
  number(SamplingField::kTemperature, "temperature", 0, 100, params.temperature);
  integer(SamplingField::kTopK, "top_k", -1, params.top_k);
  if (params.top_k < 0) params.top_k = 0;
  number(SamplingField::kTopP, "top_p", 0, 1, params.top_p);
  number(SamplingField::kMinP, "min_p", 0, 1, params.min_p);
  number(SamplingField::kRepetitionPenalty, "repeat_penalty", 0.01, 100, params.repetition_penalty);
  number(SamplingField::kRepetitionPenalty, "repetition_penalty", 0.01, 100, params.repetition_penalty);
  number(SamplingField::kFrequencyPenalty, "frequency_penalty", -100, 100, params.frequency_penalty);
  number(SamplingField::kPresencePenalty, "presence_penalty", -100, 100, params.presence_penalty);
  integer(SamplingField::kPenaltyWindow, "repeat_last_n", -1, params.penalty_window);
  read_bias(fields, input, n_vocab);
  if (const auto seed = fields.bits64("seed")) {
    params.seed = *seed;
    input.source(SamplingField::kSeed) = ValueSource::kRequest;
  }
  return input;
}

}  // namespace rowmax::server

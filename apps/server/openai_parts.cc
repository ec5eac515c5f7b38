#include "apps/server/openai_parts.h"

#include <cmath>
#include <cstdio>
#include <ctime>

#include "apps/server/constraint_input.h"

namespace rowmax::server {

using text::Json;

namespace {

// FNV-1a.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ull;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3ull;
  return hash;
}

}  // namespace

AnswerHead answer_head(const ServedModel& served, std::string_view prefix, std::string_view body,
                       std::uint64_t number) {
  char text[48];
  std::snprintf(text, sizeof text, "%016llx%06llx", static_cast<unsigned long long>(hash_of(body)),
                static_cast<unsigned long long>(number));
  return {std::string(prefix) + text, static_cast<std::int64_t>(std::time(nullptr)), served.name, served.fingerprint};
}

Json head_json(const AnswerHead& head, std::string_view object) {
  return {{"id", head.id},
          {"object", object},
          {"created", head.created},
          {"model", head.model},
          {"system_fingerprint", head.fingerprint}};
}

Json usage_json(const AnswerTotals& totals) {
  return {{"prompt_tokens", totals.prompt_tokens},
          {"completion_tokens", totals.generated_tokens},
          {"total_tokens", totals.prompt_tokens + totals.generated_tokens},
          {"prompt_tokens_details", {{"cached_tokens", totals.cached_tokens}}},
          {"completion_tokens_details",
           {{"reasoning_tokens", totals.reasoning_tokens},
            {"accepted_prediction_tokens", totals.accepted_draft_tokens},
            {"rejected_prediction_tokens", totals.draft_tokens - totals.accepted_draft_tokens}}}};
}

Json timings_json(const AnswerTotals& totals) {
  const auto rate = [](std::int64_t n, double ms) { return ms > 0 ? static_cast<double>(n) * 1000 / ms : 0.0; };
  const std::int64_t computed = totals.prompt_tokens - totals.cached_tokens;
  Json json = {{"cache_n", totals.cached_tokens},
               {"prompt_n", computed},
               {"queued_ms", totals.queued_ms},
               {"prompt_ms", totals.prompt_ms},
               {"prompt_per_second", rate(computed, totals.prompt_ms)},
               {"first_token_ms", totals.first_token_ms},
               {"predicted_n", totals.generated_tokens},
               {"predicted_ms", totals.generation_ms},
               {"predicted_per_second", rate(totals.generated_tokens, totals.generation_ms)}};
  if (totals.draft_tokens > 0) {
    json.append("draft_n", totals.draft_tokens);
    json.append("draft_n_accepted", totals.accepted_draft_tokens);
  }
  return json;
}

bool was_cut(const AnswerChoice& choice) {
  return choice.reason == engine::StopReason::kLength || choice.reason == engine::StopReason::kContext;
}

const char* finish_reason(const AnswerChoice& choice) {
  if (was_cut(choice)) return "length";
  return choice.n_calls > 0 ? "tool_calls" : "stop";
}

std::string call_id(const AnswerHead& head, int choice, int call, const AnswerPart& part) {
  if (!part.id.empty()) return part.id;
  std::uint64_t rest = hash_of(head.id + "/" + std::to_string(choice) + "/" + std::to_string(call));
  std::string id;
  for (int i = 0; i < 9; ++i, rest /= 36) id += "0123456789abcdefghijklmnopqrstuvwxyz"[rest % 36];
  return id;
}

Json call_json(const AnswerHead& head, int choice, int call, const AnswerPart& part) {
  return {{"id", call_id(head, choice, call, part)},
          {"type", "function"},
          {"function", {{"name", part.name}, {"arguments", part.text}}}};
}

Json arguments_json(const AnswerPart& part) {
  const auto parsed = engine::parse_json(part.text, "arguments");
  return parsed.ok() ? copy_of(parsed->root()) : Json::object();
}

Json stop_reason_json(const AnswerChoice& choice) {
  return choice.stop_string.empty() ? Json() : Json(choice.stop_string);
}

Json rowmax_json(const SamplingInput& sampling, const AnswerTotals& totals) {
  Json json = {{"sampling", sampling.json()}};
  if (!totals.normalised.empty()) json.append("normalised", normalised_json(totals.normalised));
  if (totals.cache) json.append("cache", *totals.cache);
  if (!totals.tools_note.empty()) json.append("tools", totals.tools_note);
  return json;
}

Json rowmax_json(const SamplingInput& sampling, const AnswerTotals& totals, const AnswerChoice& choice) {
  Json json = rowmax_json(sampling, totals);
  if (!choice.not_understood.empty()) json.append("tool_calls", choice.not_understood);
  return json;
}

void add_not_understood(Json& json, const AnswerChoice& choice) {
  if (!choice.not_understood.empty()) json.append("rowmax", {{"tool_calls", choice.not_understood}});
}

std::string finished(Json head, Json choices, const AnswerTotals& totals, const SamplingInput& sampling) {
  head.append("choices", std::move(choices));
  head.append("usage", usage_json(totals));
  head.append("rowmax", rowmax_json(sampling, totals));
  head.append("timings", timings_json(totals));
  return head.dump();
}

std::string stream_end(const AnswerHead& head, std::string_view object, const AnswerTotals& totals,
                       bool include_usage) {
  std::string out;
  if (include_usage) {
    Json json = head_json(head, object);
    json.append("choices", Json::array());
    json.append("usage", usage_json(totals));
    json.append("timings", timings_json(totals));
    out += sse(json.dump());
  }
  return out + sse("[DONE]");
}

double written_log_probability(double value) { return std::isfinite(value) ? value : -9999.0; }

std::string token_bytes(const ServedModel& served, engine::TokenId id) {
  auto piece = served.tokenizer().piece(id, true);
  return piece.ok() ? std::move(piece).value() : std::string();
}

}  // namespace rowmax::server

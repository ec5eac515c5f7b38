// POST /v1/chat/completions
#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"
#include "apps/server/tool_input.h"

namespace rowmax::server {

using text::Json;

namespace {

constexpr int kMaxTopLogProbabilities = 20;

Json token_json(const ServedModel& served, engine::TokenId id, double log_probability) {
  const std::string bytes = token_bytes(served, id);
  Json numbers = Json::array();
  for (const char byte : bytes) numbers.push_back(static_cast<int>(static_cast<unsigned char>(byte)));
  return {{"id", id},
          {"token", bytes},
          {"logprob", written_log_probability(log_probability)},
          {"bytes", std::move(numbers)}};
}

class ChatForm final : public AnswerForm {
 public:
  ChatForm(const ServedModel& served, AnswerHead head, SamplingInput sampling, bool include_usage)
      : served_(served), head_(std::move(head)), sampling_(std::move(sampling)), include_usage_(include_usage) {}

  std::string whole(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    Json list = Json::array();
    for (std::size_t i = 0; i < choices.size(); ++i) {
      const AnswerChoice& choice = choices[i];
      Json one = {{"index", i},
                  {"message", message(static_cast<int>(i), choice)},
                  {"logprobs", choice.tokens.empty() ? Json() : log_probabilities(choice.tokens)},
                  {"finish_reason", finish_reason(choice)},
                  {"stop_reason", stop_reason_json(choice)}};
      add_not_understood(one, choice);
      list.push_back(std::move(one));
    }
    return finished(head_json(head_, "chat.completion"), std::move(list), totals, sampling_);
  }

  std::string opening(const AnswerTotals& totals, int n_choices) override {
    std::string out;
    for (int i = 0; i < n_choices; ++i) {
      Json json = chunk(i, {{"role", "assistant"}, {"content", Json()}}, Json(), Json());
      if (i == 0) json.append("rowmax", rowmax_json(sampling_, totals));
      out += sse(json.dump());
    }
    return out;
  }
  std::string piece(int choice, std::string_view text, const AnswerToken* token) override {
    Json logarithms = token == nullptr ? Json() : log_probabilities({*token});
    return sse(chunk(choice, {{"content", text}}, std::move(logarithms), Json()).dump());
  }
  std::string reasoning(int choice, std::string_view text) override {
    return sse(chunk(choice, {{"reasoning_content", text}}, Json(), Json()).dump());
  }
  std::string call_begin(int choice, int call, const AnswerPart& part) override {
    Json begun = {{"index", call}};
    begun.update(call_json(head_, choice, call, part));
    return call_chunk(choice, std::move(begun));
  }
  std::string call_arguments(int choice, int call, std::string_view json) override {
    return call_chunk(choice, {{"index", call}, {"function", {{"arguments", json}}}});
  }
  std::string choice_end(int choice, const AnswerChoice& end) override {
    Json json = chunk(choice, Json::object(), Json(), finish_reason(end));
    add_not_understood(json, end);
    return sse(json.dump());
  }
  std::string closing(const std::vector<AnswerChoice>& /*choices*/, const AnswerTotals& totals) override {
    return stream_end(head_, "chat.completion.chunk", totals, include_usage_);
  }
  std::string broken(const ApiError& error) override { return sse(error_body(error, ErrorStyle::kOpenAi)); }

 private:
  Json message(int index, const AnswerChoice& choice) const {
    Json calls = Json::array();
    int n_calls = 0;
    for (const AnswerPart& part : choice.parts) {
      if (part.kind == AnswerPart::Kind::kCall) calls.push_back(call_json(head_, index, n_calls++, part));
    }
    const std::string text = text_of(choice), thoughts = text_of(choice, AnswerPart::Kind::kReasoning);
    Json json = {
        {"role", "assistant"}, {"content", text.empty() && n_calls > 0 ? Json() : Json(text)}, {"refusal", Json()}};
    if (!thoughts.empty()) json.append("reasoning_content", thoughts);
    if (n_calls > 0) json.append("tool_calls", std::move(calls));
    return json;
  }

  std::string call_chunk(int choice, Json call) const {
    Json calls = Json::array();
    calls.push_back(std::move(call));
    return sse(chunk(choice, {{"tool_calls", std::move(calls)}}, Json(), Json()).dump());
  }

  Json chunk(int choice, Json delta, Json logarithms, Json reason) const {
    Json json = head_json(head_, "chat.completion.chunk");
    Json list = Json::array();
    list.push_back({{"index", choice},
                    {"delta", std::move(delta)},
                    {"logprobs", std::move(logarithms)},
                    {"finish_reason", std::move(reason)}});
    json.append("choices", std::move(list));
    if (include_usage_) json.append("usage", Json());
    return json;
  }

  Json log_probabilities(const std::vector<AnswerToken>& tokens) const {
    Json content = Json::array();
    for (const AnswerToken& token : tokens) {
      Json json = token_json(served_, token.id, token.log_probability.value_or(-9999.0));
      Json top = Json::array();
      for (const auto& other : token.top) top.push_back(token_json(served_, other.token, other.value));
      json.append("top_logprobs", std::move(top));
      content.push_back(std::move(json));
    }
    return {{"content", std::move(content)}, {"refusal", Json()}};
  }

  const ServedModel& served_;
  const AnswerHead head_;
  const SamplingInput sampling_;
  const bool include_usage_;
};

}  // namespace

void chat_completions(Call& call) {
  Fields& fields = call.fields;
  GenerationInput input = read_generation(fields, call.served, {"max_completion_tokens", "max_tokens"});
  const bool wants = fields.boolean("logprobs").value_or(false);
  const auto top = fields.integer("top_logprobs", 0, kMaxTopLogProbabilities);
  if (top.value_or(0) > 0 && !wants) {
    fields.fail({400, "top_logprobs: expected logprobs to be true with it", "top_logprobs", "invalid_value"});
  }
  input.work.options.log_probability = wants;
  input.work.options.top_log_probabilities = wants ? static_cast<int>(top.value_or(0)) : 0;
  ToolRequest tools;
  const engine::ChatInput chat = read_chat(fields, &tools);
  auto prompt = encode_messages(fields, call.served, chat, &input.texts.emplace_back());
  if (!prompt || !fits_context(fields, call.served, *prompt, "messages")) return call.refuse();
  apply_tools(fields, call.served, std::move(tools), input.texts.back().text, input);
  if (!fields.ok()) return call.refuse();
  input.prompts.push_back(std::move(*prompt));
  auto form = std::make_unique<ChatForm>(call.served, call.head("chatcmpl-"), input.sampling, input.include_usage);
  call.generate(std::move(input), std::move(form));
}

}  // namespace rowmax::server

// POST /v1/completions
#include <algorithm>

#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"

namespace rowmax::server {

using text::Json;

namespace {

constexpr int kMaxLogProbabilities = 20;
constexpr std::size_t kMaxPrompts = 128;

std::size_t n_characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

class CompletionForm final : public AnswerForm {
 public:
  CompletionForm(const ServedModel& served, AnswerHead head, const GenerationInput& input,
                 std::vector<std::string> echoed)
      : served_(served),
        head_(std::move(head)),
        sampling_(input.sampling),
        include_usage_(input.include_usage),
        echoed_(std::move(echoed)),
        per_prompt_(input.work.choices),
        written_(input.prompts.size() * static_cast<std::size_t>(per_prompt_), 0) {}

  std::string whole(const std::vector<AnswerChoice>& choices, const AnswerTotals& totals) override {
    Json list = Json::array();
    for (std::size_t i = 0; i < choices.size(); ++i) {
      const AnswerChoice& choice = choices[i];
      std::size_t offset = 0;
      list.push_back({{"index", i},
                      {"text", echo_of(static_cast<int>(i)) + text_of(choice)},
                      {"logprobs", choice.tokens.empty() ? Json() : log_probabilities(choice.tokens, offset)},
                      {"finish_reason", finish_reason(choice)},
                      {"stop_reason", stop_reason_json(choice)}});
    }
    return finished(head_json(head_, "text_completion"), std::move(list), totals, sampling_);
  }

  std::string opening(const AnswerTotals& totals, int n_choices) override {
    std::string out;
    for (int i = 0; i < n_choices; ++i) {
      Json json = chunk(i, echo_of(i), Json(), Json());
      if (i == 0) json.append("rowmax", rowmax_json(sampling_, totals));
      out += sse(json.dump());
    }
    return out;
  }
  std::string prompt_scored(int choice, const std::vector<AnswerToken>& tokens) override {
    return sse(chunk(choice, "", log_probabilities(tokens, written_[static_cast<std::size_t>(choice)]), Json()).dump());
  }
  std::string piece(int choice, std::string_view text, const AnswerToken* token) override {
    Json logarithms =
        token == nullptr ? Json() : log_probabilities({*token}, written_[static_cast<std::size_t>(choice)]);
    return sse(chunk(choice, text, std::move(logarithms), Json()).dump());
  }
  std::string choice_end(int choice, const AnswerChoice& end) override {
    return sse(chunk(choice, "", Json(), finish_reason(end)).dump());
  }
  std::string closing(const std::vector<AnswerChoice>& /*choices*/, const AnswerTotals& totals) override {
    return stream_end(head_, "text_completion", totals, include_usage_);
  }
  std::string broken(const ApiError& error) override { return sse(error_body(error, ErrorStyle::kOpenAi)); }

 private:
  std::string echo_of(int choice) const {
    return echoed_.empty() ? std::string() : echoed_[static_cast<std::size_t>(choice / per_prompt_)];
  }

  Json chunk(int choice, std::string_view text, Json logarithms, Json reason) const {
    Json json = head_json(head_, "text_completion");
    Json list = Json::array();
    list.push_back(
        {{"index", choice}, {"text", text}, {"logprobs", std::move(logarithms)}, {"finish_reason", std::move(reason)}});
    json.append("choices", std::move(list));
    if (include_usage_) json.append("usage", Json());
    return json;
  }

  // offset: characters before the first of them; moved behind the last.
  Json log_probabilities(const std::vector<AnswerToken>& tokens, std::size_t& offset) const {
    Json ids = Json::array(), texts = Json::array(), values = Json::array(), tops = Json::array(),
         offsets = Json::array();
    for (const AnswerToken& token : tokens) {
      const std::string bytes = token_bytes(served_, token.id);
      ids.push_back(token.id);
      texts.push_back(bytes);
      values.push_back(token.log_probability ? Json(written_log_probability(*token.log_probability)) : Json());
      Json top = token.top.empty() ? Json() : Json::object();
      for (const auto& other : token.top) {
        top[token_bytes(served_, other.token)] = Json(written_log_probability(other.value));
      }
      tops.push_back(std::move(top));
      offsets.push_back(offset);
      offset += n_characters(bytes);
    }
    return {{"token_ids", std::move(ids)},
            {"tokens", std::move(texts)},
            {"token_logprobs", std::move(values)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
  }

  const ServedModel& served_;
  const AnswerHead head_;
  const SamplingInput sampling_;
  const bool include_usage_;
  const std::vector<std::string> echoed_;
  const int per_prompt_;
  std::vector<std::size_t> written_;  // characters of tokens so far, of each choice
};

// A prompt is a text or an array of token ids.
class PromptReader {
 public:
  PromptReader(Fields& fields, const ServedModel& served) : fields_(fields), served_(served) {
    special_ = fields.boolean("parse_special").value_or(true);
    bos_ = fields.boolean("add_special_tokens").value_or(true);
  }

  void read() {
    const engine::Json value = fields_.any("prompt");
    if (value.is_null()) return fields_.fail_missing("prompt", "a text, token ids, or an array of them");
    const bool many = value.is_array() && value.size() > 0 && !value.at(0).is_number();
    if (!many) return add(value);
    if (value.size() > kMaxPrompts) return fields_.fail("prompt", "at most 128 prompts", value);
    for (const engine::Json each : value.elements()) {
      if (fields_.ok()) add(each);
    }
  }

  std::vector<std::vector<engine::TokenId>> prompts;
  std::vector<std::string> texts;

 private:
  void add(engine::Json value) {
    if (value.is_string()) return add_text(value.as_string());
    if (!value.is_array()) return fields_.fail("prompt", "a text, token ids, or an array of them", value);
    std::vector<engine::TokenId> ids;
    const std::int64_t n_vocab = served_.model->shape().n_vocab;
    for (const engine::Json id : value.elements()) {
      const auto number = id.as_int();
      if (!number || *number < 0 || *number >= n_vocab) {
        return fields_.fail("prompt", "token ids 0 to " + std::to_string(n_vocab - 1), id);
      }
      ids.push_back(static_cast<engine::TokenId>(*number));
    }
    if (!fits_context(fields_, served_, ids, "prompt")) return;
    auto text = served_.tokenizer().decode(ids, false);
    texts.push_back(text.ok() ? std::move(text).value() : std::string());
    prompts.push_back(std::move(ids));
  }

  void add_text(std::string_view text) {
    auto ids =
        bos_ ? engine::encode_prompt(*served_.model, text, special_) : served_.tokenizer().encode(text, special_);
    if (!ids.ok()) return fields_.fail(api_error(ids.error()));
    if (!fits_context(fields_, served_, *ids, "prompt")) return;
    texts.emplace_back(text);
    prompts.push_back(std::move(ids).value());
  }

  Fields& fields_;
  const ServedModel& served_;
  bool special_ = true, bos_ = true;
};

void refuse_unsupported(Fields& fields, int n) {
  const auto best = fields.integer("best_of", 1, 128);
  if (best && *best != n) fields.fail_unsupported("best_of", "only the value of n is supported");
  if (const auto suffix = fields.string("suffix"); suffix && !suffix->empty()) {
    fields.fail_unsupported("suffix", "text behind the answer is not supported");
  }
}

}  // namespace

void completions(Call& call) {
  Fields& fields = call.fields;
  GenerationInput input = read_generation(fields, call.served, {"max_tokens", "max_completion_tokens", "n_predict"});
  refuse_unsupported(fields, input.work.choices);
  const auto wanted = fields.integer("logprobs", 0, kMaxLogProbabilities);
  const bool echo = fields.boolean("echo").value_or(false);
  input.work.options.log_probability = wanted.has_value();
  input.work.options.top_log_probabilities = static_cast<int>(wanted.value_or(0));
  input.work.prompt_log_probability = echo && wanted;
  input.work.prompt_top_log_probabilities = echo ? input.work.options.top_log_probabilities : 0;
  PromptReader reader(fields, call.served);
  if (fields.ok()) reader.read();
  if (!fields.ok()) return call.refuse();
  input.prompts = std::move(reader.prompts);
  for (const std::string& text : reader.texts) input.texts.push_back(plain_prompt_text(text));
  auto form = std::make_unique<CompletionForm>(call.served, call.head("cmpl-"), input,
                                               echo ? std::move(reader.texts) : std::vector<std::string>());
  call.generate(std::move(input), std::move(form));
}

}  // namespace rowmax::server

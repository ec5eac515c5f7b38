#include "rowmax/engine/generate.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

#include "base/guarded.h"
#include "engine/runtime/text_stream.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Status check(const Session& session, std::span<const TokenId> prompt, const GenerateOptions& options) {
  if (prompt.empty()) return Error{ErrorCode::kInvalidArgument, "prompt: expected at least one token, found none"};
  for (const std::string& stop : options.stop) {
    if (stop.empty()) return Error{ErrorCode::kInvalidArgument, "stop: expected a text, found an empty one"};
  }
  if (options.max_tokens < -1) {
    return Error{ErrorCode::kInvalidArgument,
                 "max_tokens: expected -1 or more, found " + std::to_string(options.max_tokens)};
  }
  if (static_cast<std::int64_t>(prompt.size()) > session.context()) {
    return Error{ErrorCode::kLimit, "prompt of " + std::to_string(prompt.size()) +
                                        " tokens does not fit the context of " + std::to_string(session.context())};
  }
  return {};
}

constexpr std::size_t kPromptPiece = 480;  // a multiple of the batches that sessions compute

Status compute(Session& session, SequenceId sequence, std::span<const TokenId> tokens, LogitsFor logits) {
  const BatchItem item{sequence, tokens, logits};
  return session.forward({&item, 1});
}

}  // namespace

const char* stop_reason_name(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::kEos: return "eos";
    case StopReason::kLength: return "length";
    case StopReason::kStop: return "stop";
    case StopReason::kContext: return "context";
    case StopReason::kCancelled: return "cancelled";
  }
  return "unknown";
}

static Result<Generation> generate_tokens(Session& session, SequenceId sequence, std::span<const TokenId> prompt,
                                          const GenerateOptions& options, const TextSink& sink) {
  ROWMAX_RETURN_IF_ERROR(check(session, prompt, options));
  const Tokenizer& tokenizer = session.model().tokenizer();
  ROWMAX_TRY(sampler, Sampler::create(options.sampling, session.model().shape().n_vocab));
  for (TokenId token : prompt) ROWMAX_RETURN_IF_ERROR(sampler.accept(token));

  Generation result;
  GenerateTimings& timings = result.timings;
  const Clock::time_point start = Clock::now();
  ROWMAX_TRY(cached, session.reuse(sequence, prompt));
  timings.prompt_tokens = static_cast<std::int64_t>(prompt.size());
  timings.cached_tokens = cached;
  result.reason = StopReason::kLength;
  if (options.max_tokens == 0) return result;
  // In pieces, so that a long prompt can be cancelled; the pieces change no bit.
  for (std::size_t at = static_cast<std::size_t>(cached); at < prompt.size(); at += kPromptPiece) {
    if (options.cancelled && options.cancelled()) {
      result.reason = StopReason::kCancelled;
      return result;
    }
    const std::size_t n = std::min(kPromptPiece, prompt.size() - at);
    const bool last = at + n == prompt.size();
    ROWMAX_RETURN_IF_ERROR(
        compute(session, sequence, prompt.subspan(at, n), last ? LogitsFor::kLast : LogitsFor::kNone));
  }
  timings.prompt_ms = ms_since(start);

  TextStream stream(options.stop, sink);
  Clock::time_point first_token = start;
  for (;;) {
    auto token = sampler.sample(session.logits(0));
    if (!token.ok()) {
      return Error{token.error().code,
                   "step " + std::to_string(result.tokens.size()) + " of the generation: " + token.error().message};
    }
    if (timings.first_token_ms == 0) {
      timings.first_token_ms = ms_since(start);
      first_token = Clock::now();
    }
    if (!options.ignore_eos && tokenizer.is_end_of_generation(*token)) {
      result.reason = StopReason::kEos;
      break;
    }
    result.tokens.push_back(*token);
    ROWMAX_RETURN_IF_ERROR(sampler.accept(*token));
    ROWMAX_TRY(piece, tokenizer.piece(*token, false));
    const TextStream::State state = stream.push(piece);
    if (state != TextStream::State::kOpen) {
      result.reason = state == TextStream::State::kStopped ? StopReason::kStop : StopReason::kCancelled;
      break;
    }
    if (options.max_tokens >= 0 && static_cast<std::int64_t>(result.tokens.size()) >= options.max_tokens) break;
    if (static_cast<std::int64_t>(session.tokens(sequence).size()) >= session.context()) {
      result.reason = StopReason::kContext;
      break;
    }
    if (options.cancelled && options.cancelled()) {
      result.reason = StopReason::kCancelled;
      break;
    }
    ROWMAX_RETURN_IF_ERROR(compute(session, sequence, {&*token, 1}, LogitsFor::kLast));
  }
  if (!stream.finish() && result.reason != StopReason::kStop) result.reason = StopReason::kCancelled;
  timings.generate_ms = ms_since(first_token);
  timings.generated_tokens = static_cast<std::int64_t>(result.tokens.size());
  result.text = stream.take_text();
  result.stop_string = stream.stop_string();
  return result;
}

Result<std::vector<TokenId>> encode_prompt(const Model& model, std::string_view text, bool parse_special) {
  return base::guarded([&]() -> Result<std::vector<TokenId>> {
    const Tokenizer& tokenizer = model.tokenizer();
    ROWMAX_TRY(ids, tokenizer.encode(text, parse_special));
    if (tokenizer.add_bos() && tokenizer.bos() >= 0 && (ids.empty() || ids.front() != tokenizer.bos())) {
      ids.insert(ids.begin(), tokenizer.bos());
    }
    return ids;
  });
}

static Result<std::vector<TokenId>> encode_messages(const Model& model, const ChatTemplate& chat_template,
                                                    std::span<const ChatMessage> messages, bool add_generation_prompt,
                                                    std::int64_t now, std::string* rendered) {
  const Tokenizer& tokenizer = model.tokenizer();
  std::vector<TemplateValue> list;
  for (const ChatMessage& message : messages) {
    list.push_back(TemplateValue::make_dict(
        {{"role", TemplateValue::of(message.role)}, {"content", TemplateValue::of(message.content)}}));
  }
  const auto token_text = [&](TokenId id) {
    return TemplateValue::of(id >= 0 ? std::string(tokenizer.text(id)) : std::string());
  };
  const TemplateValue globals =
      TemplateValue::make_dict({{"messages", TemplateValue::make_list(std::move(list))},
                                {"add_generation_prompt", TemplateValue::of(add_generation_prompt)},
                                {"bos_token", token_text(tokenizer.bos())},
                                {"eos_token", token_text(tokenizer.eos())}});
  ROWMAX_TRY(pieces, chat_template.render_pieces(globals, now));
  std::vector<TextPart> parts;
  if (rendered != nullptr) rendered->clear();
  for (const TemplatePiece& piece : pieces) {
    parts.push_back({piece.text, !piece.from_user});
    if (rendered != nullptr) *rendered += piece.text;
  }
  ROWMAX_TRY(ids, tokenizer.encode(parts));
  // The template may write BOS, the tokenizer's flag may ask for it: one is right, two shift every position.
  const TokenId bos = tokenizer.bos();
  if (bos >= 0) {
    if (tokenizer.add_bos() && (ids.empty() || ids.front() != bos)) ids.insert(ids.begin(), bos);
    while (tokenizer.add_bos() && ids.size() > 1 && ids[0] == bos && ids[1] == bos) ids.erase(ids.begin());
  }
  return ids;
}

Result<Generation> generate(Session& session, SequenceId sequence, std::span<const TokenId> prompt,
                            const GenerateOptions& options, const TextSink& sink) {
  return base::guarded([&] { return generate_tokens(session, sequence, prompt, options, sink); });
}

Result<std::vector<TokenId>> encode_chat(const Model& model, const ChatTemplate& chat_template,
                                         std::span<const ChatMessage> messages, bool add_generation_prompt,
                                         std::int64_t now, std::string* rendered) {
  return base::guarded(
      [&] { return encode_messages(model, chat_template, messages, add_generation_prompt, now, rendered); });
}

}  // namespace rowmax::engine

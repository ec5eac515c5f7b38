// POST /rowmax/attention: which tokens one token looks at, as the attention library weighs them.
#include <algorithm>

#include "apps/server/attention_look.h"
#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"

namespace rowmax::server {

using text::Json;

namespace {

constexpr std::size_t kMostListed = 4096;  // layers, or heads

// The whole prompt; the position says whose row it is.
struct Look {
  std::vector<engine::TokenId> tokens;
  std::int64_t position = 0;
  AttentionWish wish;
};

class LookListener final : public engine::RequestListener {
 public:
  LookListener(const ServedModel& served, std::shared_ptr<Exchange> exchange, std::shared_ptr<AttentionLook> seen,
               Look look)
      : served_(served), exchange_(std::move(exchange)), seen_(std::move(seen)), look_(std::move(look)) {}

  void ended(engine::RequestId /*id*/, engine::RequestEnd end) override {
    if (exchange_->gone()) return;
    if (!end.status.ok()) {
      const bool stopped = end.status.error().code == ErrorCode::kCancelled;
      return refuse(stopped ? ApiError{503, "the server is shutting down", "", "shutting_down"}
                            : api_error(end.status.error()));
    }
    if (const auto error = seen_->error()) return refuse(*error);
    exchange_->send({.body = answer(end).dump()});
  }

 private:
  void refuse(const ApiError& error) { exchange_->send(error_answer(error, ErrorStyle::kOpenAi)); }

  Json answer(const engine::RequestEnd& end) const {
    Json pieces = Json::array();
    for (const engine::TokenId id : look_.tokens) pieces.push_back(token_bytes(served_, id));
    return {{"object", "rowmax.attention"},
            {"model", served_.name},
            {"system_fingerprint", served_.fingerprint},
            {"tokens", look_.tokens},
            {"pieces", std::move(pieces)},
            {"position", look_.position},
            {"layers", seen_->layers_json()},
            {"overview", seen_->overview_json()},
            {"cached_tokens", end.cached_tokens},
            {"prompt_ms", end.prompt_ms}};
  }

  const ServedModel& served_;
  const std::shared_ptr<Exchange> exchange_;
  const std::shared_ptr<AttentionLook> seen_;
  const Look look_;
};

std::vector<std::int64_t> read_numbers(Fields& fields, const char* name, std::int64_t n) {
  std::vector<std::int64_t> numbers;
  const engine::Json list = fields.array(name);
  const std::string expected = "different integers from 0 to " + std::to_string(n - 1);
  if (list.size() > kMostListed) fields.fail(name, "at most 4096 numbers", list);
  for (const engine::Json each : list.elements()) {
    if (!fields.ok()) break;
    const auto number = each.as_int();
    if (!number || *number < 0 || *number >= n) {
      fields.fail(name, expected, each);
    } else if (std::ranges::find(numbers, *number) != numbers.end()) {
      const std::string found = ", found " + std::to_string(*number) + " twice";
      fields.fail({400, name + (": expected " + expected) + found, name, "invalid_value"});
    } else {
      numbers.push_back(*number);
    }
  }
  return numbers;
}

std::vector<engine::TokenId> read_ids(Fields& fields, const ServedModel& served) {
  std::vector<engine::TokenId> ids;
  const std::int64_t n_vocab = served.model->shape().n_vocab;
  for (const engine::Json each : fields.array("tokens").elements()) {
    const auto id = each.as_int();
    if (!id || *id < 0 || *id >= n_vocab) {
      fields.fail("tokens", "token ids 0 to " + std::to_string(n_vocab - 1), each);
      break;
    }
    ids.push_back(static_cast<engine::TokenId>(*id));
  }
  return ids;
}

// Of tokens, prompt or messages, one of which must be there.
std::vector<engine::TokenId> read_tokens(Fields& fields, const ServedModel& served) {
  std::vector<engine::TokenId> ids;
  int n_given = 0;
  for (const char* name : {"tokens", "prompt", "messages"}) n_given += fields.any(name).is_null() ? 0 : 1;
  if (n_given != 1) {
    fields.fail({400, "expected one of tokens, prompt and messages, found " + std::to_string(n_given), "tokens",
                 "invalid_value"});
    return ids;
  }
  const char* name = "tokens";
  if (!fields.any("messages").is_null()) {
    name = "messages";
    auto encoded = encode_messages(fields, served, read_chat(fields), nullptr);
    if (encoded) ids = std::move(*encoded);
  } else if (const auto text = fields.string("prompt")) {
    name = "prompt";
    auto encoded = engine::encode_prompt(*served.model, *text, fields.boolean("parse_special").value_or(true));
    if (!encoded.ok()) fields.fail(api_error(encoded.error()));
    if (encoded.ok()) ids = std::move(encoded).value();
  } else {
    ids = read_ids(fields, served);
  }
  if (fields.ok()) (void)fits_context(fields, served, ids, name);
  return ids;
}

HeadReduction read_reduction(Fields& fields) {
  const auto name = fields.string("reduce").value_or("none");
  if (name == "mean") return HeadReduction::kMean;
  if (name == "max") return HeadReduction::kMax;
  if (name != "none") fields.fail("reduce", "\"none\", \"mean\" or \"max\"", fields.any("reduce"));
  return HeadReduction::kNone;
}

Look read_look(Fields& fields, const ServedModel& served) {
  Look look;
  look.tokens = read_tokens(fields, served);
  if (!fields.ok()) return look;
  const engine::ModelShape& shape = served.model->shape();
  const std::int64_t n = std::ssize(look.tokens);
  const std::int64_t position = fields.integer("position", -n, n - 1).value_or(-1);
  look.position = position < 0 ? n + position : position;
  if (fields.array("layers").is_array()) look.wish.layers = read_numbers(fields, "layers", shape.n_layer);
  look.wish.heads = read_numbers(fields, "heads", static_cast<std::int64_t>(kMostListed));
  if (fields.array("heads").is_array() && look.wish.heads.empty()) {
    fields.fail("heads", "one or more of them", fields.any("heads"));
  }
  look.wish.reduce = read_reduction(fields);
  look.wish.key = fields.integer("key", 0, look.position);
  // What can be known before it is computed; layers with fewer heads are counted when they are seen.
  const std::int64_t n_rows = look.wish.reduce == HeadReduction::kNone ? std::ssize(look.wish.heads) : 1;
  const std::int64_t n_layers = look.wish.layers ? std::ssize(*look.wish.layers) : 0;
  const std::int64_t n_weights = n_layers * n_rows * (look.position + 1);
  if (fields.ok() && n_weights > kMostWeights) fields.fail(too_many_weights(n_weights));
  return look;
}

}  // namespace

void attention(Call& call) {
  const ServedModel& served = call.served;
  Look look = read_look(call.fields, served);
  if (!call.fields.ok()) return call.refuse();
  const auto seen = std::make_shared<AttentionLook>(std::move(look.wish));
  std::vector<engine::TokenId> prompt(look.tokens.begin(), look.tokens.begin() + look.position + 1);
  auto listener = std::make_unique<LookListener>(served, call.exchange, seen, std::move(look));
  const auto id = served.scheduler->submit({std::move(prompt), engine::ObserveRequest{seen}, std::move(listener),
                                            page_owner(call.owner, served.history->number())});
  if (!id.ok()) return call.refuse(submit_error(id.error()));
  call.exchange->when_gone([&served, id = *id] { (void)served.scheduler->cancel(id); });
}

}  // namespace rowmax::server

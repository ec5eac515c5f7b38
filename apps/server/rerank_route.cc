// POST /v1/rerank: how much documents have to do with a query, as Jina's and Cohere's APIs ask for it.
#include <algorithm>
#include <numeric>
#include <utility>

#include "apps/server/constraint_input.h"
#include "apps/server/embed_all.h"
#include "apps/server/openai_parts.h"
#include "apps/server/routes.h"

namespace rowmax::server {

using text::Json;

namespace {

constexpr std::size_t kMaxDocuments = 2048;

// A text, or an object that has it; the texts are views of the request.
std::vector<std::string_view> read_documents(Fields& fields) {
  const engine::Json documents = fields.needed_array("documents");
  if (fields.ok() && (documents.size() == 0 || documents.size() > kMaxDocuments)) {
    fields.fail("documents", "1 to 2048 texts", documents);
  }
  std::vector<std::string_view> texts;
  if (!fields.ok()) return texts;
  for (const engine::Json each : documents.elements()) {
    const engine::Json text = each.is_object() ? each.find("text") : each;
    if (!text.is_string()) {
      fields.fail("documents", "texts, or objects with a text", each);
      break;
    }
    texts.push_back(text.as_string());
  }
  return texts;
}

// The most relevant first; of equal ones the first.
std::vector<std::size_t> order_of(const std::vector<double>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  return order;
}

}  // namespace

// The scores are those of a head that was trained for it: what embeddings have in common is another number, and none is
// made up here.
void rerank(Call& call) {
  Fields& fields = call.fields;
  const ServedModel& served = call.served;
  const std::string_view query = fields.needed_string("query");
  const std::vector<std::string_view> documents = read_documents(fields);
  const auto top = fields.integer("top_n", 1, std::int64_t{1} << 30);
  const bool shown = fields.boolean("return_documents").value_or(false);
  if (!fields.ok()) return call.refuse();
  if (!served.rank) return call.refuse({501, served.no_rank, "model", "not_supported"});
  std::vector<std::vector<engine::TokenId>> inputs;
  for (std::size_t i = 0; i < documents.size() && fields.ok(); ++i) {
    auto ids = served.rank->encode(query, documents[i]);
    if (!ids.ok()) return call.refuse(api_error(ids.error()));
    const std::string name = "documents[" + std::to_string(i) + "]";
    if (fits_context(fields, served, *ids, name.c_str())) inputs.push_back(std::move(ids).value());
  }
  if (!fields.ok()) return call.refuse();
  std::vector<std::string> texts;
  if (shown) texts.assign(documents.begin(), documents.end());
  const std::size_t n = std::min(documents.size(), static_cast<std::size_t>(top.value_or(kMaxDocuments)));
  auto answer = [&served, n, texts = std::move(texts), id = call.head("rerank-").id](
                    const std::vector<std::vector<float>>& states, std::int64_t n_tokens) -> Json {
    std::vector<double> scores;
    for (const std::vector<float>& state : states) scores.push_back(served.rank->score(state));
    Json results = Json::array();
    const std::vector<std::size_t> order = order_of(scores);
    for (std::size_t k = 0; k < n; ++k) {
      Json result = {{"index", order[k]}, {"relevance_score", scores[order[k]]}};
      if (!texts.empty()) result.append("document", {{"text", texts[order[k]]}});
      results.push_back(std::move(result));
    }
    return {{"id", id},
            {"object", "list"},
            {"model", served.name},
            {"results", std::move(results)},
            {"meta", {{"tokens", {{"input_tokens", n_tokens}}}}},
            {"usage", {{"prompt_tokens", n_tokens}, {"total_tokens", n_tokens}}}};
  };
  embed_all(served, call.exchange, std::move(inputs), {.pooling = engine::Pooling::kLast, .normalize = false},
            std::move(answer));
}

}  // namespace rowmax::server

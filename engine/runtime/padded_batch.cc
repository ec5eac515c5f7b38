#include "rowmax/engine/padded_batch.h"

#include <algorithm>
#include <string>

#include "base/guarded.h"
#include "engine/runtime/own_sequences.h"
#include "rowmax/engine/sampler.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// As in score(): logits of a whole batch of texts with a large vocabulary would take gigabytes.
constexpr std::int64_t kRowsAtATime = 64;

// Where the text of a row lies: [begin, begin + tokens.size()) of its columns.
struct PaddedText {
  std::int64_t begin = 0;
  std::span<const TokenId> tokens;
};

Result<std::vector<PaddedText>> find_texts(const PaddedBatch& batch) {
  const auto bad = [](const std::string& what) { return Error::invalid_argument("padded batch: " + what); };
  if (batch.ids.size() != batch.mask.size()) {
    return bad("expected as many ids as numbers of the mask, found " + std::to_string(batch.ids.size()) + " and " +
               std::to_string(batch.mask.size()));
  }
  if (batch.ids.empty()) return std::vector<PaddedText>();
  if (batch.width < 1 || batch.ids.size() % static_cast<std::size_t>(batch.width) != 0) {
    return bad("expected whole rows of " + std::to_string(batch.width) + " columns, found " +
               std::to_string(batch.ids.size()) + " ids");
  }
  const auto width = static_cast<std::size_t>(batch.width);
  std::vector<PaddedText> texts;
  for (std::size_t row = 0; row < batch.ids.size() / width; ++row) {
    const auto mask = batch.mask.subspan(row * width, width);
    std::size_t begin = width, end = 0;
    for (std::size_t column = 0; column < width; ++column) {
      const std::string where = "row " + std::to_string(row) + ", column " + std::to_string(column) + ": ";
      if (mask[column] > 1) return bad(where + "expected 0 or 1 in the mask, found " + std::to_string(mask[column]));
      if (mask[column] == 0) continue;
      if (begin < width && column != end) {
        return bad(where + "a token behind a hole in the mask: padding stands before or behind a text, not within it");
      }
      begin = std::min(begin, column);
      end = column + 1;
    }
    if (begin == width) begin = end = 0;
    texts.push_back({static_cast<std::int64_t>(begin), batch.ids.subspan(row * width + begin, end - begin)});
  }
  return texts;
}

Status check_context(const Session& session, std::span<const PaddedText> texts) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (std::ssize(texts[i].tokens) <= session.context()) continue;
    return Error{ErrorCode::kLimit, "text " + std::to_string(i) + ": " + std::to_string(texts[i].tokens.size()) +
                                        " tokens, the context is " + std::to_string(session.context())};
  }
  return {};
}

// The tokens of a text whose predictions lie in columns [from, to): its last one predicts nothing.
std::span<const TokenId> predicting(const PaddedText& text, std::int64_t from, std::int64_t to) {
  const std::int64_t n = std::max<std::int64_t>(0, std::ssize(text.tokens) - 1);
  const std::int64_t begin = std::clamp<std::int64_t>(from - text.begin, 0, n);
  const std::int64_t end = std::clamp<std::int64_t>(to - text.begin, 0, n);
  return text.tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
}

Result<std::vector<TextScore>> score_columns(Session& session, std::span<const PaddedText> texts) {
  ROWMAX_RETURN_IF_ERROR(check_context(session, texts));
  OwnSequences sequences(session);
  ROWMAX_RETURN_IF_ERROR(sequences.open(texts.size(), texts.size()));
  std::vector<TextScore> scores(texts.size());
  std::int64_t width = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    scores[i].n_tokens = std::ssize(texts[i].tokens);
    width = std::max(width, texts[i].begin + scores[i].n_tokens);
  }
  const std::int64_t columns = std::max<std::int64_t>(1, kRowsAtATime / std::max<std::int64_t>(1, std::ssize(texts)));
  std::vector<BatchItem> items;
  std::vector<std::size_t> owners;  // of the items
  for (std::int64_t column = 0; column < width; column += columns) {
    items.clear();
    owners.clear();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto tokens = predicting(texts[i], column, column + columns);
      if (tokens.empty() || !scores[i].status.ok()) continue;
      items.push_back({sequences[i], tokens, LogitsFor::kAll});
      owners.push_back(i);
    }
    if (items.empty()) continue;
    const Status computed = session.forward(items);
    if (session.item_status().size() != items.size()) return computed.error();
    std::int64_t row = 0;
    for (std::size_t k = 0; k < items.size(); ++k) {
      TextScore& score = scores[owners[k]];
      score.status = session.item_status()[k];
      for (std::int64_t n = std::ssize(items[k].tokens); n > 0; --n, ++row) {
        if (!score.status.ok()) continue;
        const TokenId next = texts[owners[k]].tokens[score.log_probs.size() + 1];
        score.log_probs.push_back(log_probability(session.logits(row), next));
      }
    }
  }
  for (TextScore& score : scores) {
    score.n_scored = std::ssize(score.log_probs);
    double sum = 0;
    for (const double value : score.log_probs) sum -= value;
    if (score.n_scored > 0) score.nll = sum / static_cast<double>(score.n_scored);
  }
  return scores;
}

}  // namespace

Result<std::vector<BatchItem>> unpad(const PaddedBatch& batch, std::span<const SequenceId> sequences,
                                     LogitsFor logits) {
  return base::guarded([&]() -> Result<std::vector<BatchItem>> {
    ROWMAX_TRY(texts, find_texts(batch));
    if (texts.size() != sequences.size()) {
      return Error::invalid_argument("padded batch: expected a sequence for each of the " +
                                     std::to_string(texts.size()) + " rows, found " + std::to_string(sequences.size()));
    }
    std::vector<BatchItem> items;
    for (std::size_t i = 0; i < texts.size(); ++i) items.push_back({sequences[i], texts[i].tokens, logits});
    return items;
  });
}

Result<std::vector<TextScore>> score_padded(Session& session, const PaddedBatch& batch) {
  return base::guarded([&]() -> Result<std::vector<TextScore>> {
    ROWMAX_TRY(texts, find_texts(batch));
    return score_columns(session, texts);
  });
}

Result<std::vector<TextScore>> score_texts(Session& session, std::span<const std::span<const TokenId>> texts) {
  return base::guarded([&] {
    std::vector<PaddedText> placed;
    for (const std::span<const TokenId> text : texts) placed.push_back({0, text});
    return score_columns(session, placed);
  });
}

}  // namespace rowmax::engine

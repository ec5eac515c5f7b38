#include "rowmax/engine/embed.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "base/fp_env.h"
#include "base/guarded.h"
#include "engine/runtime/own_sequences.h"
#include "rowmax/engine/chat.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// rows: those of the session's states from `first` on.
std::vector<float> pooled(const Session& session, std::int64_t first, std::int64_t n_row, bool normalize) {
  PooledStates states(session.model().shape().n_embd);
  for (std::int64_t row = first; row < first + n_row; ++row) states.add(session.states(row));
  return states.vector(normalize);
}

// Why a text has no embedding, as far as it shows beforehand.
Status check(const Session& session, std::span<const TokenId> text) {
  if (text.empty()) return Error::invalid_argument("a text to embed: expected at least one token, found none");
  if (std::ssize(text) <= session.context()) return {};
  return Error{ErrorCode::kLimit,
               std::to_string(text.size()) + " tokens, the context is " + std::to_string(session.context())};
}

Result<std::vector<TextEmbedding>> embed_all(Session& session, std::span<const std::span<const TokenId>> texts,
                                             const EmbedOptions& options) {
  std::vector<TextEmbedding> out(texts.size());
  OwnSequences sequences(session);
  std::size_t together = std::max<std::size_t>(texts.size(), 1);
  ROWMAX_RETURN_IF_ERROR(sequences.open(together, 1));
  together = sequences.size();
  for (std::size_t next = 0; next < texts.size();) {
    std::vector<BatchItem> items;
    std::vector<std::size_t> owners;  // of the items
    for (; next < texts.size() && items.size() < together; ++next) {
      out[next].status = check(session, texts[next]);
      if (!out[next].status.ok()) continue;
      // No token sees those behind it: the first is what it is by itself.
      const auto tokens = options.pooling == Pooling::kCls ? texts[next].first(1) : texts[next];
      const SequenceId sequence = sequences[items.size()];
      ROWMAX_TRY(left, session.truncate(sequence, 0));
      items.push_back({.sequence = sequence,
                       .tokens = tokens,
                       .logits = options.pooling == Pooling::kMean ? LogitsFor::kAll : LogitsFor::kLast,
                       .states = true});
      if (left != 0) return Error::invalid_argument("embed: a sequence could not be emptied");
      owners.push_back(next);
    }
    if (items.empty()) continue;
    const Status computed = session.forward(items);
    if (session.item_status().size() != items.size()) return computed.error();
    std::int64_t row = 0;
    bool any = false;
    for (std::size_t i = 0; i < items.size(); ++i) {
      TextEmbedding& embedding = out[owners[i]];
      embedding.status = session.item_status()[i];
      const std::int64_t n = n_state_rows(items[i]);
      if (embedding.status.ok()) embedding.values = pooled(session, row, n, options.normalize);
      any = any || embedding.status.ok();
      row += n;
    }
    // One that found no room behind others is tried again in front of them.
    const auto refused = std::ranges::find_if(
        owners, [&](std::size_t i) { return !out[i].status.ok() && out[i].status.error().code == ErrorCode::kLimit; });
    if (refused != owners.end() && *refused != owners.front() && any) next = *refused;
  }
  return out;
}

}  // namespace

void PooledStates::add(std::span<const float> state) noexcept {
  const base::ScopedFpEnv environment;
  for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += static_cast<double>(state[i]);
  ++n_;
}

std::vector<float> PooledStates::vector(bool normalize) const {
  const base::ScopedFpEnv environment;
  double squares = 0;
  std::vector<double> mean = sum_;
  for (double& value : mean) {
    value /= static_cast<double>(n_);
    squares += value * value;
  }
  const double length = normalize && squares > 0 ? std::sqrt(squares) : 1;
  std::vector<float> out;
  for (const double value : mean) out.push_back(static_cast<float>(value / length));
  return out;
}

const char* pooling_name(Pooling pooling) noexcept {
  return pooling == Pooling::kMean ? "mean" : pooling == Pooling::kCls ? "cls" : "last";
}

Result<Pooling> pooling_of(const Model& model) { return pooling_of(model.file(), model.description()); }

Result<Pooling> pooling_of(const GgufFile& file, const ModelDescription& description) {
  return base::guarded([&]() -> Result<Pooling> {
    const std::string place = file.name() + ": key '" + description.architecture + ".pooling_type'";
    const std::int64_t found = description.pooling_type;
    if (found == 0) {
      const bool named = file.find(description.architecture + ".pooling_type") != nullptr;
      return Error{ErrorCode::kNotFound,
                   place + (named ? ": expected 1 (mean), 2 (cls) or 3 (last), found 0 (none)" : " is missing")};
    }
    if (found <= 3) return static_cast<Pooling>(found);
    return Error{ErrorCode::kUnsupported,
                 place + ": expected 1 (mean), 2 (cls) or 3 (last), found " + std::to_string(found)};
  });
}

Result<std::vector<TokenId>> encode_for_embedding(const Model& model, std::string_view text) {
  return base::guarded([&]() -> Result<std::vector<TokenId>> {
    ROWMAX_TRY(ids, encode_prompt(model, text, false));
    const Tokenizer& tokenizer = model.tokenizer();
    if (tokenizer.add_eos() && (ids.empty() || ids.back() != tokenizer.eos())) ids.push_back(tokenizer.eos());
    return ids;
  });
}

Result<std::vector<TextEmbedding>> embed(Session& session, std::span<const std::span<const TokenId>> texts,
                                         const EmbedOptions& options) {
  return base::guarded([&] { return embed_all(session, texts, options); });
}

}  // namespace rowmax::engine

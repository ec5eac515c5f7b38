#include "apps/cli/score_texts.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

#include "apps/cli/interrupt.h"
#include "apps/cli/json_output.h"
#include "apps/cli/jsonl_texts.h"
#include "engine/io/json.h"
#include "rowmax/engine/padded_batch.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

// As a data loader would hand it over.
struct Rectangle {
  Rectangle(std::span<const TokenText> texts, bool left) {
    for (const TokenText& text : texts) width = std::max(width, std::ssize(text.tokens));
    for (const TokenText& text : texts) {
      const std::size_t n_pad = static_cast<std::size_t>(width) - text.tokens.size();
      const std::size_t begin = ids.size() + (left ? n_pad : 0);
      ids.resize(ids.size() + static_cast<std::size_t>(width), 0);
      mask.resize(ids.size(), 0);
      std::ranges::copy(text.tokens, ids.begin() + static_cast<std::ptrdiff_t>(begin));
      std::fill_n(mask.begin() + static_cast<std::ptrdiff_t>(begin), text.tokens.size(), std::uint8_t{1});
    }
  }
  std::vector<engine::TokenId> ids;
  std::vector<std::uint8_t> mask;
  std::int64_t width = 1;  // texts without tokens are rows of padding
};

Result<std::vector<engine::TextScore>> score_batch(engine::Session& session, std::span<const TokenText> texts,
                                                   const std::string& padding) {
  if (padding == "none") {
    std::vector<std::span<const engine::TokenId>> views;
    for (const TokenText& text : texts) views.emplace_back(text.tokens);
    return engine::score_texts(session, views);
  }
  const Rectangle rectangle(texts, padding == "left");
  return engine::score_padded(session, {rectangle.ids, rectangle.mask, rectangle.width});
}

}  // namespace

Status score_texts(const Engine& engine, const ScoreTextsFlags& flags, engine::SessionOptions options,
                   const DebugFlags& debug_flags) {
  ROWMAX_TRY(texts, read_jsonl_texts(flags.file, *engine.model, [&](std::string_view text) {
               return engine::encode_prompt(*engine.model, text, false);
             }));
  options.max_sequences = static_cast<int>(std::clamp<std::int64_t>(std::ssize(texts), 1, flags.batch));
  options.reuse_prefixes = false;
  options.checkpoint_bytes = 0;
  ROWMAX_TRY(session, open_session(*engine.model, options, *engine.executor, "--ctx"));
  ROWMAX_TRY(debug, debug_observer(debug_flags, session));
  session.set_observer(debug.get());
  for (const TokenText& text : texts) {
    if (std::ssize(text.tokens) <= session.context()) continue;
    return Error{ErrorCode::kLimit, text.name + ": " + std::to_string(text.tokens.size()) + " tokens, the context is " +
                                        std::to_string(session.context()) + " (-c)"};
  }
  for (std::size_t first = 0; first < texts.size(); first += static_cast<std::size_t>(flags.batch)) {
    if (interrupted()) return Error{ErrorCode::kCancelled, "interrupted"};
    const auto part =
        std::span(texts).subspan(first, std::min(static_cast<std::size_t>(flags.batch), texts.size() - first));
    auto scores = score_batch(session, part, flags.padding);
    if (!scores.ok()) return with_file(std::move(scores).error(), *engine.model);
    for (std::size_t i = 0; i < part.size(); ++i) {
      const engine::TextScore& score = (*scores)[i];
      if (!score.status.ok())
        return Error{score.status.error().code, part[i].name + ": " + score.status.error().message};
      ROWMAX_RETURN_IF_ERROR(print_json({{"index", first + i}, {"n_scored", score.n_scored}, {"nll", score.nll}}));
    }
  }
  return {};
}

}  // namespace rowmax::cli

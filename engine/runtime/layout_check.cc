#include "rowmax/engine/layout_check.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/math/f64.h"
#include "rowmax/engine/generate.h"
#include "rowmax/engine/session.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// As plain as can be: a model of a narrow kind of text (the story model) must know it as well as one of all the web.
constexpr std::string_view kText =
    "Once upon a time, there was a little girl named Lily. She lived in a small white house at the edge of the forest. "
    "Lily liked to play with her ball. One day, her friend Tom came to the door. \"Let us play,\" said Tom. Lily was "
    "so happy that she danced. They played until dinner.";
constexpr std::size_t kTokens = 48;  // at most
constexpr std::size_t kFirst = 8;    // tokens that are not scored: they have hardly any context

// A model that knows something of the language stays below this share of chance. Trained ones have 0.2 to 0.7, a
// permuted one has more than 1, random weights have 1 or more.
constexpr double kBadShare = 0.9;
constexpr double kLeastGain = 1.0;  // nats a token that a better layout must win

Result<double> mean_loss(const Model& model, Executor& executor) {
  ROWMAX_TRY(tokens, encode_prompt(model, kText, false));
  if (tokens.size() > kTokens) tokens.resize(kTokens);
  if (tokens.size() < kFirst + 2) return std::numeric_limits<double>::infinity();
  SessionOptions options;
  options.context = static_cast<std::int64_t>(tokens.size());
  ROWMAX_TRY(session, Session::create(model, options, executor));
  ROWMAX_TRY(sequence, session.open());
  const BatchItem item{sequence, tokens, LogitsFor::kAll};
  const Status status = session.forward({&item, 1});
  if (!status.ok() && status.error().code == ErrorCode::kNumericFault) return std::numeric_limits<double>::infinity();
  ROWMAX_RETURN_IF_ERROR(status);
  double sum = 0.0;
  for (std::size_t i = kFirst; i + 1 < tokens.size(); ++i) {
    sum -= log_probability(session.logits(static_cast<std::int64_t>(i)), tokens[i + 1]);
  }
  return sum / static_cast<double>(tokens.size() - 1 - kFirst);
}

Result<Model> load_as(const OpenFile& open, const ModelOptions& options, Executor& executor) {
  GgufOptions gguf = options.gguf;
  TokenizerOptions ignored;
  ROWMAX_RETURN_IF_ERROR(edit_options(options.edits, gguf, ignored));
  ROWMAX_TRY(file, open(gguf));
  return Model::load(std::move(file), options, executor);
}

// The loss with the tensors read as `layout`; infinite where they cannot be.
Result<double> loss_as(ModelOptions options, std::string_view layout, const OpenFile& open, Executor& executor) {
  options.gguf.formats.emplace_back(layout);
  const auto load = [&]() -> Result<double> {
    ROWMAX_TRY(other, load_as(open, options, executor));
    return mean_loss(other, executor);
  };
  auto loss = load();
  if (!loss.ok() && loss.error().code != ErrorCode::kOutOfMemory) return std::numeric_limits<double>::infinity();
  return loss;
}

Result<LayoutCheck> find_better_layout(Model& model, const OpenFile& open, Executor& executor) {
  LayoutCheck check;
  ROWMAX_TRY(doubts, gguf_layout_doubts(model.file()));
  if (doubts.empty()) return check;
  check.taken = doubts.front().taken;
  check.chance = base::log_f64(static_cast<double>(model.shape().n_vocab));
  ROWMAX_TRY(loss, mean_loss(model, executor));
  check.loss = loss;
  if (loss <= kBadShare * check.chance) return check;
  const ModelOptions options = model.options();
  { const Model given_up = std::move(model); }
  double best = std::min(loss - kLeastGain, kBadShare * check.chance);
  for (const GgufLayoutDoubt& doubt : doubts) {
    ROWMAX_TRY(other_loss, loss_as(options, doubt.other, open, executor));
    if (other_loss >= best) continue;
    best = other_loss;
    check.taken = doubt.taken;
    check.better = doubt.other;
    check.better_loss = other_loss;
  }
  ROWMAX_TRY(again, load_as(open, options, executor));
  model = std::move(again);
  return check;
}

}  // namespace

Result<LayoutCheck> check_layout(Model& model, const OpenFile& open, Executor& executor) {
  return base::guarded([&] { return find_better_layout(model, open, executor); });
}

}  // namespace rowmax::engine

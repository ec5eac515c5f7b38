// Generation as steps: what is to be computed next, and what becomes of the logits. The caller runs the session, so that
// any number of generations share one batch:
//
//   std::vector<BatchItem> items;
//   for (Generation& g : running) items.push_back(*g.pending(room));
//   const Status status = session.forward(items);
//   if (session.item_status().empty()) return status;  // as a whole; else each item has a status of its own
//   std::int64_t row = 0;
//   for (std::size_t i = 0; i < items.size(); ++i) {
//     bool mine = session.item_status()[i].ok();
//     for (std::int64_t k = 0; k < n_logit_rows(items[i]); ++k, ++row) {
//       if (mine) mine = running[i].accept(session.logits(row))->next_row;
//     }
//   }
//
// With drafts that are a tree a generation has an item for each of its chains (pending_items()), and the rows of the
// steps are found by their numbers among all rows of its items:
//
//   for (std::int64_t k = 0; mine; k = step.row) {
//     step = *g.accept(session.logits(row + k));
//     mine = step.next_row;
//   }
//
// A generation pauses by not being called between an accept() and the next pending(). What it does is a function of the
// prompt and the options alone (bit for bit): not of the batch, the pieces of the prompt, pauses, or drafts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rowmax/engine/sampler.h"
#include "rowmax/engine/session.h"
#include "rowmax/result.h"

namespace rowmax::engine {

enum class StopReason : std::uint8_t { kEos, kLength, kStop, kContext, kCancelled };
const char* stop_reason_name(StopReason reason) noexcept;  // "eos", "length", "stop", "context", "cancelled"

// Marks the tokens that may come next, in a bitmap that is all zeros when it is called: bit id % 64 of word id / 64.
// generated: the tokens behind the prompt so far. What that means for sampling: Sampler::sample. A token that ends the
// generation (end-of-generation, stop_tokens) needs its bit, too. An error ends the accept() that asked.
using TokenMask = std::function<Status(std::span<const TokenId> generated, std::span<std::uint64_t> allowed)>;

struct GenerationOptions {
  std::int64_t max_tokens = -1;  // -1: until the context is full
  SamplingParams sampling;
  std::vector<std::string> stop;     // the text ends before the first of these
  std::vector<TokenId> stop_tokens;  // each ends the text, and is no part of it
  std::vector<TokenId>
      text_tokens;          // control tokens that are part of the text, by their stored text: marks of tool calls
  bool ignore_eos = false;  // end-of-generation tokens are tokens like others
  TokenMask token_mask;     // empty: every token is allowed
  // Natural logarithms of the model's own distribution: the softmax of the logits as they are, over the whole
  // vocabulary, before bias, penalties, mask and temperature. Computed as in score().
  bool log_probability = false;   // of each chosen token
  int top_log_probabilities = 0;  // and of this many of the likeliest; ties go to the lowest id
};

// kInvalidArgument naming the option, its range and what was found, those of sampling among them.
Status validate(const GenerationOptions& options, std::int64_t n_vocab);

struct TokenLogProbability {
  TokenId token = 0;
  double value = 0;
};
// Of a row of logits: that of `token`, and of the n_top likeliest (0 to n_vocab), as GenerationOptions has them.
struct LogProbabilities {
  double value = 0;
  std::vector<TokenLogProbability> top;
};
LogProbabilities log_probabilities(std::span<const float> logits, TokenId token, int n_top);

struct GenerationStep {
  TokenId token = 0;  // sampled; not part of tokens() where it ended the generation (kEos, a stop token)
  std::string text;   // what became certain: whole UTF-8 characters, never part of a possible stop string; may be empty
  // A draft's next token was this one: another row of the same forward() (of a chain the next one) is the next step.
  bool next_row = false;
  std::int64_t row = 0;  // which one that is, of all rows of the generation's items
  bool done = false;
  StopReason reason = StopReason::kEos;                    // when done
  double log_probability = 0;                              // of token, when asked for
  std::vector<TokenLogProbability> top_log_probabilities;  // likeliest first, when asked for
};

// Used from the session's thread; several generations of one session do not touch each other.
class Generation {
 public:
  // prompt: the whole conversation as ids, at least one; what the cache already holds of it is reused. The session must
  // outlive the generation and stay where it is, and the sequence is the generation's until it is done. kInvalidArgument
  // for an option outside its range, kLimit for a prompt that does not fit the context.
  static Result<Generation> start(Session& session, SequenceId sequence, std::span<const TokenId> prompt,
                                  GenerationOptions options);
  Generation(Generation&&) noexcept;
  Generation& operator=(Generation&&) noexcept;
  ~Generation();

  // What forward() is to compute next: at most this many tokens (one or more), valid until the next call of the
  // generation. An item without logits (kNone) is a piece of the prompt, or of what must be computed again, and is
  // followed by another pending(). Asked again before accept(), or after a forward() that failed, it gives the same
  // tokens again, in other pieces perhaps. kInvalidArgument when done.
  // Of a tree it is the longest chain.
  Result<BatchItem> pending(std::int64_t at_most = 480);

  // The same with all chains of a tree of drafts, one item each, to be computed in one forward(). The first is the longest
  // chain, for the generation's own sequence; each other one is for a fork of it (Session::fork), which the generation
  // opens here and closes when its drafts turn out wrong, when it is asked again, or with itself. The accepted chain's
  // takes the place of the generation's sequence, whose id stays. A chain for which at_most, the sequences of the session
  // or kv_budget_bytes have no room is left out, and so are those behind it; without room for a fork the longest chain is
  // left. Forks take room from other sequences in the same batch, whose items may then be refused. An item of a fork
  // that fails is a chain that was wrong.
  // Each item computes the whole way to its leaf: a tree costs the tokens of its chains, one more for each of them, and a
  // copy of the last pages and the recurrent state for each fork. What else is missing (the prompt, tokens to be computed
  // again) comes before, in items without logits.
  Result<std::span<const BatchItem>> pending_items(std::int64_t at_most = 480);

  // Speculation: guesses at the tokens that follow the last accepted one, to be computed with it. accept() samples as
  // without them; as long as a guess is what was sampled, the next row is known already. Guesses that were not are
  // taken back, which changes time alone (a model with recurrent layers computes some tokens again). They hold for the
  // next pending() that gives logits, as far as it has room. Returns how many are taken: those behind the context or
  // max_tokens are left out. kInvalidArgument for an id outside the vocabulary, or when done.
  Result<std::int64_t> propose(std::span<const TokenId> draft);
  // A tree of guesses: parents[i] is the guess before draft[i], an earlier one, or -1: the last accepted token. Chains
  // that are equal, or the beginning of another, are computed once. Returns how many guesses are not behind the context or
  // max_tokens. Errors as above, and kInvalidArgument where there are more or fewer parents than guesses or a parent is no
  // earlier guess.
  Result<std::int64_t> propose(std::span<const TokenId> draft, std::span<const std::int32_t> parents);

  // The next token, from one row of logits: [n_vocab]. The first row of the first item belongs to the last token before
  // the drafts; as long as next_row says so, another one, of a draft, comes next. kInvalidArgument without a forward() of
  // pending(), when done or when the mask allows no token; kNumericFault for a logit that is not finite; the generation
  // is as before then.
  Result<GenerationStep> accept(std::span<const float> logits);

  // Goes on with another sequence of its session, which holds a beginning of its tokens, or nothing: what is missing is
  // computed there, and nothing else changes. The one before is the caller's again, and may be closed already.
  // kInvalidArgument for a sequence that holds other tokens, or when done.
  Status continue_on(SequenceId sequence);

  // Ends it (kCancelled) and returns the text that was held back.
  Result<std::string> cancel();

  bool done() const noexcept;
  StopReason reason() const noexcept;                // when done
  const std::string& stop_string() const noexcept;   // for kStop by a text, else empty
  std::span<const TokenId> tokens() const noexcept;  // accepted, without one that ended it; valid until the next call
  std::int64_t prompt_tokens() const noexcept;
  std::int64_t cached_tokens() const noexcept;  // of the prompt, at the start
  SequenceId sequence() const noexcept;

 private:
  struct Impl;
  explicit Generation(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax::engine

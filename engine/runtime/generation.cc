#include "rowmax/engine/generation.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include "base/guarded.h"
#include "engine/runtime/log_softmax.h"
#include "engine/runtime/text_stream.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

Status check(const GenerationOptions& options, std::int64_t n_vocab) {
  for (const std::string& stop : options.stop) {
    if (stop.empty()) return Error::invalid_argument("stop: expected a text, found an empty one");
  }
  for (const TokenId token : options.stop_tokens) {
    if (token >= 0 && token < n_vocab) continue;
    return Error::invalid_argument("stop_tokens: expected token ids 0 to " + std::to_string(n_vocab - 1) + ", found " +
                                   std::to_string(token));
  }
  if (options.max_tokens < -1) {
    return Error::invalid_argument("max_tokens: expected -1 or more, found " + std::to_string(options.max_tokens));
  }
  if (options.top_log_probabilities < 0 || options.top_log_probabilities > n_vocab) {
    return Error::invalid_argument("top_log_probabilities: expected 0 to " + std::to_string(n_vocab) + ", found " +
                                   std::to_string(options.top_log_probabilities));
  }
  return {};
}

Status check(const Session& session, std::span<const TokenId> prompt, const GenerationOptions& options) {
  if (prompt.empty()) return Error::invalid_argument("prompt: expected at least one token, found none");
  ROWMAX_RETURN_IF_ERROR(check(options, session.model().shape().n_vocab));
  if (static_cast<std::int64_t>(prompt.size()) > session.context()) {
    return Error::limit("prompt of " + std::to_string(prompt.size()) + " tokens does not fit the context of " +
                        std::to_string(session.context()));
  }
  return {};
}

// The n highest logits, ties to the lowest id.
std::vector<TokenLogProbability> likeliest(std::span<const float> logits, std::size_t n, const LogSoftmax& softmax) {
  std::vector<TokenId> ids(logits.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<TokenId>(i);
  const auto end = ids.begin() + static_cast<std::ptrdiff_t>(n);
  std::partial_sort(ids.begin(), end, ids.end(), [&](TokenId a, TokenId b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  });
  std::vector<TokenLogProbability> top;
  for (auto id = ids.begin(); id != end; ++id) top.push_back({*id, softmax.of(logits[static_cast<std::size_t>(*id)])});
  return top;
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

Status validate(const GenerationOptions& options, std::int64_t n_vocab) {
  return base::guarded([&]() -> Status {
    ROWMAX_RETURN_IF_ERROR(check(options, n_vocab));
    return validate(options.sampling, n_vocab);
  });
}

LogProbabilities log_probabilities(std::span<const float> logits, TokenId token, int n_top) {
  const LogSoftmax softmax(logits);
  return {softmax.of(logits[static_cast<std::size_t>(token)]),
          likeliest(logits, static_cast<std::size_t>(n_top), softmax)};
}

// What is computed is read from the session alone: the sequence holds a prefix of `tokens`, and behind all of them, after
// a forward() with drafts, the drafts. So a batch that failed and a truncate() that went far back need no bookkeeping.
struct Generation::Impl {
  struct Fork {
    SequenceId sequence;
    std::int64_t first_row;
  };

  Session* session;
  SequenceId sequence;
  GenerationOptions options;
  Sampler sampler;
  TextStream stream;
  std::vector<TokenId> tokens;  // the prompt, and what was accepted
  std::size_t n_prompt;
  std::int64_t cached = 0;
  std::vector<std::vector<TokenId>> chains = {};  // of drafts, the longest first
  // What pending_items() gave: the first for the sequence, the others for forks; and its tokens, where drafts are among
  // them.
  std::vector<BatchItem> items = {};
  std::vector<std::vector<TokenId>> item_tokens = {};
  std::vector<Fork> forks = {};  // whose drafts were right so far
  std::int64_t first_row = 0;    // of the sequence's chain
  std::int64_t n_right = 0;      // drafts
  std::vector<std::uint64_t> allowed = {};
  bool done = false;
  StopReason reason = StopReason::kEos;

  ~Impl() { close_forks(); }

  std::span<const TokenId> generated() const { return std::span(tokens).subspan(n_prompt); }
  std::span<const TokenId> computed() const { return session->tokens(sequence); }
  std::int64_t n_vocab() const { return session->model().shape().n_vocab; }

  Status check_running(const char* call) const {
    if (!done) return {};
    return Error::invalid_argument(std::string(call) + ": the generation is done (" + stop_reason_name(reason) + ")");
  }

  void close_forks() {
    for (const Fork& fork : forks) session->close(fork.sequence);
    forks.clear();
  }

  Result<std::span<const BatchItem>> pending(std::int64_t at_most, std::size_t most_items) {
    ROWMAX_RETURN_IF_ERROR(check_running("pending"));
    if (at_most < 1) {
      return Error::invalid_argument("pending: expected room for a token or more, found " + std::to_string(at_most));
    }
    // Logits that nobody accepted are gone.
    close_forks();
    if (computed().size() >= tokens.size()) {
      ROWMAX_RETURN_IF_ERROR(drop(tokens.size() - 1));
    }
    items.clear();
    item_tokens.clear();
    first_row = n_right = 0;
    const std::span<const TokenId> rest = std::span(tokens).subspan(computed().size());
    const auto n_rest = static_cast<std::int64_t>(rest.size());
    // Before a tree all but the last token is computed once, not by each chain.
    const bool is_tree = most_items > 1 && chains.size() > 1;
    const std::int64_t piece = is_tree && n_rest > 1 ? std::min(n_rest - 1, at_most) : at_most;
    if (n_rest > piece) {
      items.push_back({sequence, rest.first(static_cast<std::size_t>(piece)), LogitsFor::kNone});
    } else if (chains.empty() || n_rest == at_most) {
      items.push_back({sequence, rest, LogitsFor::kLast});
    } else {
      ROWMAX_RETURN_IF_ERROR(add_chains(rest, at_most, most_items));
    }
    return std::span<const BatchItem>(items);
  }

  Status add_chains(std::span<const TokenId> rest, std::int64_t room, std::size_t most_items) {
    std::int64_t row = 0;
    forks.reserve(chains.size());
    for (const std::vector<TokenId>& chain : chains) {
      const std::int64_t n_draft = std::min(room - std::ssize(rest), std::ssize(chain));
      SequenceId id = sequence;
      if (!items.empty()) {
        if (items.size() == most_items || n_draft < std::ssize(chain)) break;
        const auto fork = session->fork(sequence);
        if (!fork.ok() && fork.error().code == ErrorCode::kLimit) break;
        if (!fork.ok()) return fork.error();
        forks.push_back({*fork, row});
        id = *fork;
      }
      std::vector<TokenId>& part = item_tokens.emplace_back(rest.begin(), rest.end());
      part.insert(part.end(), chain.begin(), chain.begin() + n_draft);
      items.push_back({id, part, LogitsFor::kLast, n_draft});
      const Status there = items.size() > 1 ? session->check_room(items) : Status();
      if (!there.ok()) {
        if (there.error().code != ErrorCode::kLimit) return there;
        items.pop_back();
        session->close(id);
        forks.pop_back();
        break;
      }
      row += 1 + n_draft;
      room -= std::ssize(part);
    }
    return {};
  }

  Status drop(std::size_t n) {
    const auto kept = session->truncate(sequence, static_cast<std::int64_t>(n));
    return kept.ok() ? Status() : Status(kept.error());
  }

  Result<std::int64_t> propose(std::span<const TokenId> draft, std::span<const std::int32_t> parents) {
    ROWMAX_RETURN_IF_ERROR(check_running("propose"));
    if (parents.size() != draft.size()) {
      return Error::invalid_argument("propose: parents: expected one for each of " + std::to_string(draft.size()) +
                                     " tokens, found " + std::to_string(parents.size()));
    }
    for (std::size_t i = 0; i < draft.size(); ++i) {
      if (draft[i] < 0 || draft[i] >= n_vocab()) {
        return Error::invalid_argument("propose: draft[" + std::to_string(i) + "]: expected token ids 0 to " +
                                       std::to_string(n_vocab() - 1) + ", found " + std::to_string(draft[i]));
      }
      if (parents[i] < -1 || parents[i] >= static_cast<std::int64_t>(i)) {
        return Error::invalid_argument("propose: parents[" + std::to_string(i) +
                                       "]: expected -1 or an earlier token, " + "found " + std::to_string(parents[i]));
      }
    }
    std::int64_t most = session->context() - std::ssize(tokens);
    // The row behind n guesses gives token n + 1.
    if (options.max_tokens >= 0) most = std::min(most, options.max_tokens - std::ssize(generated()) - 1);
    return grow_chains(draft, parents, most);
  }

  // The ways to the leaves of the tree, down to depth `most`; how many of its tokens that are.
  std::int64_t grow_chains(std::span<const TokenId> draft, std::span<const std::int32_t> parents, std::int64_t most) {
    std::vector<std::int64_t> depths(draft.size());
    std::vector<bool> is_leaf(draft.size());
    std::int64_t n = 0;
    for (std::size_t i = 0; i < draft.size(); ++i) {
      const auto parent = static_cast<std::size_t>(parents[i]);
      depths[i] = parents[i] < 0 ? 1 : depths[parent] + 1;
      if (depths[i] > most) continue;
      ++n;
      is_leaf[i] = true;
      if (parents[i] >= 0) is_leaf[parent] = false;
    }
    std::vector<std::vector<TokenId>> grown;
    for (std::size_t i = 0; i < draft.size(); ++i) {
      if (!is_leaf[i]) continue;
      std::vector<TokenId> chain(static_cast<std::size_t>(depths[i]));
      auto at = static_cast<std::int32_t>(i);
      for (auto token = chain.rbegin(); token != chain.rend(); ++token) {
        *token = draft[static_cast<std::size_t>(at)];
        at = parents[static_cast<std::size_t>(at)];
      }
      const auto begins = [](const std::vector<TokenId>& a, const std::vector<TokenId>& b) {
        return a.size() <= b.size() && std::equal(a.begin(), a.end(), b.begin());
      };
      if (std::ranges::any_of(grown, [&](const auto& other) { return begins(chain, other); })) continue;
      std::erase_if(grown, [&](const auto& other) { return begins(other, chain); });
      grown.push_back(std::move(chain));
    }
    const auto longest = std::ranges::max_element(grown, {}, &std::vector<TokenId>::size);
    if (longest != grown.end()) std::rotate(grown.begin(), longest, longest + 1);
    chains = std::move(grown);
    return n;
  }

  Result<TokenId> sample(std::span<const float> logits) {
    if (options.token_mask) {
      allowed.assign((static_cast<std::size_t>(n_vocab()) + 63) / 64, 0);
      ROWMAX_RETURN_IF_ERROR(options.token_mask(generated(), allowed));
    }
    return sampler.sample(logits, allowed);
  }

  bool ends(TokenId token) {
    if (!options.ignore_eos && session->model().tokenizer().is_end_of_generation(token)) {
      finish(StopReason::kEos);
    } else if (std::ranges::find(options.stop_tokens, token) != options.stop_tokens.end()) {
      finish(StopReason::kStop);
    }
    return done;
  }

  Status append(TokenId token) {
    const bool is_text = std::ranges::find(options.text_tokens, token) != options.text_tokens.end();
    ROWMAX_TRY(piece, session->model().tokenizer().piece(token, is_text));
    tokens.reserve(tokens.size() + 1);
    ROWMAX_RETURN_IF_ERROR(sampler.accept(token));
    tokens.push_back(token);
    if (stream.push(piece)) {
      finish(StopReason::kStop);
    } else if (options.max_tokens >= 0 && std::ssize(generated()) >= options.max_tokens) {
      finish(StopReason::kLength);
    } else if (std::ssize(tokens) > session->context()) {
      finish(StopReason::kContext);
    }
    return {};
  }

  void finish(StopReason why) {
    done = true;
    reason = why;
    stream.finish();
  }

  // Whether the sequence has computed the token at `position` as it was accepted.
  bool is_right(SequenceId id, std::size_t position) const {
    const std::span<const TokenId> held = session->tokens(id);
    return position < tokens.size() && position < held.size() && held[position] == tokens[position];
  }

  // Keeps the drafts that were accepted and takes the others back. True when the next row is known.
  Result<bool> settle(std::size_t held_before) {
    if (computed().size() == held_before && forks.empty()) return false;  // no drafts
    bool right = is_right(sequence, held_before);
    for (std::size_t i = 0; i < forks.size() && !right; ++i) {
      if (!is_right(forks[i].sequence, held_before)) continue;
      ROWMAX_RETURN_IF_ERROR(session->swap(sequence, forks[i].sequence));
      std::swap(first_row, forks[i].first_row);
      right = true;
    }
    std::erase_if(forks, [&](const Fork& fork) {
      if (right && !done && is_right(fork.sequence, held_before)) return false;
      session->close(fork.sequence);
      return true;
    });
    const std::size_t n = held_before + (right ? 1 : 0);
    ROWMAX_RETURN_IF_ERROR(session->confirm(sequence, static_cast<std::int64_t>(n)));
    n_right += right;
    if (right && !done) return true;
    ROWMAX_RETURN_IF_ERROR(drop(n));
    return false;
  }

  Result<GenerationStep> accept(std::span<const float> logits) {
    ROWMAX_RETURN_IF_ERROR(check_running("accept"));
    if (computed().size() < tokens.size()) {
      return Error::invalid_argument("accept: " + std::to_string(tokens.size() - computed().size()) +
                                     " tokens of the generation are not computed: forward() what pending() gives");
    }
    if (std::ssize(logits) != n_vocab()) {
      return Error::invalid_argument("accept: expected a row of " + std::to_string(n_vocab()) + " logits, found " +
                                     std::to_string(logits.size()));
    }
    auto token = sample(logits);
    if (!token.ok()) {
      return Error{token.error().code,
                   "step " + std::to_string(generated().size()) + " of the generation: " + token.error().message};
    }
    GenerationStep step;
    step.token = *token;
    if (options.log_probability || options.top_log_probabilities > 0) {
      LogProbabilities found = log_probabilities(logits, *token, options.top_log_probabilities);
      step.log_probability = found.value;
      step.top_log_probabilities = std::move(found.top);
    }
    const std::size_t held_before = tokens.size();
    chains.clear();
    if (!ends(*token)) ROWMAX_RETURN_IF_ERROR(append(*token));
    ROWMAX_TRY(next_row, settle(held_before));
    step.next_row = next_row;
    if (next_row) step.row = first_row + n_right;
    step.text = stream.take();
    step.done = done;
    step.reason = reason;
    return step;
  }

  Status continue_on(SequenceId other) {
    ROWMAX_RETURN_IF_ERROR(check_running("continue_on"));
    const std::span<const TokenId> held = session->tokens(other);
    if (held.size() > tokens.size() || !std::equal(held.begin(), held.end(), tokens.begin())) {
      return Error::invalid_argument("continue_on: sequence " + std::to_string(other) + " holds other tokens");
    }
    close_forks();
    items.clear();
    item_tokens.clear();
    first_row = n_right = 0;
    sequence = other;
    return {};
  }

  Result<std::string> cancel() {
    if (done) return std::string();
    finish(StopReason::kCancelled);
    close_forks();
    if (computed().size() > tokens.size()) ROWMAX_RETURN_IF_ERROR(drop(tokens.size()));
    return stream.take();
  }
};

Generation::Generation(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Generation::Generation(Generation&&) noexcept = default;
Generation& Generation::operator=(Generation&&) noexcept = default;
Generation::~Generation() = default;

Result<Generation> Generation::start(Session& session, SequenceId sequence, std::span<const TokenId> prompt,
                                     GenerationOptions options) {
  return base::guarded([&]() -> Result<Generation> {
    ROWMAX_RETURN_IF_ERROR(check(session, prompt, options));
    ROWMAX_TRY(sampler, Sampler::create(options.sampling, session.model().shape().n_vocab));
    for (const TokenId token : prompt) ROWMAX_RETURN_IF_ERROR(sampler.accept(token));
    TextStream stream(options.stop);
    std::unique_ptr<Impl> impl(new Impl{&session,
                                        sequence,
                                        std::move(options),
                                        std::move(sampler),
                                        std::move(stream),
                                        {prompt.begin(), prompt.end()},
                                        prompt.size()});
    ROWMAX_TRY(cached, session.reuse(sequence, prompt));
    impl->cached = cached;
    if (impl->options.max_tokens == 0) impl->finish(StopReason::kLength);
    return Generation(std::move(impl));
  });
}

Result<BatchItem> Generation::pending(std::int64_t at_most) {
  return base::guarded([&]() -> Result<BatchItem> {
    ROWMAX_TRY(items, impl_->pending(at_most, 1));
    return items.front();
  });
}
Result<std::span<const BatchItem>> Generation::pending_items(std::int64_t at_most) {
  return base::guarded([&] { return impl_->pending(at_most, static_cast<std::size_t>(at_most)); });
}
Result<std::int64_t> Generation::propose(std::span<const TokenId> draft) {
  return base::guarded([&] {
    std::vector<std::int32_t> parents(draft.size());
    std::iota(parents.begin(), parents.end(), -1);
    return impl_->propose(draft, parents);
  });
}
Result<std::int64_t> Generation::propose(std::span<const TokenId> draft, std::span<const std::int32_t> parents) {
  return base::guarded([&] { return impl_->propose(draft, parents); });
}
Result<GenerationStep> Generation::accept(std::span<const float> logits) {
  return base::guarded([&] { return impl_->accept(logits); });
}
Status Generation::continue_on(SequenceId sequence) {
  return base::guarded([&] { return impl_->continue_on(sequence); });
}
Result<std::string> Generation::cancel() {
  return base::guarded([&] { return impl_->cancel(); });
}

bool Generation::done() const noexcept { return impl_->done; }
StopReason Generation::reason() const noexcept { return impl_->reason; }
const std::string& Generation::stop_string() const noexcept { return impl_->stream.stop_string(); }
std::span<const TokenId> Generation::tokens() const noexcept { return impl_->generated(); }
std::int64_t Generation::prompt_tokens() const noexcept { return static_cast<std::int64_t>(impl_->n_prompt); }
std::int64_t Generation::cached_tokens() const noexcept { return impl_->cached; }
SequenceId Generation::sequence() const noexcept { return impl_->sequence; }

}  // namespace rowmax::engine

// Where a request left what the cache had of its prompt, and why: it is compared with the prompts before it.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "apps/server/prompt_text.h"
#include "apps/text/json.h"
#include "rowmax/engine/scheduler.h"

namespace rowmax::server {

// Whose a request is: the number of its API key, 0 where the server asks for none.
struct PromptOwner {
  std::size_t key = 0;
  // Requests of one key may see what the others asked. Not so where anybody may ask without one.
  bool is_one = true;
};

// Who shares pages to the token with that one's request, whose number is its own among all (PromptHistory::number).
constexpr std::uint64_t page_owner(PromptOwner owner, std::uint64_t number) noexcept {
  return owner.is_one ? owner.key : number | std::uint64_t{1} << 63;
}

// Where two prompts part.
struct PromptDifference {
  std::int64_t token = 0;  // of the prompt, the first that differs
  // Of the text; none where the texts are the same and were cut into other tokens.
  std::optional<std::size_t> byte;
  // "message", "tools", "template", "date" (of the template's clock), "text", "answer" (what was generated before), "end"
  // (one of them ends there), "tokens".
  std::string where;
  std::int64_t message = -1;  // of "message"
  std::string role;
  std::string cached, now;  // a few words from there on of both sides
};

// Of one prompt.
struct CacheReport {
  std::int64_t prompt_tokens = 0, reused_tokens = 0, disk_tokens = 0;
  // "complete", "differs", "continues" (it goes on where the nearest request ended), "first" (nothing to compare with),
  // "evicted", "not_computed" (the nearest request was not computed yet), "checkpoint", "window", "scored", "short",
  // "damaged" (on the disk).
  std::string cause;
  std::optional<PromptDifference> difference;

  text::Json json(bool with_texts) const;
  std::string sentence(bool with_texts) const;
};

// What a prompt and the one before it that begins most like it have in common.
struct NearestPrompt {
  bool exists = false;
  std::int64_t common_tokens = 0;
  std::int64_t shared_tokens = 0;    // of these, that it may take up: of another owner's whole pages
  std::int64_t computed_tokens = 0;  // of such, that were computed before, as far as is known
  std::optional<PromptDifference> difference;
};

// How the scheduler started the prompt, explained. scored: its own tokens' probabilities were asked for.
CacheReport cache_report(const engine::RequestStart& start, const NearestPrompt& nearest, bool scored);

// The last prompts, within a bound of memory. Any thread may use it.
class PromptHistory {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{64} << 20;
  static constexpr std::size_t kMostPrompts = 512;

  // One prompt on its way. Who asked must hear of his own prompts alone: how far one is like somebody else's says what
  // that one holds.
  struct Entry {
    std::uint64_t number = 0;
    NearestPrompt own, any;  // among the same owner's, among all
  };

  explicit PromptHistory(const engine::Tokenizer* tokenizer = nullptr, std::size_t most_bytes = kMostBytes)
      : tokenizer_(tokenizer), most_bytes_(most_bytes) {}

  // Compares with what is there, and remembers the prompt.
  Entry add(PromptOwner owner, const std::vector<engine::TokenId>& tokens, PromptText text);
  // It was computed, and so were the first n_computed tokens of its answer, which is `text`.
  void computed(const Entry& entry, const std::vector<engine::TokenId>& answer, std::int64_t n_computed,
                const std::string& text);
  // Of a request that has no entry.
  std::uint64_t number();

  std::size_t bytes() const;

 private:
  struct Prompt {
    std::uint64_t number = 0;
    PromptOwner owner;
    std::vector<engine::TokenId> tokens;
    PromptText text;
    std::int64_t computed_tokens = 0;
    std::size_t bytes() const;
  };
  using Shared = std::shared_ptr<const Prompt>;

  PromptDifference difference(const Prompt& before, const Prompt& now, std::int64_t common) const;
  void keep(Shared prompt);

  const engine::Tokenizer* const tokenizer_;
  const std::size_t most_bytes_;
  mutable std::mutex mutex_;
  std::list<Shared> prompts_;  // the last one first
  std::size_t bytes_ = 0;
  std::uint64_t last_number_ = 0;
};

}  // namespace rowmax::server

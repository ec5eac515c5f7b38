// A session computes: it owns a paged K/V cache for a number of sequences and runs ragged batches of new tokens through
// a model. The logits of a position depend on the tokens before it and on nothing else: not on the batch, the chunks a
// prompt is cut into, the number of threads, or what the cache already held (bit for bit).
//
// One session is used from one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "rowmax/engine/model.h"
#include "rowmax/kv.h"
#include "rowmax/result.h"
#include "rowmax/view.h"

namespace rowmax::engine {

class TraceObserver;  // trace.h

// What keys and values are kept as: halves, floats, or blocks of 32 numbers of a head with eight bits each and one half
// between them (8.5 bits a number; heads of whole blocks alone).
enum class KvType : int { kF16 = 0, kF32 = 1, kQ80 = 2 };
inline constexpr KvType kKvTypes[] = {KvType::kF16, KvType::kF32, KvType::kQ80};
constexpr DType dtype_of(KvType type) noexcept {
  return type == KvType::kQ80 ? DType::kQ8_0 : type == KvType::kF32 ? DType::kF32 : DType::kF16;
}

inline constexpr std::int64_t kDefaultContext = 4096;

struct SessionOptions {
  std::int64_t context = 0;  // most tokens a sequence may hold; 0: kDefaultContext, or the model's own where it is less
  int max_sequences = 1;
  KvType kv_type = KvType::kF16;
  // Most rows computed at once; longer batches are cut, without changing a bit. Products take 240 at a time, so more
  // cost memory and win nothing.
  std::int64_t max_batch = 240;
  // Memory for states of recurrent layers, from which prompts that begin alike go on (hybrid models).
  std::int64_t checkpoint_bytes = std::int64_t{1} << 30;
  // Most bytes of keys and values, those kept for prompts to come among them; 0: what max_sequences of `context` tokens
  // need. What does not fit is refused (forward()).
  std::int64_t kv_budget_bytes = 0;
  Edits edits;                             // of EditScope::kSession, after the model's: the weights stay as they are
  std::optional<Isa> isa;                  // instead of the model's
  std::optional<KernelChoice> kernels;     // instead of the model's
  std::optional<Activations> activations;  // instead of the model's
  bool reuse_prefixes = true;              // keep the pages of finished sequences for prompts that begin alike
};

// The memory that a sequence of n tokens takes.
struct SequenceCost {
  struct Group {  // of layers with one sliding window; 0: without
    std::int64_t window = 0, n_layer = 0;
    std::int64_t bytes = 0, peak_bytes = 0, kept_bytes = 0;  // of kv_bytes, kv_peak_bytes and kv_kept_bytes
  };
  std::vector<Group> groups;
  std::int64_t kv_bytes = 0;       // keys and values, in whole pages of 64 tokens, once all of it is computed
  std::int64_t kv_peak_bytes = 0;  // what forward() must find room for where it comes in one item
  // Pages of windowed layers that the sequence no longer needs, while the budget has room for them (reuse_prefixes).
  std::int64_t kv_kept_bytes = 0;
  std::int64_t kv_budget_bytes = 0;   // of a session whose context is n, for each of its sequences, unless it is given
  std::int64_t state_bytes = 0;       // of recurrent layers; as much again for a sequence with drafts
  std::int64_t checkpoint_bytes = 0;  // states kept on the way, where it comes in one item
  // What there must be; kept pages make room.
  std::int64_t total_bytes() const noexcept { return kv_peak_bytes + state_bytes + checkpoint_bytes; }
};
// Of options: kv_type, max_batch, checkpoint_bytes, reuse_prefixes. kInvalidArgument below 0 tokens, kLimit past the address space or for
// a max_batch that no session takes.
Result<SequenceCost> sequence_cost(const ModelDescription& model, std::int64_t n_tokens,
                                   const SessionOptions& options = {});

enum class LogitsFor : std::uint8_t { kNone, kLast, kAll };

// A place of a sequence, behind its first `position` tokens, at which others are likely to go on: where a conversation's
// next turn will, say.
struct KeptPlace {
  std::int64_t position = 0;
  bool is_likely = true;  // false: they may, where there is memory to spare
};

struct BatchItem {
  SequenceId sequence = 0;
  std::span<const TokenId> tokens;  // appended to the sequence
  LogitsFor logits = LogitsFor::kLast;
  // The last n_draft tokens are guesses (speculation). kLast then means the last token before them and each of them, and
  // no other sequence finds a page with one of them before confirm(). Of a model with recurrent layers the sequence
  // keeps a second state from then on: that before the last token which is no draft, to which truncate() can go back.
  std::int64_t n_draft = 0;
  // In place of logits: the final norm's output, which the head would multiply (rowmax/engine/embed.h).
  bool states = false;
  // Of the sequence; those that the item does not reach, or with drafts alone, say nothing. The state of recurrent layers
  // is kept there, and what layers with a window see from there stays longer. Says what is computed again, never a bit of it.
  std::span<const KeptPlace> keep = {};
};
// How many rows of logits (or states) an item asks for.
constexpr std::int64_t n_wanted_rows(const BatchItem& item) noexcept {
  const auto size = static_cast<std::int64_t>(item.tokens.size());
  if (item.logits == LogitsFor::kNone) return 0;
  return item.logits == LogitsFor::kAll || size <= item.n_draft ? size : 1 + item.n_draft;
}
constexpr std::int64_t n_logit_rows(const BatchItem& item) noexcept { return item.states ? 0 : n_wanted_rows(item); }
constexpr std::int64_t n_state_rows(const BatchItem& item) noexcept { return item.states ? n_wanted_rows(item) : 0; }

// What a session remembers of kPrefixPageTokens tokens, for whoever keeps it elsewhere (disk_cache.h): keys and values of
// the layers of each window, and the state of the recurrent layers behind the last of the tokens, where it was kept. The
// bytes are the same whatever computed them, on machines of the same byte order.
inline constexpr std::int64_t kPrefixPageTokens = kKeyTile;
struct PageLayout {
  struct Group {
    std::int64_t window = 0;  // 0: none
    std::int64_t n_layer = 0;
    std::int64_t bytes = 0;
  };
  std::vector<Group> groups;     // at most 31
  std::int64_t state_bytes = 0;  // 0: no recurrent layers
};
// Bit g: group g; the last one: the state. The parts' bytes follow each other in this order.
using PageParts = std::uint32_t;
inline constexpr PageParts kStatePart = PageParts{1} << 31;
std::int64_t page_bytes(const PageLayout& layout, PageParts parts) noexcept;

// Brings the bytes of a page of those that are appended (0: the first), its parts in their order; false: it has none.
using PageReader = std::function<bool(std::size_t page, std::span<std::byte> bytes)>;

// What Session::reuse() found.
struct PrefixReuse {
  enum class Limit : std::uint8_t {
    kNone,        // all that was found was taken up
    kCheckpoint,  // the state of recurrent layers was kept at an earlier token
    kWindow,      // keys that layers with a sliding window would see are gone
  };
  std::int64_t tokens = 0;        // as reuse() returns it
  std::int64_t found_tokens = 0;  // computed before and still there, in layers without a window; `tokens` or more
  Limit limit = Limit::kNone;     // why `tokens` is less
};

class Session {
 public:
  // model and executor must outlive the session. Takes address space for max_sequences * context tokens (or kv_budget_bytes); memory
  // is touched as tokens arrive.
  static Result<Session> create(const Model& model, const SessionOptions& options, Executor& executor);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // An empty sequence; kLimit when max_sequences are in use.
  Result<SequenceId> open();
  void close(SequenceId sequence);
  // Another sequence that remembers the same tokens, drafts among them; both go on with the bits of sequences that
  // computed everything themselves. Full pages are shared. What it takes is a copy of the page of each window group that
  // is partly filled and, in recurrent layers, of the state and of the one kept before drafts. kLimit when max_sequences
  // are in use or kv_budget_bytes has no room (naming the bytes), kInvalidArgument for a sequence that is not open;
  // nothing is changed then.
  Result<SequenceId> fork(SequenceId sequence);
  // Exchanges what two sequences remember, at no cost. kInvalidArgument for one that is not open.
  Status swap(SequenceId a, SequenceId b);
  // Makes the cache of `sequence` hold the longest prefix of `tokens` that is already computed, here or in another
  // sequence, to the token (of models with recurrent layers: to where a state was kept), leaving at least the last token
  // to compute. Returns how many tokens that is; append the rest.
  Result<std::int64_t> reuse(SequenceId sequence, std::span<const TokenId> tokens);
  // Whose the sequence is, until it is closed (0: as one that was just opened). With those of other owners it shares whole
  // pages of 64 tokens alone, since how much is reused says what they asked. kInvalidArgument for one that is not open.
  Status set_owner(SequenceId sequence, std::uint64_t owner);
  PrefixReuse last_reuse() const noexcept;  // of the last reuse() that succeeded

  // Pages of what sequences remember, as bytes.
  PageLayout page_layout() const;
  // The parts that are there of an open sequence's page, all of whose tokens are computed and no drafts; 0: none.
  PageParts page_parts(SequenceId sequence, std::int64_t page) const noexcept;
  // Writes parts that are there, page_bytes() of them.
  void copy_page(SequenceId sequence, std::int64_t page, PageParts parts, std::span<std::byte> out) const noexcept;
  // Appends whole pages of tokens, as if they had been computed, to a sequence of whole pages. `parts` says what the
  // reader has of each. The keys of layers without a window must be there of all, those that the token behind the last
  // page sees of the others, and the state of the last page (kInvalidArgument). kLimit as in forward(). What is returned
  // is how many tokens the sequence holds then: fewer than it would where the reader fails, and never what was not read.
  Result<std::int64_t> append_pages(SequenceId sequence, std::span<const TokenId> tokens,
                                    std::span<const PageParts> parts, const PageReader& reader);

  // Keeps the state of recurrent layers behind all tokens of the sequence, as BatchItem::keep does. Nothing where it has
  // drafts, or the model no such layers; kInvalidArgument for one that is not open.
  Status keep_state(SequenceId sequence, bool is_likely = true);

  // Forgets everything behind the first n tokens. A model with recurrent layers can only go back to where it kept its
  // state, one with sliding windows to where the keys that the next token sees are still there (those before the last
  // token that is no draft were given back; some are kept for a while): what is returned is the number of tokens that
  // are left, n or fewer.
  Result<std::int64_t> truncate(SequenceId sequence, std::int64_t n);
  // Drafts among the first n tokens were accepted: their pages are offered to other sequences. Tokens that are appended
  // behind drafts confirm them, too. kInvalidArgument when the sequence holds fewer tokens.
  Status confirm(SequenceId sequence, std::int64_t n);
  std::span<const TokenId> tokens(SequenceId sequence) const noexcept;

  // Computes the items' tokens, each sequence at most once. kLimit when a sequence would exceed the context (nothing
  // is changed then), kInvalidArgument for a token id outside the vocabulary or n_draft outside the item. Where a whole
  // batch fails, its sequences are truncated to what they held before (as truncate() does it).
  //
  // A logit that is not finite fails its item alone (kNumericFault, naming sequence and position): that sequence is
  // truncated to what it held before, the others' tokens and logits stand. What is returned is the first item's error;
  // item_status() tells which items failed. So it is with an item for which kv_budget_bytes has no room beside the items
  // before it (kLimit, naming the bytes needed and there): it changes nothing of its sequence. Logits behind drafts are not looked at, so that a guess cannot fail what is
  // right; Sampler and argmax() look again.
  Status forward(std::span<const BatchItem> items);
  // Whether forward() would find room for all of them; its error where not. Changes nothing.
  Status check_room(std::span<const BatchItem> items);
  // One for each item of the last forward(); empty when it failed as a whole. Valid until the next forward().
  std::span<const Status> item_status() const noexcept;
  // The logits that the last forward() was asked for, in the order of items and tokens: [n_rows, n_vocab], f32. Rows of
  // an item that failed are counted and hold nothing of use; none are left when every item failed. Valid until the next
  // forward().
  std::int64_t n_logit_rows() const noexcept;
  std::span<const float> logits(std::int64_t row) const noexcept;  // row: 0 to n_logit_rows() - 1
  // Those of items that asked for states, in the same way: [n_rows, n_embd].
  std::int64_t n_state_rows() const noexcept;
  std::span<const float> states(std::int64_t row) const noexcept;

  // Shows the stages of the following forward() calls; nullptr: to nobody. The observer must outlive them.
  void set_observer(TraceObserver* observer) noexcept;

  KernelVariant kernels() const;  // what it runs
  // What a sequence of n tokens takes here (errors as sequence_cost), and what is taken.
  Result<SequenceCost> cost(std::int64_t n_tokens) const;
  struct Memory {
    std::int64_t kv_budget_bytes = 0;
    std::int64_t kv_held_bytes = 0;  // by sequences; of what they share once
    std::int64_t kv_kept_bytes = 0;  // for prompts that begin alike; makes room when it is needed
    std::int64_t state_bytes = 0;    // of all max_sequences
    std::int64_t checkpoint_bytes = 0;
  };
  Memory memory() const noexcept;

  std::int64_t context() const noexcept;
  bool reuses_prefixes() const noexcept;
  std::int64_t kv_bytes_per_token() const noexcept;
  const Model& model() const noexcept;

  struct Impl;  // engine/runtime

 private:
  explicit Session(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax::engine

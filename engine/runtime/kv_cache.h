// What sequences remember: keys and values in pages of 64 tokens (the attention library's key tile), shared between
// sequences that begin alike, and the recurrent state of the layers that have one.
//
// A page holds its 64 tokens for every layer that attends. Pages are reference-counted: by the sequences that use them and by cached
// pages that continue them. A full page that nobody uses stays findable by its tokens and its predecessor until its
// place is needed (least recently used first).
//
// A recurrent state is that of one position alone, the sequence's last. Checkpoints of it hang on pages: the state
// behind the page's last token. A sequence can go back to a checkpoint, or to its beginning, and nowhere else; what
// other sequences computed can be continued where there is one. Checkpoints live within a budget, the least recently
// used goes first, and with its page. They change what must be computed again, never a bit of it. Before drafts, which are
// likely to be taken back, the state is kept in a mark, one a sequence, wherever that is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/buffer.h"
#include "rowmax/engine/session.h"
#include "rowmax/kv.h"

namespace rowmax::engine {

class KvCache {
 public:
  static constexpr std::int64_t kPageTokens = kKeyTile;

  struct Layer {
    std::int64_t n_kv_head = 0, head_dim = 0;  // 0: the layer has no keys and values
  };
  struct Shape {
    std::vector<Layer> layers;
    KvType type = KvType::kF16;
    std::int64_t context = 0;
    int max_sequences = 1;
    bool share = true;
    std::int64_t state_floats = 0;  // of a sequence's recurrent state
    std::int64_t checkpoint_bytes = std::int64_t{1} << 30;
  };
  struct SequenceState {
    bool open = false;
    std::vector<TokenId> tokens;
    std::vector<std::int32_t> pages;
    std::int64_t confirmed = 0;  // how many of the tokens are no drafts
    base::Buffer mark;           // the recurrent state behind the first mark_position tokens
    std::int64_t mark_position = -1;
  };

  // Reserves address space; memory comes when pages are first written.
  static Result<KvCache> create(const Shape& shape);
  KvCache(KvCache&& other) noexcept;
  KvCache& operator=(KvCache&& other) noexcept;
  ~KvCache();

  Result<SequenceId> open();
  void close(SequenceId id);
  bool is_open(SequenceId id) const noexcept;
  const SequenceState& sequence(SequenceId id) const noexcept { return sequences_[static_cast<std::size_t>(id)]; }

  // As Session::reuse.
  std::int64_t reuse(SequenceId id, std::span<const TokenId> tokens);
  // Goes back to the first n tokens, or as many of them as it can; how many that are.
  std::int64_t truncate(SequenceId id, std::int64_t n);
  // Makes room for more tokens and records them; false when there is no page (cannot happen within the context, as
  // every sequence has its share). The last n_draft are drafts; those before them are not, nor is what they follow.
  bool append(SequenceId id, std::span<const TokenId> tokens, std::int64_t n_draft = 0);
  // The first n tokens are no drafts.
  void confirm(SequenceId id, std::int64_t n) noexcept;
  // Offers the sequence's full pages of confirmed tokens to others. Call when their keys and values are written.
  void publish(SequenceId id);

  // shape().state_floats numbers, of the sequence's last position; nullptr without. The caller brings them forward with
  // the tokens that he appends.
  float* state(SequenceId id) noexcept;
  // Keeps the state as it is now for `position`, a multiple of kPageTokens, which it belongs to.
  void save_checkpoint(SequenceId id, std::int64_t position) noexcept;
  // The same for any position, in the sequence's mark.
  void save_mark(SequenceId id, std::int64_t position) noexcept;
  std::int64_t n_checkpoints() const noexcept { return static_cast<std::int64_t>(checkpoints_.size()); }

  // The cache as the attention library sees one layer.
  KvView view(std::int64_t layer) const noexcept;
  void* layer_keys(std::int64_t layer) const noexcept;
  void* layer_values(std::int64_t layer) const noexcept;
  std::int64_t bytes_per_token() const noexcept;
  const Shape& shape() const noexcept { return shape_; }

 private:
  struct Page {
    int references = 0;
    // Neighbours among the pages that are published and that nobody uses, the least recently used first.
    std::int32_t older = -1, newer = -1;
    base::Buffer checkpoint;   // empty: none
    std::int32_t parent = -1;  // the page before it, when published
    bool published = false;
    std::uint64_t hash = 0;
    std::vector<TokenId> tokens;  // when published
  };

  KvCache() = default;
  Shape shape_;
  std::byte* memory_ = nullptr;
  std::size_t memory_bytes_ = 0;
  std::vector<std::size_t> half_page_bytes_;  // keys (or values) of one page, by layer
  std::vector<std::size_t> layer_begin_;      // of its keys in memory_; its values follow
  std::int64_t n_pages_ = 0;
  std::vector<Page> pages_;
  std::vector<std::int32_t> free_;
  std::unordered_multimap<std::uint64_t, std::int32_t> published_;
  std::vector<SequenceState> sequences_;
  std::vector<std::int32_t> checkpoints_;  // pages that have one, the least recently used first
  base::Buffer states_;
  std::int32_t oldest_ = -1, newest_ = -1;

  void join_unused(std::int32_t page);
  void leave_unused(std::int32_t page);
  void drop_checkpoint(std::int32_t page) noexcept;
  // The last position up to n that a sequence holding `pages` can go on from; the same for a sequence with its mark.
  std::int64_t restorable(std::span<const std::int32_t> pages, std::int64_t n) const noexcept;
  std::int64_t restorable(const SequenceState& sequence, std::int64_t n) const noexcept;
  void restore(SequenceId id, std::int64_t position) noexcept;
  void cut(SequenceId id, std::int64_t n);
  std::int32_t take_page();
  void release(std::int32_t page);
  void unpublish(std::int32_t page);
  void make_private(std::int32_t& page);
  std::int32_t find_published(std::int32_t parent, std::span<const TokenId> tokens) const;
};

}  // namespace rowmax::engine

// What sequences remember: keys and values in pages of 64 tokens (the attention library's key tile), shared between
// sequences that begin alike, and the recurrent state of the layers that have one.
//
// Layers with the same sliding window are a group; those without one are another. A block is 64 tokens of a sequence, and
// has a page in each group. Blocks are counted by the sequences that use them and by cached blocks that continue
// them. What a sequence and its forks have in common they hold together; a block is written by one that holds it alone.
// A block is findable by its predecessor and its tokens, those that are computed so far; also when nobody uses it, until
// its place is needed (least recently used first). Full blocks are shared. Of one that is begun, or whose tokens part from
// those that are wanted, the rows in common are taken up into a page of one's own: rows behind them are overwritten there,
// and no row depends on those behind it. One that nobody uses and that is wanted with all of its tokens is gone on with.
// Rows of pages are taken up from sequences of the same owner alone: what others asked must not be found token by token.
//
// A sequence lets go of a windowed group's page when no token to come can see a position of it. The page stays with its
// block, for prompts that begin alike and for truncate(), while there is room: pages of the window before the end of a
// prompt, where the next one is likely to go on, are as good as blocks that were just used; those that were slid over
// elsewhere go before all others. A prefix can be taken up where each windowed group has the pages that the next token
// sees.
//
// A recurrent state is that of one position alone, the sequence's last. Checkpoints of it hang on blocks: the state
// behind any number of the block's tokens. A sequence can go back to a checkpoint, or to its beginning, and nowhere else;
// what other sequences computed can be continued where there is one. Checkpoints live within a budget, the least recently
// used goes first, and with its block; those at places where nobody is known to go on have a quarter of it where it is
// full. They change what must be computed again, never a bit of it. Before drafts, which are likely to be taken back, the
// state is kept in a mark, one a sequence, wherever that is.
//
// Pages live within a budget of bytes, and what a batch will need is counted before it is taken.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "engine/runtime/kv_pool.h"
#include "rowmax/engine/session.h"
#include "rowmax/kv.h"

namespace rowmax::engine {

class KvCache {
 public:
  static constexpr std::int64_t kPageTokens = kKeyTile;

  struct Layer {
    std::int64_t n_kv_head = 0, head_dim = 0;  // 0: the layer has no keys and values
    std::int64_t window = 0;                   // 0: every earlier key is seen; else the token and window - 1 before it
    // Above 0: values are the first so many numbers of the keys, and lie there.
    std::int64_t v_in_k = 0;
  };
  struct Shape {
    std::vector<Layer> layers;
    KvType type = KvType::kF16;
    std::int64_t context = 0;
    int max_sequences = 1;
    bool share = true;
    std::int64_t state_floats = 0;  // of a sequence's recurrent state
    std::int64_t checkpoint_bytes = std::int64_t{1} << 30;
    std::int64_t rows_at_once = 1;     // most tokens between two calls of prepare()
    std::int64_t kv_budget_bytes = 0;  // 0: what max_sequences of `context` tokens need
  };
  struct Group {
    std::int64_t window = 0;
    std::int64_t n_layer = 0;
    std::int64_t page_bytes = 0;
  };
  // The pages that a sequence holds in a group: [first, pages.size()). Those before are -1.
  struct Table {
    std::vector<std::int32_t> pages;
    std::int64_t first = 0;
  };
  struct SequenceState {
    bool open = false;
    std::uint64_t owner = 0;
    std::vector<TokenId> tokens;
    std::vector<std::int32_t> blocks;
    std::vector<Table> tables;    // by group
    std::int64_t confirmed = 0;   // how many of the tokens are no drafts
    std::int64_t prompt_end = 0;  // behind the last tokens that came several at once
    // Where others are likely to go on.
    std::array<std::int64_t, 4> places = {};
    std::size_t n_places = 0;
    base::Buffer mark;  // the recurrent state behind the first mark_position tokens
    std::int64_t mark_position = -1;
    std::int64_t state_slot = 0;  // where its recurrent state lies
  };

  // Reserves address space; memory comes when pages are first written.
  static Result<KvCache> create(const Shape& shape);

  Result<SequenceId> open();
  void close(SequenceId id);
  bool is_open(SequenceId id) const noexcept;
  // Between batches. As Session::fork and Session::swap, of sequences that are open.
  Result<SequenceId> fork(SequenceId id);
  void swap(SequenceId a, SequenceId b) noexcept;
  const SequenceState& sequence(SequenceId id) const noexcept { return sequences_[static_cast<std::size_t>(id)]; }

  // As Session::reuse.
  std::int64_t reuse(SequenceId id, std::span<const TokenId> tokens);
  // Until it is closed.
  void set_owner(SequenceId id, std::uint64_t owner) noexcept {
    sequences_[static_cast<std::size_t>(id)].owner = owner;
  }
  PrefixReuse last_reuse() const noexcept { return last_reuse_; }
  // Goes back to the first n tokens, or as many of them as it can; how many that are.
  std::int64_t truncate(SequenceId id, std::int64_t n);

  // As Session's.
  PageLayout page_layout() const;
  PageParts page_parts(SequenceId id, std::int64_t page) const noexcept;
  void copy_page(SequenceId id, std::int64_t page, PageParts parts, std::span<std::byte> out) const noexcept;
  Result<std::int64_t> append_pages(SequenceId id, std::span<const TokenId> tokens, std::span<const PageParts> parts,
                                    const PageReader& reader);

  // A batch: begin_batch(), append() for each sequence, prepare() before rows are computed, settle() at its end.
  void begin_batch() noexcept;
  // Makes room for more tokens and records them. kLimit, naming the bytes, when the budget has no room for them beside what
  // sequences hold and what was appended since begin_batch() (cannot happen without a budget of its own, within the
  // context and with no more drafts than kMostDrafts, as every sequence has its share). The last n_draft are drafts; those
  // before them are not, nor is what they follow.
  Status append(SequenceId id, std::span<const TokenId> tokens, std::int64_t n_draft = 0);
  // What append() says of the budget for a sequence that grows to `total` tokens; counts it for those that follow.
  Status admit(SequenceId id, std::int64_t total, std::int64_t n_draft);
  // All groups have pages for positions [begin, end) and for what these see. At most rows_at_once of them.
  Status prepare(SequenceId id, std::int64_t begin, std::int64_t end);
  // Lets go of the pages that no token behind the confirmed ones can see.
  void settle(SequenceId id) noexcept;
  static constexpr std::int64_t kMostDrafts = 64;
  // Recurrent states that are kept: at most so many for each block that there may be, beside the bound in bytes.
  static constexpr std::size_t kCheckpointsPerBlock = 4;

  // Others are likely to go on behind the sequence's first `position` tokens: what they would see stays longer.
  void expect_others_at(SequenceId id, std::int64_t position) noexcept;
  // The first n tokens are no drafts.
  void confirm(SequenceId id, std::int64_t n) noexcept;
  // Offers the blocks of the sequence's confirmed tokens to others, the one that is begun among them; only of the first n
  // tokens. Call when their keys and values are written. Where another sequence did so before, its full blocks take the
  // place of this one's.
  void publish(SequenceId id, std::int64_t n);
  void publish(SequenceId id) { publish(id, std::ssize(sequence(id).tokens)); }

  // shape().state_floats numbers, of the sequence's last position; nullptr without. The caller brings them forward with
  // the tokens that he appends.
  float* state(SequenceId id) noexcept;
  // Keeps the state as it is now for `position`, which it belongs to. is_likely: that somebody goes on from there.
  void save_checkpoint(SequenceId id, std::int64_t position, bool is_likely = true) noexcept;
  // The same in two steps: memory for a state, beside so many others that were taken and not kept yet (empty where there
  // is none: it saves time, and nothing else), and what was written there. The position's state must be none yet.
  base::Buffer take_checkpoint(std::size_t n_taken, bool is_likely) noexcept;
  void keep_checkpoint(SequenceId id, std::int64_t position, base::Buffer state, bool is_likely) noexcept;
  bool has_checkpoint(SequenceId id, std::int64_t position) const noexcept;
  // The same for any position, in the sequence's mark.
  void save_mark(SequenceId id, std::int64_t position) noexcept;
  std::int64_t n_checkpoints() const noexcept { return static_cast<std::int64_t>(checkpoints_.size()); }

  // The cache as the attention library sees one layer.
  KvView view(std::int64_t layer) const noexcept;
  void* layer_keys(std::int64_t layer) const noexcept;
  void* layer_values(std::int64_t layer) const noexcept;
  std::int64_t bytes_per_token() const noexcept;
  const Shape& shape() const noexcept { return shape_; }

  const std::vector<Group>& groups() const noexcept { return groups_; }
  std::size_t group_of(std::size_t layer) const noexcept { return places_[layer].group; }
  bool has_windows() const noexcept { return has_windows_; }
  const KvPool& pool() const noexcept { return pool_; }
  std::int64_t in_use_bytes() const noexcept { return in_use_; }  // of pages that sequences hold

 private:
  struct Block {
    int users = 0;             // sequences
    int children = 0;          // published blocks that continue it
    std::uint64_t states = 0;  // bit n - 1: there is a checkpoint behind its first n tokens
    std::int32_t parent = -1;  // the block before it, when published
    bool published = false;
    std::uint64_t owner = 0;      // when published: of the sequence that did
    std::vector<TokenId> tokens;  // when published: those that others may take up, its first ones
    bool is_full() const noexcept { return published && std::ssize(tokens) == kPageTokens; }
  };
  struct Checkpoint {
    std::int32_t block = -1;
    std::int32_t n_tokens = 0;  // of the block, 1 or more
    bool is_likely = true;
    base::Buffer state;
  };
  // Published blocks by what they are looked for by. Tokens are in the order of words in a dictionary, so what begins most
  // like some tokens is beside them.
  struct Key {
    std::int32_t parent;
    std::uint64_t owner;
    std::span<const TokenId> tokens;
  };
  struct ByTokens {
    using is_transparent = void;
    const Block* blocks = nullptr;
    bool of_all_owners = false;
    Key key(std::int32_t id) const noexcept {
      return {blocks[id].parent, of_all_owners ? 0 : blocks[id].owner, blocks[id].tokens};
    }
    static const Key& key(const Key& given) noexcept { return given; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const noexcept {
      const Key x = key(a), y = key(b);
      if (x.parent != y.parent) return x.parent < y.parent;
      if (x.owner != y.owner) return x.owner < y.owner;
      return std::ranges::lexicographical_compare(x.tokens, y.tokens);
    }
  };
  struct Held {
    std::int32_t page = -1;
    int users = 0;  // sequences; of a group without window the block's count
  };
  // Neighbours among what is published and nobody uses, the least recently used first.
  struct Link {
    std::int32_t older = -1, newer = -1;
  };
  struct Place {  // of a layer
    std::size_t group = 0;
    std::int64_t keys = 0, values = 0;  // bytes from the beginning of a page
  };
  enum class Side : std::uint8_t { kOldest, kNewest };

  Shape shape_;
  std::vector<Group> groups_;
  std::vector<Place> places_;  // by layer
  bool has_windows_ = false;
  std::int64_t block_bytes_ = 0;  // of the pages that live as long as their block
  KvPool pool_;
  std::vector<Block> blocks_;
  std::vector<Held> held_;  // [block][group]
  std::vector<std::int32_t> free_;
  std::set<std::int32_t, ByTokens> published_;
  std::set<std::int32_t, ByTokens> full_;  // those of them that are, whoever owns them
  std::vector<SequenceState> sequences_;
  std::vector<Checkpoint> checkpoints_;  // the least recently used first; there is room for all that may be there
  base::Buffer states_;
  std::vector<Link> links_;  // [block][the block, and its page in each group that has a window]
  std::int32_t oldest_ = -1, newest_ = -1;
  std::int64_t in_use_ = 0;
  // Two bounds of what is in use at any moment of the batch, of which the lower counts. By growth: what is in use when it
  // begins and what its sequences may take, as if pages that they share stayed. By each: what all sequences hold or
  // will, as if nothing were shared; this one is within a budget that has a share for each.
  std::int64_t bound_by_growth_ = 0, bound_by_each_ = 0;
  PrefixReuse last_reuse_;

  Block& block(std::int32_t id) noexcept { return blocks_[static_cast<std::size_t>(id)]; }
  const Block& block(std::int32_t id) const noexcept { return blocks_[static_cast<std::size_t>(id)]; }
  Held& held(std::int32_t id, std::size_t group) noexcept {
    return held_[static_cast<std::size_t>(id) * groups_.size() + group];
  }
  const Held& held(std::int32_t id, std::size_t group) const noexcept {
    return held_[static_cast<std::size_t>(id) * groups_.size() + group];
  }
  std::int32_t entry(std::int32_t id) const noexcept { return id * static_cast<std::int32_t>(groups_.size() + 1); }
  std::int32_t entry(std::int32_t id, std::size_t group) const noexcept {
    return entry(id) + 1 + static_cast<std::int32_t>(group);
  }

  void join_unused(std::int32_t entry, Side side) noexcept;
  void leave_unused(std::int32_t entry) noexcept;
  void evict(std::int32_t entry) noexcept;

  std::int32_t take_block() noexcept;
  std::int32_t take_page(std::size_t group) noexcept;
  void use(std::int32_t id) noexcept;
  void let_go(std::int32_t id) noexcept;
  void use(std::int32_t id, std::size_t group) noexcept;
  void let_go(std::int32_t id, std::size_t group, Side side) noexcept;
  void touch(std::int32_t id, std::size_t group) noexcept;
  void drop_page(std::int32_t id, std::size_t group) noexcept;
  void drop_if_unused(std::int32_t id) noexcept;
  void unpublish(std::int32_t id) noexcept;
  void offer(std::int32_t id, const Key& key);
  void offer_begun(SequenceState& sequence, std::int64_t n);
  void absorb_beginnings(std::int32_t id, Key key) noexcept;
  bool has_all_pages(std::int32_t id) const noexcept;

  std::size_t checkpoint_at(std::int32_t id, std::int64_t n_tokens) const noexcept;
  // Behind how many of the block's first n tokens a sequence can go on; 0: none.
  std::int64_t last_state(std::int32_t id, std::int64_t n) const noexcept;
  void drop_checkpoints(std::int32_t id, std::int64_t behind) noexcept;
  void move_checkpoints(std::int32_t from, std::int32_t to, std::int64_t n_tokens) noexcept;
  bool make_checkpoint_room(std::size_t n_taken, bool is_likely) noexcept;

  bool grow(SequenceState& sequence, std::size_t n_blocks) noexcept;
  void slide(SequenceState& sequence, std::int64_t position) noexcept;
  void become(SequenceState& sequence, std::span<const std::int32_t> blocks, std::int64_t position) noexcept;
  // Makes the sequence's last block, of which it holds n_tokens, one that it may write behind them; false where there is no
  // room for a copy. leaves_it: what others could take up of it beyond them stays, where there is room.
  bool make_private(SequenceState& sequence, std::int64_t n_tokens, bool leaves_it) noexcept;
  void replace(std::size_t index, std::int32_t own, std::int32_t twin) noexcept;
  Result<SequenceId> find_closed() const;

  bool windows_are_there(std::span<const std::int32_t> blocks, std::int64_t position) const noexcept;
  // The last position up to n that a sequence holding `blocks` can go on from, without or with what its mark holds.
  std::int64_t restorable(std::span<const std::int32_t> blocks, std::int64_t n, std::int64_t mark = -1) const noexcept;
  void restore(SequenceId id, std::int64_t position) noexcept;
  Status check_pages(SequenceId id, std::span<const TokenId> tokens, std::span<const PageParts> parts) const;
  bool take_window_pages(SequenceState& sequence, std::int64_t end) noexcept;
  void fill_page(SequenceId id, std::size_t page, PageParts parts, std::span<const std::byte> bytes) noexcept;
  PrefixReuse::Limit limit_of(std::span<const std::int32_t> blocks, std::int64_t n, std::int64_t kept) const noexcept;
  std::int32_t find_published(std::int32_t parent, std::span<const TokenId> tokens) const;
  // The longest published block that the key's tokens begin with, of fewer than they are; -1: none.
  std::int32_t find_beginning(Key key) const;
  struct Begun {
    std::int32_t block = -1;
    std::int64_t n_tokens = 0;  // that it has in common with those that are wanted
  };
  Begun find_begun(const Key& key) const;
};

}  // namespace rowmax::engine

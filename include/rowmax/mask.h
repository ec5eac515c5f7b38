// Masks as values: which query may see which key.
//
// A MaskSpec is a set of conditions that must all hold; the order in which they are added means nothing. compile()
// turns it and the shapes of a call into a MaskPlan, which attend() reads: kernels know no mask kinds.
//
// Positions. Key j of a sequence (j in [0, n_kv)) has position j. Query i has the position that the Sequence gives it,
// in the same numbering: q_pos + i. So causal alignment is not an option but data:
//     token-by-token or chunked generation      q_pos = number of keys before the chunk (n_past)
//     bottom-right aligned                      q_pos = n_kv - n_q
//     top-left aligned                          q_pos = 0
//
// Meaning of the whole, with p the query's position:
//     visible = valid AND segments AND chunk AND bitmap AND blocks AND tree AND
//               (prefix OR (j <= p + right AND (j >= p - left OR keep_first)))
// A query that sees no key is legal: its result is +0 and its lse -inf.
//
// Ownership. A MaskSpec keeps pointers to the arrays given to it. compile() copies what it needs, except the words of
// bitmaps and blocks: these must live, unchanged, as long as the plan is used.
//
// Dense masks of other frameworks (boolean, additive, keep masks of a batch) become specs with mask_convert.h.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "rowmax/result.h"

namespace rowmax {

inline constexpr std::int64_t kUnbounded = std::numeric_limits<std::int64_t>::max();

// Keys [begin, end).
struct KeySpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// Document or segment numbers of one sequence: a pair is visible only where both are equal.
struct SegmentIds {
  const std::int32_t* q_ids = nullptr;  // [n_q]
  const std::int32_t* k_ids = nullptr;  // [n_kv]
};

// One bit a pair, 1 = keep: bit (j mod 64) of words[h * head_stride + i * row_stride + j / 64]. Strides in words, 0 to
// broadcast. Words past ceil(n_kv / 64) of a row are not read; the bits past n_kv of the last one are ignored.
struct BitmapView {
  const std::uint64_t* words = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;  // h counts query heads
};

// Block-sparse masks: one bit a block of q_block queries by k_block keys, 1 = keep: bit (c mod 64) of
// words[h * head_stride + r * row_stride + c / 64] with r = i / q_block, c = j / k_block. Blocks partly outside the
// sequence count with the part inside. Strides in words, 0 to broadcast.
struct BlockMaskView {  // q_block, k_block >= 1; powers of two, best multiples of 64 keys, are fastest
  const std::uint64_t* words = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t q_block = 64;
  std::int64_t k_block = 64;
};

// Speculation trees: the queries of a sequence are nodes, the key of node i is key first_key + i. Query i sees every
// key before first_key, the keys of itself and of its ancestors, and none past first_key + n_q. parents[i] < i, or -1
// for a root.
struct TreeView {
  const std::int32_t* parents = nullptr;  // [n_q]
  std::int64_t first_key = -1;            // -1: n_kv - n_q
};

// Spans of per-sequence data hold either one element a sequence of the geometry or a single one for all.
class MaskSpec {
 public:
  static constexpr int kMaxTerms = 4;  // conditions of one kind (valid, segments, bitmap, blocks) in one spec

  // j <= p.
  MaskSpec& causal() noexcept { return window(kUnbounded, 0); }
  // p - left <= j <= p + right, both inclusive, so a causal window of w keys including the own one is window(w - 1, 0).
  // Negative bounds are allowed (right = -1: strictly earlier keys). Given several times, the narrowest bounds hold.
  //     left = 2, right = 1, p = 5:   j  2 3 4 5 6 7
  //                                      . x x x x .
  MaskSpec& window(std::int64_t left, std::int64_t right) noexcept;
  // begin <= j < end: left and right padding, cache lengths. Nothing outside is ever dereferenced.
  MaskSpec& valid(std::span<const KeySpan> spans) noexcept;
  // Packed documents. Where the ids of queries and keys do not decrease, each document is computed exactly as it would
  // be alone; any other ids are right too, tiles are then cut as for the whole sequence. chunk() and keep_first() count
  // from the first valid key of the whole sequence all the same.
  MaskSpec& segments(std::span<const SegmentIds> ids) noexcept;
  // floor((j - origin) / size) = floor((p - origin) / size): chunked/local attention; origin is the first valid key.
  MaskSpec& chunk(std::int64_t size) noexcept;
  // Arbitrary masks.
  MaskSpec& bitmap(std::span<const BitmapView> bitmaps) noexcept;
  // Block-sparse masks.
  MaskSpec& blocks(std::span<const BlockMaskView> blocks) noexcept;
  // Candidates of speculative decoding that share a cache. At most once; says all about order, so no causal() beside
  // it is needed (one beside it holds too: queries need positions first_key + depth for that to make sense).
  MaskSpec& tree(std::span<const TreeView> trees) noexcept;
  // Keys before prefix_ends[s] are visible to all queries (prefix-LM), whatever causal and window say. At most once.
  MaskSpec& prefix(std::span<const std::int64_t> prefix_ends) noexcept;
  // The first n valid keys stay visible past the window (streaming "sinks"); never overrides causality. At most once.
  MaskSpec& keep_first(std::int64_t n) noexcept;

 private:
  friend class MaskPlan;
  friend struct MaskCompiler;
  friend struct MaskKey;
  std::int64_t left_ = kUnbounded;
  std::int64_t right_ = kUnbounded;
  std::int64_t chunk_ = 0;
  std::int64_t keep_first_ = 0;
  std::span<const KeySpan> valid_[kMaxTerms];
  std::span<const SegmentIds> segments_[kMaxTerms];
  std::span<const BitmapView> bitmaps_[kMaxTerms];
  std::span<const BlockMaskView> blocks_[kMaxTerms];
  std::span<const TreeView> tree_;
  std::span<const std::int64_t> prefix_;
  int n_valid_ = 0;
  int n_segments_ = 0;
  int n_bitmaps_ = 0;
  int n_blocks_ = 0;
  int n_trees_ = 0;
  int n_chunks_ = 0;
  int n_keep_first_ = 0;
  int n_prefix_ = 0;
};

// One sequence of a call. Queries of all sequences lie in one array of rows (packed, no padding needed); a sequence
// owns rows [q_begin, q_begin + n_q). Rows that belong to no sequence are left as they are; no row may belong to two.
struct Sequence {
  std::int64_t q_begin = 0;
  std::int64_t n_q = 0;
  std::int64_t q_pos = 0;  // position of the first query; may be negative
  std::int64_t n_kv = 0;   // keys [0, n_kv) exist
  // Positions of the queries [n_q] in place of q_pos + i, any order; or nullptr.
  const std::int64_t* positions = nullptr;
  // Key at which the tile grid starts: results of two calls are bit-identical when their keys stand alike from here.
  // -1: the first valid key (of the document, with ordered segments), which is what makes padding invisible. Otherwise
  // not above the first valid key.
  std::int64_t anchor = -1;
};

struct Geometry {
  std::span<const Sequence> sequences;
  std::int32_t n_head = 1;
  std::int32_t n_kv_head = 1;  // divides n_head; query head h reads kv head h / (n_head / n_kv_head)
};

// What a plan leaves to do; counts cover all heads.
struct MaskStats {
  std::int64_t visible_pairs = 0;
  std::int64_t empty_rows = 0;
  // Tiles of one query (and head) by kKeyTile keys that hold at least one valid key.
  std::int64_t full_tiles = 0;
  std::int64_t partial_tiles = 0;
  std::int64_t empty_tiles = 0;
};

// The conditions of a mask, as bits.
enum class MaskRule : std::uint32_t {
  kValid = 1u << 0,     // outside the valid spans
  kSegments = 1u << 1,  // another document
  kChunk = 1u << 2,     // another chunk
  kBitmap = 1u << 3,
  kBlocks = 1u << 4,
  kTree = 1u << 5,        // not an ancestor
  kRightBound = 1u << 6,  // j > p + right (causal: the future), and not in the prefix
  kLeftBound = 1u << 7,   // j < p - left (window: too old), not kept in front, and not in the prefix
};
// The rule's name in lower_snake_case; static storage.
const char* mask_rule_name(MaskRule rule) noexcept;

// Why a pair is hidden.
struct MaskExplanation {
  std::int64_t sequence = 0, head = 0, query = 0, key = 0;
  std::int64_t position = 0;    // of the query
  std::uint32_t hidden_by = 0;  // MaskRule bits; 0: visible
  bool visible() const noexcept { return hidden_by == 0; }
  bool by(MaskRule rule) const noexcept { return (hidden_by & static_cast<std::uint32_t>(rule)) != 0; }
  // One line for people: "sequence 0, head 2, query 3 (position 10): key 12 is hidden by right_bound: key 12 > position
  // 10 + 0"; several rules are joined by "; ".
  std::string text;
};

// What a sequence's mask is in the field's terms: the first word that fits, found from what its rows see, not from the
// calls that built it. So a window wider than the sequence is kCausal, and the one query of a decoding step, which sees
// one run of keys, is kFull or kPadding whatever window led to it.
enum class MaskKind : std::uint8_t {
  kFull,           // every query sees every key
  kEmpty,          // no query sees any key; also where there is no query or no key
  kPadding,        // the same run of keys for every query
  kCausal,         // all valid keys up to the own position
  kPrefix,         // all valid keys up to the own position, and those of a prefix (prefix-LM)
  kSlidingWindow,  // one run around the position, bounded to the left or not ending at it
  kTwoSpans,       // keep_first or prefix beside a window
  kChunked,
  kDocuments,  // segments in order, more than one
  kArbitrary,  // bitmaps, blocks, trees, segments out of order, or positions that do not rise by one
};
const char* mask_kind_name(MaskKind kind) noexcept;

// A compiled mask. Cheap: the work is O(sequences), plus O(n_q + n_kv) where segments or positions are given, and
// nothing is expanded (only segment ids out of order become n_q * n_kv bits, and trees n_q * n_q). Movable, reusable:
// compiling into the same object again allocates only when it has to grow, so a decode loop that keeps its plan objects
// never allocates.
class MaskPlan {
 public:
  MaskPlan() noexcept = default;
  MaskPlan(MaskPlan&& other) noexcept : impl_(other.impl_) { other.impl_ = nullptr; }
  MaskPlan& operator=(MaskPlan&& other) noexcept {
    Impl* mine = impl_;
    impl_ = other.impl_;
    other.impl_ = mine;
    return *this;
  }
  ~MaskPlan();

  // Errors: kInvalidArgument (a shape, span or count that makes no sense; named), kOutOfMemory. After an error the plan
  // is empty (attend refuses it).
  Status compile(const MaskSpec& spec, const Geometry& geometry);

  std::int64_t n_sequence() const noexcept;
  std::int64_t n_head() const noexcept;
  std::int64_t n_kv_head() const noexcept;
  // Whether query i of sequence s, query head h, sees key j: the definition, pair by pair. False where there is no such
  // pair.
  bool visible(std::int64_t s, std::int64_t h, std::int64_t i, std::int64_t j) const noexcept;
  // Where the tile grid of query i of sequence s starts.
  std::int64_t anchor(std::int64_t s, std::int64_t i) const noexcept;
  // Counts by walking all rows and tiles.
  MaskStats stats() const noexcept;
  // O(n_q). Bitmaps, blocks and trees are not looked into.
  MaskKind kind(std::int64_t s) const noexcept;
  // Which rules hide key j from query i, all of them. Indices outside the shapes: kInvalidArgument.
  Result<MaskExplanation> explain(std::int64_t s, std::int64_t h, std::int64_t i, std::int64_t j) const;
  // The mask of sequence s, head h, as bits: row i is words[i * row_words ...], bit (j mod 64) of word j / 64; bits
  // past n_kv are 0. row_words >= ceil(n_kv / 64); `words` holds n_q rows. Errors: kInvalidArgument.
  Status materialise(std::int64_t s, std::int64_t h, std::span<std::uint64_t> words, std::int64_t row_words) const;
  // n_q and n_kv of sequence s.
  std::int64_t n_query(std::int64_t s) const noexcept;
  std::int64_t n_key(std::int64_t s) const noexcept;

  // The plan of the next step of decoding, without compiling: every sequence gets n more keys at its end and its
  // queries move on by n positions; valid spans that ended at the last key grow with it. O(sequences), and O(n_q) where
  // positions were given; allocates nothing, and gives the bits that compiling anew would. Only for plans of spans
  // alone (causal, window, valid, chunk, prefix, keep_first; no segments, bitmaps, blocks, trees): else kUnsupported. n
  // below 0 or positions past 2^60: kInvalidArgument. After an error the plan is unchanged.
  Status advance(std::int64_t n);

  struct Impl;  // private to the implementation
  const Impl* impl() const noexcept { return impl_; }

 private:
  Impl* impl_ = nullptr;
};

inline Result<MaskPlan> compile(const MaskSpec& spec, const Geometry& geometry) {
  MaskPlan plan;
  Status status = plan.compile(spec, geometry);
  if (!status.ok()) return std::move(status).error();
  return plan;
}

// Compiled plans by content, for callers that meet the same masks again (every layer of a step, every step of a batch
// of fixed shapes). Two masks are the same when every condition and shape is equal, array contents included; bitmap and
// block words are compared by address and strides alone: whoever changes them in place must clear() first. Keeps at
// most `capacity` plans (at least one), the least recently used goes. get() costs one pass over the arrays, and
// allocates nothing once the cache is full of plans of a size. Not thread-safe.
class MaskPlanCache {
 public:
  explicit MaskPlanCache(std::size_t capacity = 16) noexcept;
  MaskPlanCache(MaskPlanCache&&) noexcept;
  MaskPlanCache& operator=(MaskPlanCache&&) noexcept;
  ~MaskPlanCache();

  // The plan, valid until the next get() or clear(). Errors: those of compile(); the cache is then as before.
  Result<const MaskPlan*> get(const MaskSpec& spec, const Geometry& geometry);
  // Forgets all plans and both counts.
  void clear() noexcept;
  std::int64_t n_hits() const noexcept;
  std::int64_t n_misses() const noexcept;

 private:
  struct Impl;
  std::size_t capacity_ = 0;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rowmax

#include "engine/tokenizer/bpe.h"

#include <algorithm>
#include <utility>

#include "engine/tokenizer/unicode.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::uint32_t kNoRank = UINT32_MAX;
// Words up to here are merged by scanning all pairs for the lowest rank, which needs no heap.
constexpr std::size_t kShortWord = 48;
// Places in a word are 32-bit; a longer one (a gigabyte without any border) is cut.
constexpr std::size_t kMaxWord = std::size_t{1} << 30;

// GPT-2's table: printable bytes stand for themselves, the others follow from U+0100 on in order.
struct ByteCodes {
  std::uint16_t code[256];
  char text[256][2];
  std::uint8_t size[256];
  std::int16_t byte[0x144];
  constexpr ByteCodes() : code(), text(), size(), byte() {
    for (auto& entry : byte) entry = -1;
    std::uint16_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const std::uint16_t c = printable ? static_cast<std::uint16_t>(b) : next++;
      code[b] = c;
      byte[c] = static_cast<std::int16_t>(b);
      size[b] = c < 0x80 ? 1 : 2;
      text[b][0] = static_cast<char>(c < 0x80 ? c : 0xC0 | c >> 6);
      text[b][1] = static_cast<char>(0x80 | (c & 0x3F));
    }
  }
};
constexpr ByteCodes kByteCodes;

// Lowest rank first, then leftmost (std heaps keep the greatest in front).
bool ranked_after(const BpeMerges::Scratch::Pair& a, const BpeMerges::Scratch::Pair& b) noexcept {
  return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
}

}  // namespace

std::string_view byte_text(std::uint8_t byte) noexcept { return {kByteCodes.text[byte], kByteCodes.size[byte]}; }

int byte_of_code(std::uint32_t code) noexcept { return code < 0x144 ? kByteCodes.byte[code] : -1; }

std::string bytes_of_text(std::string_view stored) {
  std::string out;
  out.reserve(stored.size());
  const char* const end = stored.data() + stored.size();
  for (const char* p = stored.data(); p != end;) {
    const Char c = char_at(p, end);
    const int byte = byte_of_code(c.code);
    if (byte >= 0) {
      out += static_cast<char>(byte);
    } else {
      out.append(p, c.size);
    }
    p += c.size;
  }
  return out;
}

Result<BpeMerges> BpeMerges::create(const TokenizerSource& source, const Vocabulary& vocabulary, bool ignore_merges,
                                    std::vector<std::string>& notices) {
  if (!source.merges) {
    return Error{ErrorCode::kCorrupt,
                 source.name + ": tokenizer.ggml.merges is missing; a " + source.model + " model needs it"};
  }
  BpeMerges out;
  out.ignore_merges_ = ignore_merges;
  const std::size_t n = source.merges->size();
  if (n > kMaxTokens) {
    return Error{ErrorCode::kCorrupt, source.name + ": tokenizer.ggml.merges: expected at most " +
                                          std::to_string(kMaxTokens) + " merges, found " + std::to_string(n)};
  }
  std::size_t capacity = 16;
  while (capacity < 2 * n) capacity *= 2;
  out.table_.assign(capacity, Entry{});
  std::size_t n_duplicate = 0;
  for (std::size_t rank = 0; rank < n; ++rank) {
    ROWMAX_RETURN_IF_ERROR(out.add(source, vocabulary, rank, n_duplicate));
  }
  if (n_duplicate != 0) {
    notices.push_back("tokenizer.ggml.merges: " + std::to_string(n_duplicate) +
                      " merges stand there twice; the first place counts");
  }
  out.index_bytes(vocabulary, notices);
  return out;
}

Status BpeMerges::add(const TokenizerSource& source, const Vocabulary& vocabulary, std::size_t rank,
                      std::size_t& n_duplicate) {
  const auto refuse = [&](const char* what) {
    return Error{ErrorCode::kCorrupt,
                 source.name + ": tokenizer.ggml.merges: merge " + std::to_string(rank) + " " + what};
  };
  const std::string_view merge = (*source.merges)[rank];
  // A space never stands inside a part: byte 0x20 is written as U+0120.
  const std::size_t space = merge.find(' ', 1);
  if (merge.empty() || space == std::string_view::npos || space + 1 == merge.size()) {
    return refuse("is not two texts with a space between");
  }
  const std::string_view left_text = merge.substr(0, space);
  const std::string_view right_text = merge.substr(space + 1);
  const TokenId left = vocabulary.find(left_text);
  const TokenId right = vocabulary.find(right_text);
  if (left < 0 || right < 0) return refuse("joins a text that is not a token");
  const TokenId merged = vocabulary.find(std::string(left_text) + std::string(right_text));
  if (merged < 0) return refuse("makes a text that is not a token");
  if (vocabulary.kind(merged) == TokenKind::kControl) return refuse("makes a control token");
  const std::size_t mask = table_.size() - 1;
  std::size_t slot = hash_pair(left, right) & mask;
  for (; table_[slot].left != -1; slot = (slot + 1) & mask) {
    if (table_[slot].left == left && table_[slot].right == right) {
      ++n_duplicate;
      return {};
    }
  }
  table_[slot] = {left, right, static_cast<std::uint32_t>(rank), merged};
  return {};
}

// Whether a byte is part of what people write: no control character but white space, no byte that UTF-8
// text never has.
static bool occurs_in_text(int byte) {
  const bool control = (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F;
  // 0xF1 and 0xF2 begin planes 4 to 11, which hold no characters.
  const bool never_utf8 = byte == 0xC0 || byte == 0xC1 || byte == 0xF1 || byte == 0xF2 || byte >= 0xF5;
  return !control && !never_utf8;
}

void BpeMerges::index_bytes(const Vocabulary& vocabulary, std::vector<std::string>& notices) {
  byte_ids_.assign(256, -1);
  int n_missing = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const TokenId id = vocabulary.find(byte_text(static_cast<std::uint8_t>(byte)));
    // A user-defined token of that text stands for the character, not for the byte, unless the file says both.
    if (id >= 0 && (vocabulary.kind(id) == TokenKind::kNormal || vocabulary.also_merged(id))) {
      byte_ids_[static_cast<std::size_t>(byte)] = id;
    } else if (occurs_in_text(byte)) {
      ++n_missing;
    }
  }
  replacement_[0] = byte_ids_[0xEF];
  replacement_[1] = byte_ids_[0xBF];
  replacement_[2] = byte_ids_[0xBD];
  if (n_missing != 0) {
    notices.push_back(std::to_string(n_missing) +
                      " byte values have no token: above 0x7F they become U+FFFD, below they are dropped");
  }
}

// A secret odd factor spreads whatever pairs a file has (Dietzfelbinger's multiply-shift); SipHash would cost the merging
// more than it does.
std::size_t BpeMerges::hash_pair(TokenId left, TokenId right) const noexcept {
  std::uint64_t x =
      static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  x = (x ^ seed_) * (seed_ | 1);
  x ^= x >> 32;
  x *= factor_ | 1;
  return static_cast<std::size_t>(x >> 32 ^ x >> 12);
}

std::size_t BpeMerges::longest_probe() const noexcept {
  const std::size_t mask = table_.size() - 1;
  std::size_t longest = 0;
  for (std::size_t at = 0; at < table_.size(); ++at) {
    if (table_[at].left == -1) continue;
    longest = std::max(longest, ((at - hash_pair(table_[at].left, table_[at].right)) & mask) + 1);
  }
  return longest;
}

const BpeMerges::Entry* BpeMerges::find(TokenId left, TokenId right) const noexcept {
  const std::size_t mask = table_.size() - 1;
  for (std::size_t slot = hash_pair(left, right) & mask; table_[slot].left != -1; slot = (slot + 1) & mask) {
    if (table_[slot].left == left && table_[slot].right == right) return &table_[slot];
  }
  return nullptr;
}

std::int64_t BpeMerges::rank(TokenId left, TokenId right) const noexcept {
  const Entry* entry = find(left, right);
  return entry != nullptr ? static_cast<std::int64_t>(entry->rank) : -1;
}

void BpeMerges::to_symbols(std::string_view word, std::vector<TokenId>& ids) const {
  ids.clear();
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    const TokenId id = byte_ids_[byte];
    if (id >= 0) {
      ids.push_back(id);
    } else if (byte >= 0x80) {
      for (const TokenId part : replacement_) {
        if (part >= 0) ids.push_back(part);
      }
    }
  }
}

void BpeMerges::merge_short(Scratch& scratch) const {
  std::vector<TokenId>& ids = scratch.ids;
  std::vector<std::uint32_t>& ranks = scratch.ranks;
  const auto rank_at = [&](std::size_t i) {
    const Entry* entry = find(ids[i], ids[i + 1]);
    return entry != nullptr ? entry->rank : kNoRank;
  };
  ranks.resize(ids.size());
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) ranks[i] = rank_at(i);
  for (std::size_t n = ids.size(); n > 1; --n) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i) best = ranks[i] < ranks[best] ? i : best;
    if (ranks[best] == kNoRank) break;
    ids[best] = find(ids[best], ids[best + 1])->merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    ranks.erase(ranks.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) ranks[best - 1] = rank_at(best - 1);
    if (best + 1 < ids.size()) ranks[best] = rank_at(best);
  }
}

void BpeMerges::merge_long(Scratch& scratch) const {
  using Pair = Scratch::Pair;
  auto& nodes = scratch.nodes;
  auto& heap = scratch.heap;
  const auto n = static_cast<std::int32_t>(scratch.ids.size());
  nodes.clear();
  heap.clear();
  for (std::int32_t i = 0; i < n; ++i) {
    nodes.push_back({scratch.ids[static_cast<std::size_t>(i)], i - 1, i + 1 < n ? i + 1 : -1});
  }
  const auto node = [&](std::int32_t i) -> Scratch::Node& { return nodes[static_cast<std::size_t>(i)]; };
  const auto candidate = [&](std::int32_t left, Pair& pair) {
    if (left < 0 || node(left).next < 0) return false;
    const TokenId left_id = node(left).id;
    const TokenId right_id = node(node(left).next).id;
    const Entry* entry = find(left_id, right_id);
    if (entry == nullptr) return false;
    pair = {entry->rank, left, left_id, right_id};
    return true;
  };
  Pair pair;
  for (std::int32_t i = 0; i + 1 < n; ++i) {
    if (candidate(i, pair)) heap.push_back(pair);
  }
  std::make_heap(heap.begin(), heap.end(), ranked_after);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), ranked_after);
    const Pair top = heap.back();
    heap.pop_back();
    Scratch::Node& left = node(top.left);
    // A merged-away node has id -1; a pair whose symbols changed since it was queued is outdated.
    if (left.id != top.left_id || left.next < 0 || node(left.next).id != top.right_id) continue;
    const std::int32_t right = left.next;
    left.id = find(top.left_id, top.right_id)->merged;
    left.next = node(right).next;
    node(right).id = -1;
    if (left.next >= 0) node(left.next).prev = top.left;
    for (const std::int32_t at : {left.prev, top.left}) {
      if (candidate(at, pair)) {
        heap.push_back(pair);
        std::push_heap(heap.begin(), heap.end(), ranked_after);
      }
    }
  }
  scratch.ids.clear();
  for (std::int32_t i = n > 0 ? 0 : -1; i >= 0; i = node(i).next) scratch.ids.push_back(node(i).id);
}

void BpeMerges::encode(std::string_view word, const Vocabulary& vocabulary, Scratch& scratch,
                       std::vector<TokenId>& out) const {
  for (; word.size() > kMaxWord; word.remove_prefix(kMaxWord)) {
    encode(word.substr(0, kMaxWord), vocabulary, scratch, out);
  }
  if (ignore_merges_ && word.size() <= vocabulary.longest()) {
    scratch.text.clear();
    for (const char c : word) scratch.text.append(byte_text(static_cast<std::uint8_t>(c)));
    const TokenId id = vocabulary.find(scratch.text);
    if (id >= 0 && (vocabulary.kind(id) == TokenKind::kNormal || vocabulary.also_merged(id))) {
      out.push_back(id);
      return;
    }
  }
  to_symbols(word, scratch.ids);
  if (scratch.ids.size() <= kShortWord) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  out.insert(out.end(), scratch.ids.begin(), scratch.ids.end());
}

}  // namespace rowmax::engine

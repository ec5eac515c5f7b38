#include "engine/tokenizer/spm.h"

#include <algorithm>

#include "engine/tokenizer/unicode.h"

namespace rowmax::engine {
namespace {

// A stretch without any border that is longer is cut: places in it are 32-bit, and a space becomes three bytes.
constexpr std::size_t kMaxStretch = std::size_t{1} << 29;

// Highest score first, then leftmost (std heaps keep the greatest in front).
bool scored_after(const SpmMerges::Scratch::Pair& a, const SpmMerges::Scratch::Pair& b) noexcept {
  return a.score != b.score ? a.score < b.score : a.left > b.left;
}

// Control, unknown, byte and user-defined tokens are never made by merging, as in SentencePiece itself: the text "<s>"
// of a user does not become the control token. User-defined ones are where the file says so.
bool mergeable(const Vocabulary& vocabulary, TokenId id) noexcept {
  const TokenKind kind = vocabulary.kind(id);
  return kind == TokenKind::kNormal || kind == TokenKind::kUnused ||
         (kind == TokenKind::kUserDefined && vocabulary.also_merged(id));
}

}  // namespace

void SpmMerges::init(const Vocabulary& vocabulary, TokenId unknown, const BpeMerges* merges,
                     std::vector<std::string>& notices) {
  unknown_ = unknown;
  merges_ = merges;
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    if (!mergeable(vocabulary, id)) continue;
    const std::string_view text = vocabulary.text(id);
    for (std::size_t at = 0; (at = text.find(kSpaceMark, at)) != std::string_view::npos; at += kSpaceMark.size()) {
      const bool after_mark =
          at >= kSpaceMark.size() && text.substr(at - kSpaceMark.size(), kSpaceMark.size()) == kSpaceMark;
      if (at > 0 && !after_mark) glued_[static_cast<unsigned char>(text[at - 1])] = true;
    }
  }
  int n_missing = 0;
  for (int byte = 0; byte < 256; ++byte) n_missing += vocabulary.byte_token(static_cast<std::uint8_t>(byte)) < 0;
  if (n_missing != 0) {
    notices.push_back(std::to_string(n_missing) + " byte values have no token: " +
                      (unknown >= 0 ? "they become the unknown token" : "they are dropped"));
  }
}

void SpmMerges::append(std::string_view symbol, const Vocabulary& vocabulary, std::vector<TokenId>& out) const {
  const TokenId id = vocabulary.find(symbol);
  if (id >= 0 && mergeable(vocabulary, id)) {
    out.push_back(id);
    return;
  }
  for (const char c : symbol) {
    const TokenId byte = vocabulary.byte_token(static_cast<std::uint8_t>(c));
    if (byte >= 0 || unknown_ >= 0) out.push_back(byte >= 0 ? byte : unknown_);
  }
}

void SpmMerges::encode(std::string_view text, bool space_before, const Vocabulary& vocabulary, Scratch& scratch,
                       std::vector<TokenId>& out) const {
  while (text.size() > kMaxStretch) {
    encode(text.substr(0, kMaxStretch), space_before, vocabulary, scratch, out);
    text.remove_prefix(kMaxStretch);
    space_before = false;
  }
  scratch.text.clear();
  if (space_before) scratch.text += kSpaceMark;
  for (const char c : text) {
    if (c == ' ') {
      scratch.text += kSpaceMark;
    } else {
      scratch.text += c;
    }
  }
  encode_marked(vocabulary, scratch, out);
}

void SpmMerges::encode_marked(const Vocabulary& vocabulary, Scratch& scratch, std::vector<TokenId>& out) const {
  using Pair = Scratch::Pair;
  const std::string_view text = scratch.text;
  auto& nodes = scratch.nodes;
  auto& heap = scratch.heap;
  nodes.clear();
  heap.clear();
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    const std::uint32_t size = char_at(p, end).size;
    const auto i = static_cast<std::int32_t>(nodes.size());
    nodes.push_back({static_cast<std::uint32_t>(p - text.data()), size, i - 1, i + 1});
    p += size;
  }
  if (nodes.empty()) return;
  nodes.back().next = -1;
  const auto node = [&](std::int32_t i) -> Scratch::Node& { return nodes[static_cast<std::size_t>(i)]; };
  const auto candidate = [&](std::int32_t left, Pair& pair) {
    if (left < 0 || node(left).next < 0) return false;
    const std::uint32_t size = node(left).size + node(node(left).next).size;
    const TokenId id = vocabulary.find(text.substr(node(left).begin, size));
    if (id < 0 || !mergeable(vocabulary, id)) return false;
    pair = {vocabulary.score(id), left, size};
    if (merges_ == nullptr) return true;
    const auto part = [&](const Scratch::Node& of) { return vocabulary.find(text.substr(of.begin, of.size)); };
    const std::int64_t rank = merges_->rank(part(node(left)), part(node(node(left).next)));
    pair.score = -static_cast<float>(rank);  // there are fewer than 2^24
    return rank >= 0;
  };
  Pair pair;
  for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(nodes.size()); ++i) {
    if (candidate(i, pair)) heap.push_back(pair);
  }
  std::make_heap(heap.begin(), heap.end(), scored_after);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), scored_after);
    const Pair top = heap.back();
    heap.pop_back();
    Scratch::Node& left = node(top.left);
    // A pair whose symbols changed since it was queued has another size.
    if (left.size == 0 || left.next < 0 || left.size + node(left.next).size != top.size) continue;
    Scratch::Node& right = node(left.next);
    left.size = top.size;
    left.next = right.next;
    right.size = 0;
    if (left.next >= 0) node(left.next).prev = top.left;
    for (const std::int32_t at : {left.prev, top.left}) {
      if (candidate(at, pair)) {
        heap.push_back(pair);
        std::push_heap(heap.begin(), heap.end(), scored_after);
      }
    }
  }
  for (std::int32_t i = 0; i >= 0; i = node(i).next) append(text.substr(node(i).begin, node(i).size), vocabulary, out);
}

}  // namespace rowmax::engine

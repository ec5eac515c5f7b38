// Pages of a cache as bytes: read by whoever keeps them elsewhere, and taken back from there.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine/runtime/kv_cache.h"
#include "engine/runtime/kv_pages.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// However the appending ends, nothing that was not read is left.
struct Undo {
  KvCache& cache;
  SequenceId id;
  std::int64_t to;
  bool is_wanted = true;
  ~Undo() {
    if (is_wanted) cache.truncate(id, to);
  }
};

bool has_group(PageParts parts, std::size_t group) noexcept { return (parts >> group & 1) != 0; }

}  // namespace

PageLayout KvCache::page_layout() const {
  PageLayout layout;
  for (const Group& group : groups_) layout.groups.push_back({group.window, group.n_layer, group.page_bytes});
  layout.state_bytes = shape_.state_floats * static_cast<std::int64_t>(sizeof(float));
  return layout;
}

PageParts KvCache::page_parts(SequenceId id, std::int64_t page) const noexcept {
  const SequenceState& s = sequence(id);
  if (page < 0 || (page + 1) * kPageTokens > s.confirmed || groups_.size() > 31) return 0;
  const std::int32_t at = s.blocks[static_cast<std::size_t>(page)];
  PageParts parts = (block(at).states >> (kPageTokens - 1) & 1) != 0 ? kStatePart : 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (held(at, g).page >= 0) parts |= PageParts{1} << g;
  }
  return parts;
}

void KvCache::copy_page(SequenceId id, std::int64_t page, PageParts parts, std::span<std::byte> out) const noexcept {
  const std::int32_t at = sequence(id).blocks[static_cast<std::size_t>(page)];
  std::byte* to = out.data();
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (!has_group(parts, g)) continue;
    const auto n = static_cast<std::size_t>(groups_[g].page_bytes);
    std::memcpy(to, pool_.pages(g) + held(at, g).page * groups_[g].page_bytes, n);
    to += n;
  }
  if ((parts & kStatePart) == 0) return;
  const base::Buffer& state = checkpoints_[checkpoint_at(at, kPageTokens)].state;
  std::memcpy(to, state.data(), state.size());
}

// Whether a sequence can go on behind the pages.
Status KvCache::check_pages(SequenceId id, std::span<const TokenId> tokens, std::span<const PageParts> parts) const {
  const SequenceState& s = sequence(id);
  const auto wrong = [](const std::string& what) { return Error::invalid_argument("append_pages: expected " + what); };
  const auto n_token = std::ssize(s.tokens), n_page = std::ssize(parts);
  if (n_token % kPageTokens != 0 || s.confirmed != n_token) return wrong("a sequence of whole pages without drafts");
  if (n_page == 0 || std::ssize(tokens) != n_page * kPageTokens) {
    return wrong(std::to_string(n_page) + " pages of tokens, one or more; found " + std::to_string(tokens.size()));
  }
  if (groups_.size() > 31) return wrong("at most 31 groups of layers");
  const std::int64_t end = n_token + std::ssize(tokens), begin = n_token / kPageTokens;
  if (end > shape_.context) {
    return Error{ErrorCode::kLimit, "append_pages: the sequence would hold " + std::to_string(end) +
                                        " tokens; the context is " + std::to_string(shape_.context)};
  }
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    for (std::int64_t i = std::max(begin, first_page_seen(groups_[g].window, end)); i < begin + n_page; ++i) {
      if (has_group(parts[static_cast<std::size_t>(i - begin)], g)) continue;
      return wrong("the keys of page " + std::to_string(i) + " in layers with a window of " +
                   std::to_string(groups_[g].window));
    }
  }
  if (shape_.state_floats > 0 && (parts.back() & kStatePart) == 0) return wrong("a state behind the last page");
  return {};
}

// Pages of all groups with a window, of those blocks that a token at `end` sees.
bool KvCache::take_window_pages(SequenceState& sequence, std::int64_t end) noexcept {
  slide(sequence, end);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (groups_[g].window == 0) continue;
    Table& table = sequence.tables[g];
    const std::int64_t first = first_page_seen(groups_[g].window, end);
    for (; std::ssize(table.pages) < first; table.first = std::ssize(table.pages)) table.pages.push_back(-1);
    while (table.pages.size() < sequence.blocks.size()) {
      const std::int32_t at = sequence.blocks[table.pages.size()], page = take_page(g);
      if (page < 0) return false;
      held(at, g).page = page;
      use(at, g);
      table.pages.push_back(page);  // there is room since append()
    }
  }
  return true;
}

void KvCache::fill_page(SequenceId id, std::size_t page, PageParts parts, std::span<const std::byte> bytes) noexcept {
  const SequenceState& s = sequence(id);
  const std::byte* from = bytes.data();
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    if (!has_group(parts, g)) continue;
    const std::int32_t to = s.tables[g].pages[page];
    const auto n = static_cast<std::size_t>(groups_[g].page_bytes);
    if (to >= 0) std::memcpy(pool_.pages(g) + to * groups_[g].page_bytes, from, n);
    from += n;
  }
  if ((parts & kStatePart) == 0) return;
  std::memcpy(state(id), from, static_cast<std::size_t>(shape_.state_floats) * sizeof(float));
  save_checkpoint(id, static_cast<std::int64_t>(page + 1) * kPageTokens);
}

Result<std::int64_t> KvCache::append_pages(SequenceId id, std::span<const TokenId> tokens,
                                           std::span<const PageParts> parts, const PageReader& reader) {
  ROWMAX_RETURN_IF_ERROR(check_pages(id, tokens, parts));
  SequenceState& s = sequences_[static_cast<std::size_t>(id)];
  const std::int64_t start = std::ssize(s.tokens);
  const PageLayout layout = page_layout();
  std::int64_t most = 0;
  for (const PageParts each : parts) most = std::max(most, page_bytes(layout, each));
  std::vector<std::byte> scratch(static_cast<std::size_t>(most));
  begin_batch();
  ROWMAX_RETURN_IF_ERROR(append(id, tokens));
  Undo undo{*this, id, start};
  std::size_t read = 0;
  if (take_window_pages(s, start + std::ssize(tokens))) {
    for (; read < parts.size(); ++read) {
      const std::span bytes = std::span(scratch).first(static_cast<std::size_t>(page_bytes(layout, parts[read])));
      if (!reader(read, bytes)) break;
      fill_page(id, static_cast<std::size_t>(start / kPageTokens) + read, parts[read], bytes);
    }
  }
  // What was read is kept for others, too. What was not is let go of, before anybody sees it.
  const std::int64_t end = start + static_cast<std::int64_t>(read) * kPageTokens;
  publish(id, end);
  undo.is_wanted = false;
  const std::int64_t left = read == parts.size() ? end : truncate(id, end);
  settle(id);
  return left;
}

}  // namespace rowmax::engine

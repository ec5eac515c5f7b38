#include "rowmax/engine/disk_cache.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "base/guarded.h"
#include "engine/serving/disk_folder.h"
#include "engine/serving/page_file.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr auto kBetweenScans = std::chrono::seconds(5);   // for files of other processes
constexpr std::int64_t kBetweenTouches = 60'000'000'000;  // nanoseconds
constexpr std::int64_t kStateTokens = 1024;

using SteadyClock = std::chrono::steady_clock;

std::int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// States are large, and a prompt that is computed in pieces leaves one behind each of them.
bool keeps_state(std::int64_t end_page, std::int64_t prompt_tokens) {
  return end_page % (kStateTokens / kPrefixPageTokens) == 0 || end_page == prompt_tokens / kPrefixPageTokens ||
         end_page == (prompt_tokens - 1) / kPrefixPageTokens;
}

std::span<const TokenId> page_of(std::span<const TokenId> tokens, std::int64_t page) {
  return tokens.subspan(static_cast<std::size_t>(page * kPrefixPageTokens),
                        static_cast<std::size_t>(kPrefixPageTokens));
}

// The files of a folder, found by their page and by when they were used last.
class FileIndex {
 public:
  struct File {
    std::int64_t bytes = 0, used = 0;
  };

  void put(const std::string& name, File file) {
    erase(name);
    by_use_.emplace(file.used, name);
    files_.emplace(name, file);
    bytes_ += file.bytes;
  }
  void erase(const std::string& name) {
    const auto found = files_.find(name);
    if (found == files_.end()) return;
    bytes_ -= found->second.bytes;
    by_use_.erase({found->second.used, name});
    files_.erase(found);
  }
  // False where it was used a moment ago.
  bool use(const std::string& name, std::int64_t now) {
    const auto found = files_.find(name);
    if (found == files_.end() || now - found->second.used < kBetweenTouches) return false;
    put(name, {found->second.bytes, now});
    return true;
  }
  // The parts that a file has of a page, the most of them; 0: there is none.
  PageParts parts_of(const std::string& stem) const {
    PageParts most = 0;
    for (auto each = files_.lower_bound(stem); each != files_.end() && each->first.starts_with(stem); ++each) {
      const auto name = PageName::parse(each->first);
      if (name && (most & ~name->parts) == 0) most = name->parts;
    }
    return most;
  }
  const std::string* oldest() const { return by_use_.empty() ? nullptr : &by_use_.begin()->second; }
  std::int64_t bytes() const { return bytes_; }
  const std::map<std::string, File>& files() const { return files_; }

 private:
  std::map<std::string, File> files_;
  std::set<std::pair<std::int64_t, std::string>> by_use_;
  std::int64_t bytes_ = 0;
};

}  // namespace

struct DiskCache::Impl {
  struct Waiting {
    PageName name;
    std::vector<std::byte> file;
  };

  const DiskCacheOptions options;
  const PageLayout layout;
  const base::Sha256::Digest numbers;
  std::array<std::uint8_t, 4> id = {};
  DiskFolder folder;

  mutable std::mutex mutex;
  std::condition_variable wake, idle;
  FileIndex index;
  std::map<PageKey, PageParts> on_their_way;
  std::deque<Waiting> queue;
  std::vector<std::pair<std::string, std::int64_t>> touched;
  bool writing = false, stopping = false, failing = false, wants_scan = false;
  SteadyClock::time_point last_scan, last_failure;
  DiskCacheStatistics figures;
  std::mutex telling;
  std::vector<std::byte> scratch;  // the engine's thread's
  std::thread writer;

  Impl(const DiskCacheOptions& chosen, const Session& session, const SessionOptions& session_options, DiskFolder opened)
      : options(chosen),
        layout(session.page_layout()),
        numbers(numbers_digest(session, session_options, chosen.version)),
        folder(std::move(opened)) {
    std::ranges::copy(std::span(numbers).last(id.size()), id.begin());
  }
  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    wake.notify_one();
    if (writer.joinable()) writer.join();
  }

  void tell(DiskCacheEvent event) {
    const std::lock_guard lock(telling);
    if (options.listener) options.listener(event);
  }

  PageName name_of(const PageKey& key, PageParts parts) const { return {id, key, parts}; }

  void add_keys(std::span<const TokenId> tokens, std::int64_t n_pages, Prefix& prefix) const {
    while (std::ssize(prefix.keys) < n_pages) {
      const PageKey before = prefix.keys.empty() ? first_key(numbers) : prefix.keys.back();
      prefix.keys.push_back(next_key(before, page_of(tokens, std::ssize(prefix.keys))));
    }
  }

  // Reading.

  std::vector<PageParts> find(const Prefix& prefix, std::int64_t first, std::int64_t last) {
    std::vector<PageParts> found;
    const std::lock_guard lock(mutex);
    for (std::int64_t page = first; page < last; ++page) {
      const PageParts parts = index.parts_of(name_of(prefix.keys[static_cast<std::size_t>(page)], 0).stem());
      if (parts == 0) break;
      found.push_back(parts);
    }
    if (first + std::ssize(found) < last && SteadyClock::now() - last_scan > kBetweenScans) {
      wants_scan = true;  // another process may have it
      wake.notify_one();
    }
    return found;
  }

  // How many of the pages a sequence that holds `first` others can go on behind.
  std::int64_t usable(std::span<const PageParts> found, std::int64_t first) const {
    const auto can_end = [&](std::int64_t n) {
      if (layout.state_bytes > 0 && (found[static_cast<std::size_t>(n - 1)] & kStatePart) == 0) return false;
      for (std::size_t g = 0; g < layout.groups.size(); ++g) {
        const std::int64_t window = layout.groups[g].window, end = (first + n) * kPrefixPageTokens;
        const std::int64_t seen = window == 0 ? 0 : std::max<std::int64_t>(0, end - window + 1) / kPrefixPageTokens;
        for (std::int64_t page = std::max(first, seen); page < first + n; ++page) {
          if ((found[static_cast<std::size_t>(page - first)] >> g & 1) == 0) return false;
        }
      }
      return true;
    };
    std::int64_t n = std::ssize(found);
    while (n > 0 && !can_end(n)) --n;
    return n;
  }

  void forget(const std::string& file) {
    {
      const std::lock_guard lock(mutex);
      index.erase(file);
    }
    folder.remove(file);
  }

  enum class Read { kWhole, kGone, kDamaged };
  Read read_page(const PageName& name, std::span<const TokenId> tokens, std::span<std::byte> out) {
    const std::span file = std::span(scratch).first(PageFile::bytes(out.size()));
    const std::string text = name.text();
    const Status read = folder.read(text, file);
    const char* fault = read.ok() ? PageFile::fault(file, numbers, name, tokens) : nullptr;
    if (read.ok() && fault == nullptr) {
      std::ranges::copy(PageFile::payload(file), out.begin());
      const std::lock_guard lock(mutex);
      ++figures.loaded_pages;
      figures.loaded_bytes += std::ssize(out);
      return Read::kWhole;
    }
    const bool gone = !read.ok() && read.error().code == ErrorCode::kNotFound;
    {
      const std::lock_guard lock(mutex);
      index.erase(text);
      figures.damaged_files += !gone;
    }
    if (gone) return Read::kGone;
    folder.remove(text);
    tell({DiskCacheEvent::Kind::kDamaged, text, read.ok() ? std::string(fault) : read.error().message});
    return Read::kDamaged;
  }

  std::int64_t load(Session& session, SequenceId sequence, std::span<const TokenId> tokens, Prefix& prefix) {
    const std::int64_t held = std::ssize(session.tokens(sequence));
    std::int64_t first = held / kPrefixPageTokens;
    const std::int64_t last = std::min(std::ssize(tokens) - 1, session.context()) / kPrefixPageTokens;
    if (first >= last) return 0;
    add_keys(tokens, last, prefix);
    std::vector<PageParts> found = find(prefix, first, last);
    found.resize(static_cast<std::size_t>(usable(found, first)));
    if (found.empty()) return 0;
    if (held % kPrefixPageTokens != 0) {
      // Of the page that is begun in memory the disk has the whole.
      first = whole_pages(session, sequence);
      found = find(prefix, first, last);
      found.resize(static_cast<std::size_t>(usable(found, first)));
    }
    const std::int64_t read = found.empty() ? 0 : read_pages(session, sequence, tokens, prefix, first, found);
    if (std::ssize(session.tokens(sequence)) >= held) return read;
    const auto again = session.reuse(sequence, tokens);  // the memory had more
    return again.ok() && *again <= first * kPrefixPageTokens + read ? read : 0;
  }

  // Goes back to the end of a page; how many there are then.
  static std::int64_t whole_pages(Session& session, SequenceId sequence) {
    std::int64_t left = std::ssize(session.tokens(sequence));
    while (left % kPrefixPageTokens != 0) {
      const auto kept = session.truncate(sequence, left / kPrefixPageTokens * kPrefixPageTokens);
      left = kept.ok() ? *kept : 0;
    }
    return left / kPrefixPageTokens;
  }

  // Of a sequence that holds `first` pages; how many tokens were read.
  std::int64_t read_pages(Session& session, SequenceId sequence, std::span<const TokenId> tokens, Prefix& prefix,
                          std::int64_t first, std::span<const PageParts> found) {
    const std::int64_t held = first * kPrefixPageTokens;
    std::int64_t most = 0;
    for (const PageParts parts : found) most = std::max(most, page_bytes(layout, parts));
    scratch.resize(std::max(scratch.size(), PageFile::bytes(static_cast<std::size_t>(most))));
    const std::span more = tokens.subspan(static_cast<std::size_t>(held), found.size() * kPrefixPageTokens);
    std::size_t damaged = found.size();
    const auto left = session.append_pages(sequence, more, found, [&](std::size_t page, std::span<std::byte> bytes) {
      const auto key = prefix.keys[static_cast<std::size_t>(first) + page];
      const Read read = read_page(name_of(key, found[page]), page_of(more, static_cast<std::int64_t>(page)), bytes);
      if (read == Read::kDamaged) damaged = page, ++prefix.damaged;
      return read == Read::kWhole;
    });
    // Those behind it are computed again in any case. They are written again, too: nobody looked at what they hold.
    for (std::size_t page = damaged + 1; page < found.size(); ++page) {
      forget(name_of(prefix.keys[static_cast<std::size_t>(first) + page], found[page]).text());
    }
    if (!left.ok()) return 0;
    use(prefix, 0, first + std::ssize(found));
    return std::max<std::int64_t>(0, *left - held);
  }

  // The pages of a prefix were used; the first ones last, so that they go last.
  void use(const Prefix& prefix, std::int64_t first, std::int64_t last) {
    const std::int64_t now = now_nanoseconds();
    const std::lock_guard lock(mutex);
    for (std::int64_t page = first; page < last; ++page) {
      const std::string stem = name_of(prefix.keys[static_cast<std::size_t>(page)], 0).stem();
      const PageParts parts = index.parts_of(stem);
      if (parts == 0) continue;
      const std::string name = name_of(prefix.keys[static_cast<std::size_t>(page)], parts).text();
      if (index.use(name, now - page * 1000)) touched.emplace_back(name, now - page * 1000);
    }
    if (!touched.empty()) wake.notify_one();
  }

  // Writing.

  // Whether a page with these parts is to be written; its place in the queue is taken then.
  enum class Wanted { kYes, kNo, kLater };
  Wanted reserve(const PageName& name, std::int64_t bytes) {
    const std::lock_guard lock(mutex);
    const PageParts parts = name.parts, there = index.parts_of(name.stem());
    const auto way = on_their_way.find(name.key);
    const PageParts coming = way == on_their_way.end() ? 0 : way->second;
    // What is there is replaced by what has more, and never by what lacks a part of it.
    if (parts == there || parts == coming || (there & ~parts) != 0 || (coming & ~parts) != 0) return Wanted::kNo;
    if (bytes > options.bytes) return Wanted::kNo;
    if (failing && SteadyClock::now() - last_failure < options.retry_after) {
      ++figures.skipped_pages;
      return Wanted::kNo;
    }
    if (figures.waiting_bytes > 0 && figures.waiting_bytes + bytes > options.queue_bytes) return Wanted::kLater;
    on_their_way[name.key] = parts;
    figures.waiting_bytes += bytes;
    return Wanted::kYes;
  }

  void save(Session& session, SequenceId sequence, std::int64_t prompt_tokens, Prefix& prefix) {
    const std::span<const TokenId> tokens = session.tokens(sequence);
    const std::int64_t first = prefix.saved;
    for (; (prefix.saved + 1) * kPrefixPageTokens <= std::ssize(tokens); ++prefix.saved) {
      const std::int64_t page = prefix.saved;
      PageParts parts = session.page_parts(sequence, page);
      if (parts == 0) break;  // drafts, so far
      if (!keeps_state(page + 1, prompt_tokens)) parts &= ~kStatePart;
      add_keys(tokens, page + 1, prefix);
      const PageName name = name_of(prefix.keys[static_cast<std::size_t>(page)], parts);
      const auto bytes = PageFile::bytes(static_cast<std::size_t>(page_bytes(layout, parts)));
      const Wanted wanted = reserve(name, static_cast<std::int64_t>(bytes));
      if (wanted == Wanted::kLater) break;
      if (wanted == Wanted::kNo) continue;
      Waiting waiting{name, {}};
      const Status made = base::guarded([&]() -> Status {
        waiting.file.resize(bytes);
        PageFile::write_head(waiting.file, numbers, name, page_of(tokens, page));
        session.copy_page(sequence, page, parts, PageFile::payload(waiting.file));
        const std::lock_guard lock(mutex);
        queue.push_back(std::move(waiting));
        return {};
      });
      if (!made.ok()) {
        const std::lock_guard lock(mutex);
        on_their_way.erase(name.key);
        figures.waiting_bytes -= static_cast<std::int64_t>(bytes);
        break;
      }
      wake.notify_one();
    }
    if (first < prefix.saved) use(prefix, first, prefix.saved);
  }

  void scan() {
    auto entries = folder.scan();
    const std::lock_guard lock(mutex);
    last_scan = SteadyClock::now();
    if (!entries.ok()) return;
    std::set<std::string> there;
    for (DiskFolder::Entry& entry : *entries) {
      const auto known = index.files().find(entry.name);
      if (known == index.files().end() || known->second.bytes != entry.bytes || known->second.used < entry.used) {
        index.put(entry.name, {entry.bytes, entry.used});
      }
      there.insert(std::move(entry.name));
    }
    std::vector<std::string> gone;
    for (const auto& [name, file] : index.files()) {
      if (!there.contains(name)) gone.push_back(name);
    }
    for (const std::string& name : gone) index.erase(name);
  }

  // The least recently used files go, until so many more bytes have room.
  void make_room(std::int64_t bytes) {
    while (true) {
      std::string name;
      {
        const std::lock_guard lock(mutex);
        if (index.bytes() + bytes <= options.bytes || index.oldest() == nullptr) return;
        name = *index.oldest();
        index.erase(name);
        ++figures.evicted_files;
      }
      folder.remove(name);
    }
  }

  void write(Waiting& waiting) {
    const std::string name = waiting.name.text(), stem = waiting.name.stem();
    const auto bytes = static_cast<std::int64_t>(waiting.file.size());
    PageFile::write_sum(waiting.file);
    make_room(bytes);
    const Status written = folder.write(name, waiting.file);
    std::vector<std::string> replaced;
    bool first_failure = false, first_success = false;
    {
      const std::lock_guard lock(mutex);
      if (written.ok()) {
        for (auto each = index.files().lower_bound(stem); each != index.files().end() && each->first.starts_with(stem);
             ++each) {
          if (each->first != name) replaced.push_back(each->first);
        }
        for (const std::string& old : replaced) index.erase(old);
        index.put(name, {bytes, now_nanoseconds()});
        ++figures.saved_pages;
        figures.saved_bytes += bytes;
      } else {
        ++figures.failed_writes;
        last_failure = SteadyClock::now();
      }
      first_failure = !written.ok() && !std::exchange(failing, !written.ok());
      first_success = written.ok() && std::exchange(failing, false);
    }
    for (const std::string& old : replaced) folder.remove(old);
    if (first_failure) tell({DiskCacheEvent::Kind::kWriteFailed, name, written.error().message});
    if (first_success) tell({DiskCacheEvent::Kind::kWritesAgain, name, ""});
  }

  void run_writer() {
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return stopping || wants_scan || !queue.empty() || !touched.empty(); });
      const bool rescans = SteadyClock::now() - last_scan > kBetweenScans;
      if (queue.empty() && touched.empty() && stopping) return;
      wants_scan = false;
      writing = true;
      const auto touches = std::exchange(touched, {});
      std::optional<Waiting> next;
      if (!queue.empty()) {
        next = std::move(queue.front());
        queue.pop_front();
      }
      lock.unlock();
      const Status done = base::guarded([&]() -> Status {
        if (rescans) scan();
        for (const auto& [name, used] : touches) folder.touch(name, used);
        if (next) write(*next);
        return {};
      });
      lock.lock();
      if (next) {
        figures.waiting_bytes -= std::ssize(next->file);
        figures.skipped_pages += !done.ok();
        on_their_way.erase(next->name.key);
      }
      writing = false;
      if (queue.empty()) idle.notify_all();
    }
  }
};

DiskCache::DiskCache(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
DiskCache::DiskCache(DiskCache&&) noexcept = default;
DiskCache& DiskCache::operator=(DiskCache&&) noexcept = default;
DiskCache::~DiskCache() = default;

std::int64_t page_file_bytes(const Session& session) {
  const PageLayout layout = session.page_layout();
  PageParts all = layout.state_bytes > 0 ? kStatePart : 0;
  for (std::size_t g = 0; g < layout.groups.size(); ++g) all |= PageParts{1} << g;
  return static_cast<std::int64_t>(PageFile::bytes(static_cast<std::size_t>(page_bytes(layout, all))));
}

Result<DiskCache> DiskCache::open(const DiskCacheOptions& options, const Session& session,
                                  const SessionOptions& session_options) {
  return base::guarded([&]() -> Result<DiskCache> {
    if (const std::int64_t least = page_file_bytes(session); options.bytes < least) {
      return Error::invalid_argument("expected room for a page of this model, " + std::to_string(least) +
                                     " bytes, found " + std::to_string(options.bytes));
    }
    ROWMAX_TRY(folder, DiskFolder::open(options.folder));
    auto impl = std::make_unique<Impl>(options, session, session_options, std::move(folder));
    impl->scan();
    impl->make_room(0);
    impl->writer = std::thread([made = impl.get()] { made->run_writer(); });
    return DiskCache(std::move(impl));
  });
}

std::int64_t DiskCache::load(Session& session, SequenceId sequence, std::span<const TokenId> tokens, Prefix& prefix) {
  const auto loaded =
      base::guarded([&]() -> Result<std::int64_t> { return impl_->load(session, sequence, tokens, prefix); });
  return loaded.ok() ? *loaded : 0;
}

void DiskCache::save(Session& session, SequenceId sequence, std::int64_t prompt_tokens, Prefix& prefix) {
  (void)base::guarded([&]() -> Status {
    impl_->save(session, sequence, prompt_tokens, prefix);
    return {};
  });
}

void DiskCache::flush() {
  std::unique_lock lock(impl_->mutex);
  impl_->wake.notify_one();
  impl_->idle.wait(lock, [&] { return impl_->queue.empty() && !impl_->writing; });
}

DiskCacheStatistics DiskCache::statistics() const {
  const std::lock_guard lock(impl_->mutex);
  DiskCacheStatistics figures = impl_->figures;
  figures.files = std::ssize(impl_->index.files());
  figures.bytes = impl_->index.bytes();
  const std::string mine = PageName{impl_->id, {}, 0}.text().substr(0, 9);
  for (const auto& [name, file] : impl_->index.files()) figures.foreign_files += !name.starts_with(mine);
  return figures;
}

}  // namespace rowmax::engine

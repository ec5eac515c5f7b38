#include "apps/cli/terminal_input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "apps/text/utf8.h"

namespace rowmax::cli {
namespace {

constexpr std::string_view kPasteBegin = "\x1b[200~";
constexpr std::string_view kPasteEnd = "\x1b[201~";
constexpr std::string_view kFolded = "\xE2\x90\xA4";  // U+2424
constexpr char32_t kQuotedInsert = 0x16;              // Ctrl-V
constexpr char32_t kReplacement = 0xFFFD;
// A terminal sends its sequences in one piece; a person who presses Esc and [ needs longer.
constexpr int kSequencePauseMs = 25;
// A silence after which what comes is not of a cancelled paste any more, should its end mark be lost (Ctrl-C throws away
// what the terminal had not handed over).
constexpr int kPastePauseMs = 200;
constexpr char kCtrlC = 0x03;

// Length of a UTF-8 sequence by its first byte; 0 for one that begins none.
std::size_t sequence_size(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  return first >= 0xF0 && first < 0xF5 ? 4 : 0;
}

struct Decoded {
  char32_t character;
  std::size_t size;
};

Decoded decode(std::string_view text) {
  const text::Utf8Character next = text::first_character(text);
  return next.valid ? Decoded{next.code, next.bytes} : Decoded{kReplacement, 1};
}

}  // namespace

std::string TerminalInput::unfold(std::string_view line) {
  std::string out;
  for (std::size_t at = 0; at < line.size();) {
    const bool folded = line.substr(at).starts_with(kFolded);
    out += folded ? '\n' : line[at];
    at += folded ? kFolded.size() : 1;
  }
  return out;
}

bool TerminalInput::take_folded() noexcept {
  const bool was = folded_;
  folded_ = false;
  return was;
}

bool TerminalInput::take_cancelled() noexcept {
  const bool was = cancelled_;
  cancelled_ = false;
  return was;
}

bool TerminalInput::fill(bool (*stop)()) {
  char block[4096];
  while (!stop()) {
    pollfd waits[2] = {{descriptor_, POLLIN, 0}, {wake_, POLLIN, 0}};  // poll skips a descriptor below zero
    if (::poll(waits, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    std::uint64_t count = 0;
    if (waits[1].revents != 0 && ::read(wake_, &count, sizeof count) > 0) continue;
    if (waits[0].revents == 0) continue;
    const ssize_t n = ::read(descriptor_, block, sizeof block);
    if (n > 0) {
      bytes_.append(block, static_cast<std::size_t>(n));
      return true;
    }
    if (n == 0 || (errno != EINTR && errno != EAGAIN)) return false;
  }
  return false;
}

// Whether more than n bytes are there, or come at once.
bool TerminalInput::arrives(std::size_t n, int milliseconds) const {
  if (bytes_.size() > n) return true;
  pollfd input = {descriptor_, POLLIN, 0};
  return ::poll(&input, 1, milliseconds) > 0;
}

bool TerminalInput::begins_with(std::string_view mark) {
  for (std::size_t i = 0; i < mark.size(); ++i) {
    if (bytes_.size() <= i && (!arrives(i, kSequencePauseMs) || !fill([] { return false; }))) return false;
    if (bytes_[i] != mark[i]) return false;
  }
  return true;
}

void TerminalInput::read_paste(bool (*stop)()) {
  bytes_.erase(0, kPasteBegin.size());
  std::size_t end = bytes_.find(kPasteEnd);
  while (end == std::string::npos && bytes_.size() < kMaxPasteBytes) {
    const std::size_t from = bytes_.size() < kPasteEnd.size() ? 0 : bytes_.size() - kPasteEnd.size();
    if (bytes_.find(kCtrlC, from) != std::string::npos) break;
    if (!fill(stop)) {
      if (stop()) return cancel_paste();
      break;
    }
    end = bytes_.find(kPasteEnd, from);
  }
  if (bytes_.find(kCtrlC) < end) return cancel_paste();
  const bool whole = end != std::string::npos;
  const std::string text = bytes_.substr(0, end);
  bytes_.erase(0, whole ? end + kPasteEnd.size() : bytes_.size());
  take_pasted(text);
}

void TerminalInput::cancel_paste() {
  cancelled_ = true;
  std::size_t end = bytes_.find(kPasteEnd);
  while (end == std::string::npos) {
    // What may be the beginning of the mark is kept.
    bytes_.erase(0, bytes_.size() - std::min(bytes_.size(), kPasteEnd.size() - 1));
    if (!arrives(bytes_.size(), kPastePauseMs) || !fill([] { return false; })) {
      bytes_.clear();
      return;
    }
    end = bytes_.find(kPasteEnd);
  }
  bytes_.erase(0, end + kPasteEnd.size());
}

void TerminalInput::take_pasted(std::string_view text) {
  // Terminals send a line end as CR; the last one is how lines are copied, not a wish to send.
  std::string lines;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r') lines += text[i];
    if (text[i] == '\r' && !(i + 1 < text.size() && text[i + 1] == '\n')) lines += '\n';
  }
  if (lines.ends_with('\n')) lines.pop_back();
  for (std::string_view rest = lines; !rest.empty();) {
    const Decoded one = decode(rest);
    rest.remove_prefix(one.size);
    if (one.character == '\n') {
      folded_ = true;
      characters_.push_back(kFoldedLineEnd);
      continue;
    }
    if (one.character < 0x20 || one.character == 0x7F) characters_.push_back(kQuotedInsert);
    characters_.push_back(one.character);
  }
}

void TerminalInput::decode_one(bool (*stop)()) {
  const std::size_t size = std::max<std::size_t>(1, sequence_size(static_cast<unsigned char>(bytes_[0])));
  while (bytes_.size() < size && arrives(bytes_.size(), kSequencePauseMs) && fill(stop)) {
  }
  const Decoded one = decode(bytes_);
  bytes_.erase(0, one.size);
  characters_.push_back(one.character);
}

int TerminalInput::next(bool (*stop)()) {
  while (characters_.empty()) {
    if (bytes_.empty() && !fill(stop)) return -1;
    if (bytes_[0] == kPasteBegin[0] && begins_with(kPasteBegin)) {
      read_paste(stop);
      if (cancelled_) return -1;
    } else if (bytes_[0] == kPasteEnd[0] && begins_with(kPasteEnd)) {
      bytes_.erase(0, kPasteEnd.size());  // of a paste that was cancelled: no key
    } else if (!bytes_.empty()) {
      decode_one(stop);
    }
  }
  const char32_t character = characters_.front();
  characters_.pop_front();
  return static_cast<int>(character);
}

}  // namespace rowmax::cli

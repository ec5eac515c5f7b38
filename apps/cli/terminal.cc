#include "apps/cli/terminal.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "apps/text/utf8.h"

namespace rowmax::cli {
namespace {

constexpr int kBarWidth = 30;
constexpr auto kRedrawInterval = std::chrono::milliseconds(80);

std::string styled(std::string_view text, int descriptor, const char* code) {
  if (!use_color(descriptor)) return std::string(text);
  return "\x1b[" + std::string(code) + "m" + std::string(text) + "\x1b[0m";
}

}  // namespace

void use_utf8() noexcept {
  const auto is_utf8 = [] {
    const std::string_view codeset = nl_langinfo(CODESET);
    return codeset == "UTF-8" || codeset == "utf8";
  };
  if (std::setlocale(LC_CTYPE, "") != nullptr && is_utf8()) return;
  for (const char* name : {"C.UTF-8", "C.utf8", "en_US.UTF-8"}) {
    if (std::setlocale(LC_CTYPE, name) != nullptr && is_utf8()) return;
  }
}

bool is_terminal(int descriptor) noexcept { return isatty(descriptor) == 1; }

bool use_color(int descriptor) noexcept {
  if (!is_terminal(descriptor)) return false;
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = std::getenv("TERM");
  return term != nullptr && std::string_view(term) != "dumb";
}

std::string dim(std::string_view text, int descriptor) { return styled(text, descriptor, "2"); }
std::string bold(std::string_view text, int descriptor) { return styled(text, descriptor, "1"); }

namespace {

std::string escaped_text(std::string_view text, bool invisible) {
  std::string out;
  out.reserve(text.size());
  char escaped[16];
  while (!text.empty()) {
    const text::Utf8Character c = text::first_character(text);
    const std::string_view bytes = text.substr(0, c.bytes);
    text.remove_prefix(c.bytes);
    if (!c.valid) {
      for (const char byte : bytes) {
        std::snprintf(escaped, sizeof escaped, "\\x%02X", static_cast<unsigned char>(byte));
        out += escaped;
      }
    } else if ((c.code < 0x20 && c.code != '\n' && c.code != '\t') || c.code == 0x7F) {
      out += '^';
      out += static_cast<char>(c.code ^ 0x40);
    } else if (c.code >= 0x80 && c.code < 0xA0) {
      std::snprintf(escaped, sizeof escaped, "\\x%02X", static_cast<unsigned>(c.code));
      out += escaped;
    } else if (text::steers_terminal(c.code) || (invisible && text::is_invisible(c.code))) {
      std::snprintf(escaped, sizeof escaped, "\\u{%04X}", static_cast<unsigned>(c.code));
      out += escaped;
    } else {
      out += bytes;
    }
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return escaped_text(text, false); }
std::string visible(std::string_view text) { return escaped_text(text, true); }

std::string shown(std::string_view text, int descriptor) {
  return is_terminal(descriptor) ? printable(text) : std::string(text);
}

void note(std::string_view text) {
  std::fprintf(stderr, "%s %s\n", dim("note:", STDERR_FILENO).c_str(), printable(text).c_str());
}

void error(std::string_view text) {
  std::fprintf(stderr, "%s %s\n", bold("rowmax: error:", STDERR_FILENO).c_str(), printable(text).c_str());
}

ProgressBar::ProgressBar(std::string label, double total, bool in_bytes, double already)
    : label_(std::move(label)),
      total_(total),
      in_bytes_(in_bytes),
      already_(already),
      shown_(is_terminal(STDERR_FILENO)),
      start_(std::chrono::steady_clock::now()),
      last_(start_ - kRedrawInterval) {}

ProgressBar::~ProgressBar() { finish(); }

bool ProgressBar::due(double done) {
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || finished_ || (now - last_ < kRedrawInterval && done < total_)) return false;
  last_ = now;
  return true;
}

void ProgressBar::draw(double done, std::string_view behind) {
  const double share = total_ > 0 ? std::clamp(done / total_, 0.0, 1.0) : 1.0;
  const int filled = static_cast<int>(share * kBarWidth);
  std::string bar;
  for (int i = 0; i < kBarWidth; ++i) bar += i < filled ? "█" : "░";
  // A line that the terminal wraps cannot be drawn over.
  struct winsize size = {};
  const int columns = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  const int room = columns - 1 - static_cast<int>(label_.size()) - kBarWidth - 9;  // spaces and the share
  std::string text = printable(behind);
  std::size_t kept = 0;
  for (int i = 0; i < room && kept < text.size(); ++i)
    kept += text::first_character(std::string_view(text).substr(kept)).bytes;
  text.resize(kept);
  drawn_ = true;
  std::fprintf(stderr, "\r\x1b[K%s %s %3.0f %%  %s", label_.c_str(), bar.c_str(), share * 100, text.c_str());
  std::fflush(stderr);
}

void ProgressBar::update(double done, std::string_view what) {
  if (due(done)) draw(done, what);
}

void ProgressBar::update(double done) {
  if (!due(done)) return;
  const double seconds = std::chrono::duration<double>(last_ - start_).count();
  std::string amount =
      in_bytes_ ? human_bytes(done) + " of " + human_bytes(total_) : short_number(done) + " of " + short_number(total_);
  if (in_bytes_ && seconds > 0.3) amount += ", " + human_bytes(std::max(done - already_, 0.0) / seconds) + "/s";
  draw(done, amount);
}

void ProgressBar::finish() {
  if (drawn_ && !finished_) std::fputs("\r\x1b[K", stderr);
  finished_ = true;
}

}  // namespace rowmax::cli

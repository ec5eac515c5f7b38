// What a terminal sends, as characters: UTF-8 decoded, and pasted text told apart from typed keys ("bracketed paste",
// xterm's control sequences: the terminal puts ESC [ 200 ~ and ESC [ 201 ~ around it).
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace rowmax::cli {

class TerminalInput {
 public:
  // Stands for a line end inside pasted text, so that the whole paste is one line to an editor: U+2424 SYMBOL FOR
  // NEWLINE, which shows as what it means. unfold() makes line ends of it.
  static constexpr char32_t kFoldedLineEnd = 0x2424;
  static std::string unfold(std::string_view line);

  // wake: a descriptor (of eventfd) that becomes readable when stop() is to be asked again; -1: none.
  explicit TerminalInput(int descriptor, int wake = -1) : descriptor_(descriptor), wake_(wake) {}
  // Waits for the next character; -1 at the end of input, on an error, where stop() is true, which is asked before each
  // wait, and where a paste was cancelled: stop() became true before its end mark came, or there is a Ctrl-C in it.
  // Nothing of that paste remains, and what comes of it after all is dropped, up to its end mark or a silence.
  // Bytes that are no UTF-8 become U+FFFD. Control characters of pasted text come behind a Ctrl-V (quoted insert): they
  // are text, not commands.
  int next(bool (*stop)());
  // Whether text with line ends was pasted since the last call.
  bool take_folded() noexcept;
  // Whether a paste was cancelled since the last call.
  bool take_cancelled() noexcept;

 private:
  static constexpr std::size_t kMaxPasteBytes = std::size_t{16} << 20;

  int descriptor_, wake_;
  std::string bytes_;  // read and not yet looked at
  std::deque<char32_t> characters_;
  bool folded_ = false;
  bool cancelled_ = false;

  bool fill(bool (*stop)());
  bool arrives(std::size_t n, int milliseconds) const;
  bool begins_with(std::string_view mark);
  void read_paste(bool (*stop)());
  void cancel_paste();
  void take_pasted(std::string_view text);
  void decode_one(bool (*stop)());
};

}  // namespace rowmax::cli

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

  explicit TerminalInput(int descriptor) : descriptor_(descriptor) {}
  // Waits for the next character; -1 at the end of input, on an error, and where a signal came and stop() is true.
  // Bytes that are no UTF-8 become U+FFFD. Control characters of pasted text come behind a Ctrl-V (quoted insert): they
  // are text, not commands.
  int next(bool (*stop)());
  // Whether text with line ends was pasted since the last call.
  bool take_folded() noexcept;

 private:
  static constexpr std::size_t kMaxPasteBytes = std::size_t{16} << 20;

  int descriptor_;
  std::string bytes_;  // read and not yet looked at
  std::deque<char32_t> characters_;
  bool folded_ = false;

  bool fill(bool (*stop)());
  bool arrives(std::size_t n) const;
  bool begins_paste();
  void read_paste(bool (*stop)());
  void decode_one(bool (*stop)());
};

}  // namespace rowmax::cli

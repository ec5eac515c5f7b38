// What people see: colour, progress, notes. Everything here but `printable` writes to standard error, so that standard
// output carries nothing but the result.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "apps/store/amounts.h"

namespace rowmax::cli {

bool is_terminal(int descriptor) noexcept;
// Characters are UTF-8, whatever the environment says of languages: LC_CTYPE as it names it where that is UTF-8, else
// C.UTF-8. Everything else stays C's, so that numbers keep their dot. Without it the line editor drops what is not
// ASCII.
void use_utf8() noexcept;
// A terminal, and neither NO_COLOR nor TERM=dumb.
bool use_color(int descriptor) noexcept;

// The same text, dim or bold where the descriptor shows colour.
std::string dim(std::string_view text, int descriptor);
std::string bold(std::string_view text, int descriptor);

// Text made safe for a terminal, since text from a model or a file must not steer it or show something else than it is:
// control characters other than newline and tab become ^X or \xNN, characters that change the writing direction or that
// cannot be seen \u{NNNN}, bytes that are not UTF-8 \xNN.
std::string printable(std::string_view text);
// Besides, what is invisible is written as its code: where two texts are told apart that may look the same.
std::string visible(std::string_view text);
// printable() where the descriptor is a terminal; the same bytes where it is not.
std::string shown(std::string_view text, int descriptor);

using store::human_bytes;
using store::short_number;

// Always printable(): what they quote is for people, in a log as on a terminal.
void note(std::string_view text);
void error(std::string_view text);

// One line, rewritten in place on a terminal and absent elsewhere.
class ProgressBar {
 public:
  // `already`: what was done before, which counts in the bar but not in the speed.
  ProgressBar(std::string label, double total, bool in_bytes, double already = 0);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void update(double done);
  // total 1: percents alone, and what is being worked on behind them.
  void update(double done, std::string_view what);
  void finish();

 private:
  std::string label_;
  double total_;
  bool in_bytes_;
  double already_;
  bool shown_;
  bool drawn_ = false, finished_ = false;
  bool due(double done);
  void draw(double done, std::string_view behind);
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace rowmax::cli

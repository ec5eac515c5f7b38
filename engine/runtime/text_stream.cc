#include "engine/runtime/text_stream.h"

#include <algorithm>

namespace rowmax::engine {
namespace {

// Length of the UTF-8 sequence that starts with this byte; 1 for a byte that cannot start one.
std::size_t sequence_length(unsigned char lead) {
  if (lead >= 0xF0 && lead < 0xF5) return 4;
  if (lead >= 0xE0) return lead < 0xF0 ? 3 : 1;
  return lead >= 0xC2 ? 2 : 1;
}

bool continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Bytes at the end that may still become a whole character.
std::size_t incomplete_tail(std::string_view text) {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const char byte = text[text.size() - back];
    if (continuation(byte)) continue;
    return sequence_length(static_cast<unsigned char>(byte)) > back ? back : 0;
  }
  return 0;
}

// Bytes that are not UTF-8 become U+FFFD, so that no reader of the text has to guess.
std::string replace_invalid(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const unsigned char lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : sequence_length(lead);
    bool valid = lead < 0x80 || length > 1;
    for (std::size_t k = 1; k < length && valid; ++k) valid = i + k < text.size() && continuation(text[i + k]);
    if (valid && length > 1) {
      const unsigned char second = static_cast<unsigned char>(text[i + 1]);
      // Overlong forms, surrogates and code points above U+10FFFF.
      valid = !(lead == 0xE0 && second < 0xA0) && !(lead == 0xED && second > 0x9F) &&
              !(lead == 0xF0 && second < 0x90) && !(lead == 0xF4 && second > 0x8F);
    }
    if (valid) {
      out.append(text.substr(i, length));
      i += length;
    } else {
      out += "\xEF\xBF\xBD";
      ++i;
    }
  }
  return out;
}

}  // namespace

void TextStream::emit(std::size_t n_bytes) {
  certain_ += replace_invalid(std::string_view(held_).substr(0, n_bytes));
  held_.erase(0, n_bytes);
}

bool TextStream::push(std::string_view bytes) {
  held_ += bytes;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t at = held_.find(stop);
    if (at < first) {
      first = at;
      stop_string_ = stop;
    }
  }
  if (first != std::string::npos) {
    emit(first);
    held_.clear();
    return true;
  }
  std::size_t keep = incomplete_tail(held_);
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) {
        keep = n;
        break;
      }
    }
  }
  // Never end inside a character because of a stop string that starts with a continuation byte.
  std::size_t out = held_.size() - keep;
  while (out > 0 && out < held_.size() && continuation(held_[out])) --out;
  emit(out);
  return false;
}

void TextStream::finish() { emit(held_.size()); }

}  // namespace rowmax::engine

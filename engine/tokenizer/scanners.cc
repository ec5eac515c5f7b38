#include "engine/tokenizer/scanners.h"

#include <cstdint>

#include "engine/tokenizer/unicode.h"

namespace rowmax::engine {
namespace {

bool is_newline(const Char& c) { return c.code == '\r' || c.code == '\n'; }

// The end of the run of characters that have one of the bits / none of them.
const char* run_of(std::uint8_t bits, const char* p, const char* end) {
  for (Char c = char_at(p, end); c.size != 0 && (c.bits & bits) != 0; c = char_at(p, end)) p += c.size;
  return p;
}
const char* run_without(std::uint8_t bits, const char* p, const char* end) {
  for (Char c = char_at(p, end); c.size != 0 && (c.bits & bits) == 0; c = char_at(p, end)) p += c.size;
  return p;
}

// The bytes after an apostrophe at p that complete 's 't 're 've 'm 'll 'd, with the apostrophe; 0 for none.
// Case-insensitive matching includes U+017F, the long s, as Unicode's case folding does.
std::size_t contraction(const char* p, const char* end, bool any_case) {
  const auto available = static_cast<std::size_t>(end - p);
  const auto letter = [&](std::size_t i) -> char {
    const char c = p[i];
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  if (available < 2 || p[0] != '\'') return 0;
  const char first = letter(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  if (available < 3) return 0;
  const char second = letter(2);
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) return 3;
  return any_case && p[1] == '\xC5' && p[2] == '\xBF' ? 3 : 0;
}

// \s+(?!\S)|\s+ at a space: the run without its last character when something follows, unless it is that one alone.
const char* scan_space(const char* p, const char* end) {
  const char* last = p;
  const char* q = p;
  for (Char c = char_at(q, end); c.size != 0 && (c.bits & kSpace) != 0; c = char_at(q, end)) {
    last = q;
    q += c.size;
  }
  return q == end || last == p ? q : last;
}

// \s*[\r\n]+|\s+(?!\S)|\s+ at a space.
const char* scan_space_or_newlines(const char* p, const char* end) {
  const char* after_newline = nullptr;
  const char* last = p;
  const char* q = p;
  for (Char c = char_at(q, end); c.size != 0 && (c.bits & kSpace) != 0; c = char_at(q, end)) {
    last = q;
    q += c.size;
    if (is_newline(c)) after_newline = q;
  }
  if (after_newline != nullptr) return after_newline;
  return q == end || last == p ? q : last;
}

const char* up_to_numbers(int limit, const char* p, const char* end) {
  for (Char c = char_at(p, end); limit-- > 0 && c.size != 0 && (c.bits & kNumber) != 0; c = char_at(p, end))
    p += c.size;
  return p;
}

struct WordRules {
  int max_digits;
  std::uint8_t letters;  // the class that [\p{L}]+ means
  bool contractions_first;
  bool slash_after_symbols;  // [\r\n/]* in place of [\r\n]*
};

// The alternatives of the GPT-4 family after those for letters, at a character that starts no such match.
const char* scan_rest(const WordRules& rules, const Char& c, const char* p, const char* end) {
  if ((c.bits & kNumber) != 0) return up_to_numbers(rules.max_digits, p, end);
  const std::uint8_t word = kSpace | kNumber | rules.letters;
  const char* q = c.code == ' ' ? p + 1 : p;
  const char* symbols = run_without(word, q, end);
  if (symbols == q) return scan_space_or_newlines(p, end);
  while (symbols != end && (*symbols == '\r' || *symbols == '\n' || (rules.slash_after_symbols && *symbols == '/'))) {
    ++symbols;
  }
  return symbols;
}

template <int kMaxDigits, std::uint8_t kLetters>
const char* scan_gpt4(const char* p, const char* end) {
  if (const std::size_t size = contraction(p, end, true)) return p + size;
  const Char c = char_at(p, end);
  if ((c.bits & kLetters) != 0) return run_of(kLetters, p, end);
  if ((c.bits & kNumber) == 0 && !is_newline(c)) {
    const char* letters = run_of(kLetters, p + c.size, end);
    if (letters != p + c.size) return letters;
  }
  return scan_rest({kMaxDigits, kLetters, true, false}, c, p, end);
}

// [upper]*[lower]+ and [upper]+[lower]*, where both classes share Lm, Lo and M: the match at p, or nullptr.
// Backtracking gives the first alternative up to the last shared character of the upper run when no lower one follows.
const char* scan_cased(const char* p, const char* end) {
  const auto upper = [](const Char& c) { return (c.bits & (kLetter | kMark)) != 0 && (c.bits & kLower) == 0; };
  const auto lower = [](const Char& c) { return (c.bits & (kLetter | kMark)) != 0 && (c.bits & kUpper) == 0; };
  const char* q = p;
  const char* after_shared = nullptr;
  Char c = char_at(q, end);
  for (; c.size != 0 && upper(c); c = char_at(q, end)) {
    q += c.size;
    if (lower(c)) after_shared = q;
  }
  if (c.size != 0 && lower(c)) {
    for (; c.size != 0 && lower(c); c = char_at(q, end)) q += c.size;
    return q;
  }
  if (after_shared != nullptr) return after_shared;
  return nullptr;
}

const char* scan_uppers(const char* p, const char* end) {
  for (Char c = char_at(p, end); c.size != 0 && (c.bits & (kLetter | kMark)) != 0 && (c.bits & kLower) == 0;
       c = char_at(p, end)) {
    p += c.size;
  }
  return p;
}

// Both letter alternatives with their optional first character; nullptr for no match.
const char* scan_cased_word(const Char& c, const char* p, const char* end) {
  const bool prefix = (c.bits & (kLetter | kNumber)) == 0 && !is_newline(c);
  if (prefix) {
    if (const char* q = scan_cased(p + c.size, end)) return q;
  }
  if (const char* q = scan_cased(p, end)) return q;
  if (prefix) {
    const char* q = scan_uppers(p + c.size, end);
    if (q != p + c.size) return q;
  }
  const char* q = scan_uppers(p, end);
  return q != p ? q : nullptr;
}

template <int kMaxDigits, bool kContractions>
const char* scan_case_aware(const char* p, const char* end) {
  const Char c = char_at(p, end);
  if (const char* word = scan_cased_word(c, p, end)) {
    return kContractions ? word + contraction(word, end, true) : word;
  }
  return scan_rest({kMaxDigits, kLetter, false, true}, c, p, end);
}

// Pieces of an expression that looks for matches: the match at p, or all up to the next match.
// match(p, end) gives the end of the match that starts at p, or p.
template <class Match>
const char* match_or_gap(Match match, const char* p, const char* end) {
  const char* matched = match(p, end);
  if (matched != p) return matched;
  do {
    p += char_at(p, end).size;
  } while (p != end && match(p, end) == p);
  return p;
}

// The same for \s?[class]+, and for [class]+ without kLeadingSpace: whether a match starts is known from two
// characters, so a long run is not scanned twice.
template <bool kLeadingSpace, class Is>
const char* run_or_gap(Is is, const char* p, const char* end) {
  const auto starts = [&](const char* at) {
    const Char c = char_at(at, end);
    if (is(c)) return true;
    return kLeadingSpace && (c.bits & kSpace) != 0 && at + c.size != end && is(char_at(at + c.size, end));
  };
  if (starts(p)) {
    p += char_at(p, end).size;
    for (Char c = char_at(p, end); c.size != 0 && is(c); c = char_at(p, end)) p += c.size;
    return p;
  }
  do {
    p += char_at(p, end).size;
  } while (p != end && !starts(p));
  return p;
}

bool is_cjk(const Char& c) { return (c.code >= 0x0800 && c.code <= 0x9FA5) || (c.code >= 0xAC00 && c.code <= 0xD7FF); }

bool is_han_kana(const Char& c) {
  return (c.code >= 0x4E00 && c.code <= 0x9FA5) || (c.code >= 0x3040 && c.code <= 0x30FF);
}

// The match at p of scan_deepseek3's expression; p for none.
const char* match_deepseek3(const char* p, const char* end) {
  constexpr std::uint8_t kWord = kLetter | kMark, kSign = kPunctuation | kSymbol;
  const Char c = char_at(p, end);
  if (c.code < 0x80 && (c.bits & kSign) != 0) {
    const char* q = p + 1;
    while (q != end && ((*q >= 'A' && *q <= 'Z') || (*q >= 'a' && *q <= 'z'))) ++q;
    if (q != p + 1) return q;
  }
  if ((c.bits & kWord) != 0) return run_of(kWord, p, end);
  if ((c.bits & kSign) == 0 && !is_newline(c)) {
    const char* q = run_of(kWord, p + c.size, end);
    if (q != p + c.size) return q;
  }
  const char* first = c.code == ' ' ? p + 1 : p;
  const char* q = run_of(kSign, first, end);
  if (q != first) {
    while (q != end && (*q == '\r' || *q == '\n')) ++q;
    return q;
  }
  return (c.bits & kSpace) != 0 ? scan_space_or_newlines(p, end) : p;
}

bool is_deepseek_punctuation(const Char& c) {
  const std::uint32_t x = c.code;
  return (x >= '!' && x <= '/') || (x >= ':' && x <= '~') || (x >= 0xFF01 && x <= 0xFF0F) ||
         (x >= 0xFF1A && x <= 0xFF5E) || (x >= 0x2018 && x <= 0x201F) || (x >= 0x3000 && x <= 0x3002);
}

bool is_default_punctuation(const Char& c) {
  const std::uint32_t x = c.code;
  return (c.bits & kPunctuation) != 0 || x == '$' || x == '+' || x == '<' || x == '=' || x == '>' || x == '^' ||
         x == '~' || x == '|';
}

}  // namespace

const char* scan_gpt2(const char* p, const char* end) {
  if (const std::size_t size = contraction(p, end, false)) return p + size;
  const char* q = *p == ' ' ? p + 1 : p;
  const Char c = char_at(q, end);
  if (c.size == 0 || (c.bits & kSpace) != 0) return scan_space(p, end);
  q += c.size;
  if ((c.bits & kLetter) != 0) return run_of(kLetter, q, end);
  if ((c.bits & kNumber) != 0) return run_of(kNumber, q, end);
  return run_without(kSpace | kLetter | kNumber, q, end);
}

const char* scan_llama3(const char* p, const char* end) { return scan_gpt4<3, kLetter>(p, end); }
const char* scan_qwen2(const char* p, const char* end) { return scan_gpt4<1, kLetter>(p, end); }
const char* scan_qwen35(const char* p, const char* end) { return scan_gpt4<1, kLetter | kMark>(p, end); }
const char* scan_gpt4o(const char* p, const char* end) { return scan_case_aware<3, true>(p, end); }
const char* scan_tekken(const char* p, const char* end) { return scan_case_aware<1, false>(p, end); }

const char* scan_deepseek3(const char* p, const char* end) { return match_or_gap(match_deepseek3, p, end); }

const char* scan_three_numbers(const char* p, const char* end) {
  return match_or_gap([](const char* at, const char* stop) { return up_to_numbers(3, at, stop); }, p, end);
}

const char* scan_number(const char* p, const char* end) {
  return match_or_gap([](const char* at, const char* stop) { return up_to_numbers(1, at, stop); }, p, end);
}

const char* scan_number_run(const char* p, const char* end) {
  return run_or_gap<false>([](const Char& c) { return (c.bits & kNumber) != 0; }, p, end);
}

const char* scan_three_digits(const char* p, const char* end) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return match_or_gap(
      [&](const char* at, const char* stop) {
        return stop - at >= 3 && digit(at[0]) && digit(at[1]) && digit(at[2]) ? at + 3 : at;
      },
      p, end);
}

const char* scan_newline(const char* p, const char* end) {
  return match_or_gap(
      [](const char* at, const char* stop) { return at != stop && (*at == '\r' || *at == '\n') ? at + 1 : at; }, p,
      end);
}

const char* scan_trailing_space(const char* p, const char* end) {
  const char* tail = nullptr;  // where the run of spaces that reaches the place looked at begins
  for (const char* q = p; q != end;) {
    const Char c = char_at(q, end);
    if ((c.bits & kSpace) == 0) {
      tail = nullptr;
    } else if (tail == nullptr) {
      tail = q;
    }
    q += c.size;
  }
  return tail == nullptr || tail == p ? end : tail;
}

const char* scan_cjk(const char* p, const char* end) { return run_or_gap<false>(is_cjk, p, end); }

const char* scan_han_kana(const char* p, const char* end) { return run_or_gap<false>(is_han_kana, p, end); }

const char* scan_letters(const char* p, const char* end) {
  return run_or_gap<true>([](const Char& c) { return (c.bits & kLetter) != 0; }, p, end);
}

const char* scan_punctuation(const char* p, const char* end) {
  return run_or_gap<true>([](const Char& c) { return (c.bits & kPunctuation) != 0; }, p, end);
}

const char* scan_deepseek_letters(const char* p, const char* end) {
  return run_or_gap<true>([](const Char& c) { return is_deepseek_letter(c.code); }, p, end);
}

const char* scan_deepseek_punctuation(const char* p, const char* end) {
  return run_or_gap<true>(is_deepseek_punctuation, p, end);
}

const char* scan_falcon_punctuation(const char* p, const char* end) {
  return run_or_gap<false>([](const Char& c) { return is_default_punctuation(c) || c.code == '`'; }, p, end);
}

const char* scan_default_punctuation(const char* p, const char* end) {
  return run_or_gap<false>(is_default_punctuation, p, end);
}

}  // namespace rowmax::engine

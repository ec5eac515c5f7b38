// The scanners behind the pre-tokenizers (pre_tokenizer.h): each does one regular expression, stated beside it.
#pragma once

namespace rowmax::engine {

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
const char* scan_gpt2(const char* p, const char* end);
// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
const char* scan_llama3(const char* p, const char* end);
// The same with \p{N} in place of \p{N}{1,3}.
const char* scan_qwen2(const char* p, const char* end);
// The same as qwen2 with [\p{L}\p{M}]+ in place of \p{L}+ and [^\s\p{L}\p{M}\p{N}]+ in place of [^\s\p{L}\p{N}]+.
const char* scan_qwen35(const char* p, const char* end);
// [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
// |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
// |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
const char* scan_gpt4o(const char* p, const char* end);
// The same without the contractions and with \p{N} in place of \p{N}{1,3}.
const char* scan_tekken(const char* p, const char* end);
// [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
const char* scan_deepseek3(const char* p, const char* end);

const char* scan_number(const char* p, const char* end);                // \p{N}
const char* scan_three_numbers(const char* p, const char* end);         // \p{N}{1,3}
const char* scan_number_run(const char* p, const char* end);            // \p{N}+
const char* scan_three_digits(const char* p, const char* end);          // [0-9][0-9][0-9]
const char* scan_newline(const char* p, const char* end);               // [\r\n]
const char* scan_trailing_space(const char* p, const char* end);        // \s+$
const char* scan_cjk(const char* p, const char* end);                   // [一-龥ࠀ-一가-\uD7FF]+
const char* scan_han_kana(const char* p, const char* end);              // [一-龥\u3040-ゟ゠-ヿ]+
const char* scan_letters(const char* p, const char* end);               // \s?\p{L}+
const char* scan_punctuation(const char* p, const char* end);           // \s?\p{P}+
const char* scan_deepseek_letters(const char* p, const char* end);      // \s?[the letters listed in the model's file]+
const char* scan_deepseek_punctuation(const char* p, const char* end);  // \s?[!-/:-~！-／：-～‘-‟\u3000-。]+
const char* scan_falcon_punctuation(const char* p, const char* end);    // [\p{P}\$\+<=>\^~\|`]+
const char* scan_default_punctuation(const char* p, const char* end);   // [\p{P}\$\+<=>\^~\|]+

}  // namespace rowmax::engine

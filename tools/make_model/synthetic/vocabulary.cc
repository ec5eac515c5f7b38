#include "tools/make_model/synthetic/vocabulary.h"

#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

namespace rowmax::tools {
namespace {

// tokenizer.ggml.token_type
enum TokenType : std::int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<std::int32_t> types;

  void add(std::string text, TokenType type, float score = 0.0f) {
    tokens.push_back(std::move(text));
    types.push_back(type);
    scores.push_back(score);
  }
  void fill_up(std::int64_t size) {
    for (std::int64_t i = 0; std::ssize(tokens) < size; ++i) add("<unused" + std::to_string(i) + ">", kUnused);
  }
};

std::string utf8(unsigned code_point) {
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

// GPT-2's printable stand-in for each byte: itself where it is a visible Latin-1 character, otherwise the next unused
// code point from 256 on.
std::vector<std::string> byte_symbols() {
  std::vector<std::string> symbols;
  unsigned next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    symbols.push_back(utf8(visible ? byte : next++));
  }
  return symbols;
}

constexpr std::string_view kSpace = "\xC4\xA0";  // the byte-level symbol of ' '

// Merges by rank; '_' stands for the symbol of the space. Every part is a byte or the result of an earlier merge.
constexpr std::pair<std::string_view, std::string_view> kMerges[] = {
    {"_", "t"},   {"h", "e"},  {"_", "a"},   {"i", "n"},  {"r", "e"}, {"o", "n"},  {"_t", "he"},      {"e", "r"},
    {"_", "s"},   {"a", "t"},  {"_", "w"},   {"_", "o"},  {"e", "n"}, {"_", "c"},  {"i", "t"},        {"i", "s"},
    {"a", "n"},   {"o", "r"},  {"e", "s"},   {"_", "b"},  {"e", "d"}, {"_", "f"},  {"in", "g"},       {"_", "p"},
    {"o", "u"},   {"_a", "n"}, {"a", "l"},   {"a", "r"},  {"_", "m"}, {"_o", "f"}, {"_", "in"},       {"l", "l"},
    {"_an", "d"}, {"_t", "o"}, {"i", "on"},  {"_", "d"},  {"_", "h"}, {"l", "e"},  {"_", "\xC4\xA0"}, {"o", "w"},
    {"_s", "t"},  {"a", "s"},  {"_w", "as"}, {"_", "re"}, {"s", "t"}, {"v", "e"},  {"_h", "e"},       {"_he", "ll"},
};

std::string with_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '_') {
      out += kSpace;
    } else {
      out += c;
    }
  }
  return out;
}

constexpr std::string_view kChatMl =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

constexpr std::string_view kGemmaTemplate =
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' "
    "else message['role']) + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";

// Pieces, best first; '_' stands for U+2581.
constexpr std::string_view kPieces[] = {
    "\n",  "__",  "_t",  "he", "in", "er",   "_a", "on", "re", "_the", "_s",  "at",     "en",  "or",   "is", "an",
    "_w",  "_o",  "it",  "al", "ou", "ing",  "es", "ed", "_c", "_b",   "_f",  "and",    "_p",  "ar",   "le", "ll",
    "_of", "_to", "_in", "st", "ve", "_and", "_m", "_d", "_h", "llo",  "_he", "_hello", "ion", "_wor", "ld", "_world",
};

std::string with_marks(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '_') {
      out += "\xE2\x96\x81";
    } else {
      out += c;
    }
  }
  return out;
}

Vocabulary byte_level_vocabulary() {
  Vocabulary vocabulary;
  for (const char* control : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) vocabulary.add(control, kControl);
  for (std::string& symbol : byte_symbols()) vocabulary.add(std::move(symbol), kNormal);
  for (const auto& [left, right] : kMerges) vocabulary.add(with_spaces(left) + with_spaces(right), kNormal);
  return vocabulary;
}

Vocabulary sentence_piece_vocabulary() {
  Vocabulary vocabulary;
  for (const char* control : {"<pad>", "<eos>", "<bos>"}) vocabulary.add(control, kControl);
  vocabulary.add("<unk>", kUnknown);
  for (const char* control : {"<start_of_turn>", "<end_of_turn>"}) vocabulary.add(control, kControl);
  constexpr char kHex[] = "0123456789ABCDEF";
  for (unsigned byte = 0; byte < 256; ++byte) {
    vocabulary.add(std::string("<0x") + kHex[byte >> 4] + kHex[byte & 15] + ">", kByte);
  }
  float score = 0.0f;
  for (const std::string_view piece : kPieces) vocabulary.add(with_marks(piece), kNormal, --score);
  vocabulary.add(with_marks("_"), kNormal, --score);
  for (char c = '!'; c <= '~'; ++c) vocabulary.add(std::string(1, c), kNormal, --score);
  for (const char* letter : {"é", "ü", "ß"}) vocabulary.add(letter, kNormal, --score);
  return vocabulary;
}

}  // namespace

std::int64_t byte_level_vocabulary_size() { return 3 + 256 + std::ssize(kMerges); }
std::int64_t sentence_piece_vocabulary_size() { return std::ssize(sentence_piece_vocabulary().tokens); }

void add_byte_level_vocabulary(engine::GgufWriter& writer, std::int64_t size, const std::string& pre) {
  Vocabulary vocabulary = byte_level_vocabulary();
  vocabulary.fill_up(size);
  std::vector<std::string> merges;
  for (const auto& [left, right] : kMerges) merges.push_back(with_spaces(left) + " " + with_spaces(right));
  writer.set_string("tokenizer.ggml.model", "gpt2");
  writer.set_string("tokenizer.ggml.pre", pre);
  writer.set_strings("tokenizer.ggml.tokens", vocabulary.tokens);
  writer.set_int32s("tokenizer.ggml.token_type", vocabulary.types);
  writer.set_strings("tokenizer.ggml.merges", merges);
  writer.set_uint32("tokenizer.ggml.bos_token_id", 1);
  writer.set_uint32("tokenizer.ggml.eos_token_id", 2);
  writer.set_uint32("tokenizer.ggml.unknown_token_id", 0);
  writer.set_uint32("tokenizer.ggml.padding_token_id", 2);
  writer.set_bool("tokenizer.ggml.add_bos_token", false);
  writer.set_bool("tokenizer.ggml.add_space_prefix", false);
  writer.set_string("tokenizer.chat_template", kChatMl);
}

void add_sentence_piece_vocabulary(engine::GgufWriter& writer, std::int64_t size) {
  Vocabulary vocabulary = sentence_piece_vocabulary();
  vocabulary.fill_up(size);
  writer.set_string("tokenizer.ggml.model", "llama");
  writer.set_string("tokenizer.ggml.pre", "default");
  writer.set_strings("tokenizer.ggml.tokens", vocabulary.tokens);
  writer.set_float32s("tokenizer.ggml.scores", vocabulary.scores);
  writer.set_int32s("tokenizer.ggml.token_type", vocabulary.types);
  writer.set_uint32("tokenizer.ggml.bos_token_id", 2);
  writer.set_uint32("tokenizer.ggml.eos_token_id", 1);
  writer.set_uint32("tokenizer.ggml.unknown_token_id", 3);
  writer.set_uint32("tokenizer.ggml.padding_token_id", 0);
  writer.set_bool("tokenizer.ggml.add_bos_token", true);
  writer.set_bool("tokenizer.ggml.add_eos_token", false);
  writer.set_bool("tokenizer.ggml.add_space_prefix", false);
  writer.set_string("tokenizer.chat_template", kGemmaTemplate);
}

}  // namespace rowmax::tools

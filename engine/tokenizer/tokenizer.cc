#include "rowmax/engine/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/guarded.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/end_of_generation.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/rowmax_keys.h"
#include "engine/tokenizer/source.h"
#include "engine/tokenizer/special_tokens.h"
#include "engine/tokenizer/spm.h"
#include "engine/tokenizer/unicode.h"
#include "engine/tokenizer/vocabulary.h"
#include "engine/tokenizer/word_cache.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

Error corrupt(const TokenizerSource& source, std::string message) {
  return Error{ErrorCode::kCorrupt, source.name + ": " + std::move(message)};
}

std::string known_names() {
  std::string out;
  for (const PreTokenizer& entry : pre_tokenizers()) out.append(out.empty() ? "" : ", ").append(entry.name);
  return out;
}

// Bytes of white space at the start and at the end of a text.
std::size_t spaces_at_start(std::string_view text) {
  const char *at = text.data(), *const end = at + text.size();
  for (Char next = char_at(at, end); (next.bits & kSpace) != 0; next = char_at(at, end)) at += next.size;
  return static_cast<std::size_t>(at - text.data());
}
// The last character; of size 0 for an empty text.
Char last_char(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0 && text.size() - begin < 4) {
    --begin;
    if ((static_cast<unsigned char>(text[begin]) & 0xC0) != 0x80) break;
  }
  return char_at(text.data() + begin, text.data() + text.size());
}
std::size_t spaces_at_end(std::string_view text) {
  std::size_t size = 0;
  for (Char last = last_char(text); (last.bits & kSpace) != 0; last = last_char(text)) {
    text.remove_suffix(last.size);
    size += last.size;
  }
  return size;
}

// What the expression \w of Hugging Face's tokenizers finds, but for a few symbols and joiners.
bool is_word(const Char& c) { return c.code == '_' || (c.bits & (kLetter | kNumber | kMark)) != 0; }
bool starts_with_word(std::string_view text) { return is_word(char_at(text.data(), text.data() + text.size())); }
bool ends_in_word(std::string_view text) { return is_word(last_char(text)); }

bool names_phi3(std::string name) {
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos;
}

}  // namespace

struct Tokenizer::Impl {
  bool is_bpe = false;
  std::string model;
  const PreTokenizer* pre = nullptr;  // for is_bpe
  Vocabulary vocabulary;
  BpeMerges bpe;
  SpmMerges spm;
  SpecialTokens always;                                 // user-defined tokens
  SpecialTokens when_asked;                             // these and control and unknown tokens
  std::vector<std::pair<TokenId, std::int64_t>> flags;  // AddedTokenFlags of the tokens that have any, sorted
  TokenId bos = -1, eos = -1, unknown = -1;
  bool add_bos = false;
  bool space_prefix = false;
  // Of the space in front: not where the text starts with one; only at the text's start.
  bool prefix_unless_space = false, prefix_first_only = false;
  std::vector<TokenId> end_of_generation;
  std::vector<std::string> notices, remarks;

  Status init(const TokenizerSource& source, const TokenizerOptions& options);
  Status choose_model(const TokenizerSource& source, const TokenizerOptions& options);
  Status read_ids(const TokenizerSource& source);
  Status choose_bos(const TokenizerSource& source);
  void collect_special(const TokenizerSource& source);
  Status choose_prefix(const TokenizerSource& source);
  Status read_flags(const TokenizerSource& source);
  std::int64_t flags_of(TokenId id) const;
  std::vector<TokenId> encode_parts(std::span<const TextPart> parts) const;
  std::string piece(TokenId id, bool include_special) const;
  std::string decode(std::span<const TokenId> ids, bool include_special) const;

  struct Encoder;
};

Status Tokenizer::Impl::init(const TokenizerSource& source, const TokenizerOptions& options) {
  ROWMAX_RETURN_IF_ERROR(choose_model(source, options));
  ROWMAX_TRY(list, Vocabulary::create(source, notices));
  vocabulary = std::move(list);
  ROWMAX_RETURN_IF_ERROR(read_ids(source));
  ROWMAX_RETURN_IF_ERROR(choose_bos(source));
  if (is_bpe) {
    ROWMAX_TRY(merges, BpeMerges::create(source, vocabulary, pre->ignore_merges, notices));
    bpe = std::move(merges);
  } else {
    space_prefix = source.add_space_prefix.value_or(true);
    ROWMAX_RETURN_IF_ERROR(choose_prefix(source));
    spm.init(vocabulary, unknown, notices);
  }
  collect_special(source);
  return read_flags(source);
}

Status Tokenizer::Impl::choose_prefix(const TokenizerSource& source) {
  if (!source.space_prefix) return {};
  prefix_first_only = *source.space_prefix == "first";
  prefix_unless_space = prefix_first_only || *source.space_prefix == "always";
  if (prefix_unless_space) return {};
  return Error{ErrorCode::kUnsupported, source.name + ": " + kSpacePrefixKey + ": expected first or always, found '" +
                                            *source.space_prefix + "'"};
}

Status Tokenizer::Impl::read_flags(const TokenizerSource& source) {
  for (const auto& [id, bits] : source.added_token_flags) {
    if (!vocabulary.contains(id) || bits < 0 || bits > (kStripLeft | kStripRight | kSingleWord)) {
      return corrupt(source, std::string(kAddedTokenFlagsKey) +
                                 ": expected ids of tokens and flags from 0 to 7, found " + std::to_string(id) +
                                 " with " + std::to_string(bits));
    }
    flags.emplace_back(static_cast<TokenId>(id), bits);
  }
  std::ranges::sort(flags);
  return {};
}

std::int64_t Tokenizer::Impl::flags_of(TokenId id) const {
  const auto found = std::ranges::lower_bound(flags, id, {}, &std::pair<TokenId, std::int64_t>::first);
  return found != flags.end() && found->first == id ? found->second : 0;
}

Status Tokenizer::Impl::choose_model(const TokenizerSource& source, const TokenizerOptions& options) {
  model = source.model;
  is_bpe = model == "gpt2";
  if (!is_bpe && model != "llama") {
    return Error{ErrorCode::kUnsupported,
                 source.name + ": tokenizer.ggml.model: expected gpt2 or llama, found '" + model + "'"};
  }
  const std::string& given = options.pre_override;
  if (!given.empty() && find_pre_tokenizer(given) == nullptr) {
    return Error{ErrorCode::kInvalidArgument, "--pre: expected one of " + known_names() + ", found '" + given + "'"};
  }
  if (!is_bpe) {
    if (given.empty()) return {};
    return Error{ErrorCode::kInvalidArgument, "--pre " + given + ": " + source.name +
                                                  " has a SentencePiece-style tokenizer, which has no pre-tokenizer"};
  }
  if (!given.empty()) {
    pre = find_pre_tokenizer(given);
    if (source.pre && *source.pre == given) return {};
    notices.push_back("pre-tokenizer " + given + " taken from --pre: the file names " +
                      (source.pre ? "'" + *source.pre + "'" : "none"));
    return {};
  }
  const auto refuse = [&](const std::string& what) {
    return Error{ErrorCode::kUnsupported, source.name + ": " + what +
                                              "; a wrong one changes the tokens, so none is guessed: name one with "
                                              "--pre NAME (" +
                                              known_names() + ")"};
  };
  if (!source.pre && options.default_pre.empty()) return refuse("tokenizer.ggml.pre is missing");
  pre = find_pre_tokenizer(source.pre ? *source.pre : options.default_pre);
  if (source.pre) {
    return pre != nullptr ? Status() : refuse("tokenizer.ggml.pre: unknown pre-tokenizer '" + *source.pre + "'");
  }
  ROWMAX_CHECK(pre != nullptr, "TokenizerOptions::default_pre: unknown pre-tokenizer");
  notices.push_back("pre-tokenizer " + options.default_pre +
                    ": tokenizer.ggml.pre is missing, and files of this architecture mean this one (--pre overrides)");
  return {};
}

Status Tokenizer::Impl::read_ids(const TokenizerSource& source) {
  std::vector<TokenId> ends;
  for (const auto& [key, value] : source.ids) {
    if (value >= static_cast<std::uint64_t>(vocabulary.size())) {
      return corrupt(source, "tokenizer.ggml." + key + ": " + std::to_string(value) + " is not below the " +
                                 std::to_string(vocabulary.size()) + " tokens");
    }
    const auto id = static_cast<TokenId>(value);
    if (key == "bos_token_id") bos = id;
    if (key == "eos_token_id") eos = id;
    if (key == "unknown_token_id") unknown = id;
    if (key == "eos_token_id" || key == "eot_token_id" || key == "eom_token_id") ends.push_back(id);
  }
  if (!is_bpe) {
    // Llama's own ids, where the file is silent and its tokens are Llama's.
    const auto fall_back = [&](TokenId& id, TokenId value, std::string_view text, const char* key) {
      if (id >= 0 || !vocabulary.contains(value) || vocabulary.text(value) != text) return;
      id = value;
      notices.push_back(std::string("tokenizer.ggml.") + key + " is missing: " + std::to_string(value) + " '" +
                        std::string(text) + "' taken");
    };
    fall_back(unknown, 0, "<unk>", "unknown_token_id");
    fall_back(bos, 1, "<s>", "bos_token_id");
    fall_back(eos, 2, "</s>", "eos_token_id");
    if (eos >= 0) ends.push_back(eos);
  }
  for (const auto& [key, id] : source.end_ids) {
    if (!vocabulary.contains(id)) {
      return corrupt(source, key + ": " + std::to_string(id) + " is not below the " +
                                 std::to_string(vocabulary.size()) + " tokens");
    }
    ends.push_back(static_cast<TokenId>(id));
  }
  end_of_generation = end_of_generation_ids(std::move(ends), vocabulary, notices, remarks);
  if (end_of_generation.empty())
    notices.push_back("no token ends a turn: the file names none and none is known by text");
  return {};
}

Status Tokenizer::Impl::choose_bos(const TokenizerSource& source) {
  add_bos = source.add_bos.value_or(is_bpe ? pre->default_add_bos : true);
  if (!add_bos || bos >= 0) return {};
  if (source.add_bos) {
    return corrupt(source, "tokenizer.ggml.add_bos_token is true, but tokenizer.ggml.bos_token_id is missing");
  }
  add_bos = false;
  notices.push_back("tokenizer.ggml.bos_token_id is missing: no BOS is added");
  return {};
}

void Tokenizer::Impl::collect_special(const TokenizerSource& source) {
  const bool phi3 = names_phi3(source.model_name);
  for (TokenId id = 0; id < vocabulary.size(); ++id) {
    const std::string_view text = vocabulary.text(id);
    const TokenKind kind = vocabulary.kind(id);
    const bool user_defined = kind == TokenKind::kUserDefined;
    if (text.empty() || (!user_defined && kind != TokenKind::kControl && kind != TokenKind::kUnknown)) continue;
    if (user_defined) always.add(text, id);
    when_asked.add(text, id);
    // The attribute `rstrip` of phi-3's added tokens, which a GGUF file has no place for.
    if (phi3 && text != "<unk>" && text != "<s>" && text != "<|endoftext|>") flags.emplace_back(id, kStripRight);
  }
}

// One call of encode: a cache of the words seen and the scratch of the merging.
struct Tokenizer::Impl::Encoder {
  const Impl& impl;
  std::vector<TokenId>& out;
  WordCache cache;
  BpeMerges::Scratch bpe_scratch;
  SpmMerges::Scratch spm_scratch;
  bool text_start = true;  // no special token came before

  Encoder(const Impl& owner, std::size_t text_bytes, std::vector<TokenId>& ids)
      : impl(owner), out(ids), cache(text_bytes) {}

  // The parts are one text: words and merges reach over their borders, special tokens do not, so that none can be put
  // together from the end of one part and the beginning of another.
  void run(std::string_view text, std::span<const TextPart> parts) {
    text_start = true;
    bool after_special = true;  // the start counts as such: SentencePiece puts its space there
    std::size_t plain_begin = 0, part_begin = 0;
    for (const TextPart& part : parts) {
      const SpecialTokens& special = part.parse_special ? impl.when_asked : impl.always;
      const std::size_t part_end = part_begin + part.text.size();
      for (std::size_t at = std::max(part_begin, plain_begin); at < part_end;) {
        const SpecialTokens::Match match = special.find(text.substr(0, part_end), at);
        if (match.id < 0) break;
        at = match.begin + match.size;
        const std::int64_t flags = impl.flags_of(match.id);
        if ((flags & kSingleWord) != 0 &&
            (ends_in_word(text.substr(0, match.begin)) || starts_with_word(text.substr(at)))) {
          continue;
        }
        std::size_t begin = match.begin;
        if ((flags & kStripLeft) != 0) begin -= spaces_at_end(text.substr(plain_begin, begin - plain_begin));
        if (begin > plain_begin) plain(text.substr(plain_begin, begin - plain_begin), after_special);
        out.push_back(match.id);
        after_special = true;
        text_start = false;
        if ((flags & kStripRight) != 0) at += spaces_at_start(text.substr(at));
        plain_begin = at;
      }
      part_begin = part_end;
    }
    if (plain_begin < text.size()) plain(text.substr(plain_begin), after_special);
  }

  void plain(std::string_view text, bool after_special) {
    if (impl.is_bpe) {
      split_words(impl.pre->passes, text, [this](std::string_view word) {
        cached(word, [&] { impl.bpe.encode(word, impl.vocabulary, bpe_scratch, out); });
      });
      return;
    }
    const bool spaced = impl.prefix_unless_space && (text[0] == ' ' || text.starts_with(kSpaceMark));
    const bool prefix = after_special && impl.space_prefix && !spaced && (text_start || !impl.prefix_first_only);
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t size = spm_word(text.substr(begin));
      const std::string_view word = text.substr(begin, size);
      if (begin == 0 && prefix) {
        impl.spm.encode(word, true, impl.vocabulary, spm_scratch, out);
      } else {
        cached(word, [&] { impl.spm.encode(word, false, impl.vocabulary, spm_scratch, out); });
      }
      begin += size;
    }
  }

  // Bytes up to the first space (or space mark) before which the text may be cut.
  std::size_t spm_word(std::string_view text) const {
    const auto space_bytes = [&](std::size_t i) -> std::size_t {
      if (text[i] == ' ') return 1;
      return text[i] == kSpaceMark[0] && text.substr(i, kSpaceMark.size()) == kSpaceMark ? kSpaceMark.size() : 0;
    };
    bool after_text = false;  // the character before is no space, and no token reaches over the border
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t n = space_bytes(i);
      if (n != 0 && after_text) return i;
      after_text = n == 0 && impl.spm.may_cut_after(text[i]);
      i += n == 0 ? 1 : n;
    }
    return text.size();
  }

  template <class Encode>
  void cached(std::string_view word, Encode&& encode) {
    WordCache::Entry* entry = cache.find(word);
    if (entry == nullptr) return encode();
    if (entry->word == word && !entry->word.empty()) {
      // The ids lie in `out` itself; it may move while it grows.
      const std::size_t n = entry->n_ids;
      out.resize(out.size() + n);
      std::copy_n(out.begin() + static_cast<std::ptrdiff_t>(entry->begin), n,
                  out.end() - static_cast<std::ptrdiff_t>(n));
      return;
    }
    const std::size_t begin = out.size();
    encode();
    *entry = {word, begin, out.size() - begin};
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::from_source(const TokenizerSource& source, const TokenizerOptions& options) {
  return base::guarded([&]() -> Result<Tokenizer> {
    auto impl = std::make_unique<Impl>();
    ROWMAX_RETURN_IF_ERROR(impl->init(source, options));
    return Tokenizer(std::move(impl));
  });
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text, bool parse_special) const {
  return base::guarded([&]() -> Result<std::vector<TokenId>> {
    std::vector<TokenId> out;
    out.reserve(text.size() / 4 + 1);
    const TextPart part{text, parse_special};
    Impl::Encoder(*impl_, text.size(), out).run(text, {&part, 1});
    return out;
  });
}

Result<std::vector<TokenId>> Tokenizer::encode(std::span<const TextPart> parts) const {
  return base::guarded([&]() -> Result<std::vector<TokenId>> { return impl_->encode_parts(parts); });
}

std::vector<TokenId> Tokenizer::Impl::encode_parts(std::span<const TextPart> parts) const {
  std::string text;
  for (const TextPart& part : parts) text += part.text;
  std::vector<TextPart> merged;  // neighbours of one kind become one part of `text`
  std::size_t end = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t begin = end;
    end += parts[i].text.size();
    while (i + 1 < parts.size() && parts[i + 1].parse_special == parts[i].parse_special) end += parts[++i].text.size();
    merged.push_back({std::string_view(text).substr(begin, end - begin), parts[i].parse_special});
  }
  std::vector<TokenId> out;
  out.reserve(text.size() / 4 + 1);
  Impl::Encoder(*this, text.size(), out).run(text, merged);
  return out;
}

Result<std::string> Tokenizer::piece(TokenId id, bool include_special) const {
  return base::guarded([&]() -> Result<std::string> { return impl_->piece(id, include_special); });
}

std::string Tokenizer::Impl::piece(TokenId id, bool include_special) const {
  if (!vocabulary.contains(id)) return {};
  const std::string_view text = vocabulary.text(id);
  switch (vocabulary.kind(id)) {
    case TokenKind::kControl:
    case TokenKind::kUnknown: return include_special ? std::string(text) : std::string();
    case TokenKind::kUserDefined: return std::string(text);
    case TokenKind::kByte: return std::string(1, static_cast<char>(vocabulary.byte_of(id)));
    case TokenKind::kNormal:
    case TokenKind::kUnused: break;
  }
  if (is_bpe) return bytes_of_text(text);
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const bool mark = text.substr(at, kSpaceMark.size()) == kSpaceMark;
    out += mark ? ' ' : text[at];
    at += mark ? kSpaceMark.size() : 1;
  }
  return out;
}

std::string Tokenizer::Impl::decode(std::span<const TokenId> ids, bool include_special) const {
  std::string out;
  bool first = space_prefix;
  for (const TokenId id : ids) {
    const std::string text = piece(id, include_special);
    const bool control = vocabulary.contains(id) && vocabulary.kind(id) == TokenKind::kControl;
    const bool strip = first && !control && !text.empty() && text[0] == ' ';
    out.append(text, strip ? 1 : 0);
    if (!control) first = false;
  }
  return out;
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids, bool include_special) const {
  return base::guarded([&]() -> Result<std::string> { return impl_->decode(ids, include_special); });
}

std::int64_t Tokenizer::size() const noexcept { return impl_->vocabulary.size(); }
std::string_view Tokenizer::model() const noexcept { return impl_->model; }
std::string_view Tokenizer::pre() const noexcept { return impl_->is_bpe ? impl_->pre->name : "spm"; }
std::string_view Tokenizer::text(TokenId id) const noexcept {
  return impl_->vocabulary.contains(id) ? impl_->vocabulary.text(id) : std::string_view();
}
TokenKind Tokenizer::kind(TokenId id) const noexcept {
  return impl_->vocabulary.contains(id) ? impl_->vocabulary.kind(id) : TokenKind::kUnused;
}
TokenId Tokenizer::find(std::string_view stored_text) const noexcept { return impl_->vocabulary.find(stored_text); }
TokenId Tokenizer::bos() const noexcept { return impl_->bos; }
TokenId Tokenizer::eos() const noexcept { return impl_->eos; }
bool Tokenizer::add_bos() const noexcept { return impl_->add_bos; }
std::span<const TokenId> Tokenizer::end_of_generation() const noexcept { return impl_->end_of_generation; }
bool Tokenizer::is_end_of_generation(TokenId id) const noexcept {
  return std::binary_search(impl_->end_of_generation.begin(), impl_->end_of_generation.end(), id);
}
std::span<const std::string> Tokenizer::notices() const noexcept { return impl_->notices; }
std::span<const std::string> Tokenizer::remarks() const noexcept { return impl_->remarks; }

}  // namespace rowmax::engine

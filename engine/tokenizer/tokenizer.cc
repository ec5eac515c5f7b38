#include "rowmax/engine/tokenizer.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/check.h"
#include "base/guarded.h"
#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/bpe.h"
#include "engine/tokenizer/end_of_generation.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/rowmax_keys.h"
#include "engine/tokenizer/source.h"
#include "engine/tokenizer/spm.h"
#include "engine/tokenizer/vocabulary.h"
#include "engine/tokenizer/word_cache.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

// Pieces as SentencePiece's, with merges in place of scores.
constexpr std::string_view kGemma4 = "gemma4";

std::string known_names() {
  std::string out;
  for (const PreTokenizer& entry : pre_tokenizers()) out.append(out.empty() ? "" : ", ").append(entry.name);
  return out;
}

}  // namespace

struct Tokenizer::Impl {
  bool is_bpe = false;
  std::string model;
  const PreTokenizer* pre = nullptr;  // for is_bpe
  Vocabulary vocabulary;
  BpeMerges bpe;
  SpmMerges spm;
  AddedTokens added;
  TokenId bos = -1, eos = -1, unknown = -1;
  bool add_bos = false, add_eos = false;
  bool space_prefix = false;
  // Of the space in front: not where the text starts with one; only at the text's start.
  bool prefix_unless_space = false, prefix_first_only = false;
  std::vector<TokenId> end_of_generation;
  std::vector<std::string> notices, remarks;

  Status init(const TokenizerSource& source, const TokenizerOptions& options);
  Status choose_model(const TokenizerSource& source, const TokenizerOptions& options);
  Status read_ids(const TokenizerSource& source);
  Status choose_bos(const TokenizerSource& source);
  Status choose_prefix(const TokenizerSource& source);
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
    if (model == kGemma4) {
      std::vector<std::string> of_bytes;  // which are tokens of their own here
      ROWMAX_TRY(merges, BpeMerges::create(source, vocabulary, false, of_bytes));
      bpe = std::move(merges);
    }
    spm.init(vocabulary, unknown, model == kGemma4 ? &bpe : nullptr, notices);
  }
  ROWMAX_RETURN_IF_ERROR(choose_prefix(source));
  if (source.normalizer && (!is_bpe || *source.normalizer != "NFC")) {
    return Error{ErrorCode::kUnsupported, source.name + ": " + kNormalizerKey + ": expected " +
                                              (is_bpe ? "NFC" : "none beside a llama model") + ", found '" +
                                              *source.normalizer + "'"};
  }
  return added.init(
      source, vocabulary,
      {.nfc = source.normalizer.has_value(), .marks = !is_bpe, .prefix_mark = space_prefix && !prefix_unless_space});
}

Status Tokenizer::Impl::choose_prefix(const TokenizerSource& source) {
  space_prefix = !is_bpe && source.add_space_prefix.value_or(model != kGemma4);
  if (!source.space_prefix) return {};
  // A byte-level model without this key of our own never gets a space, whatever add_space_prefix says.
  space_prefix = space_prefix || is_bpe;
  prefix_first_only = !is_bpe && *source.space_prefix == "first";
  prefix_unless_space = prefix_first_only || *source.space_prefix == "always";
  if (prefix_unless_space) return {};
  return Error{ErrorCode::kUnsupported, source.name + ": " + kSpacePrefixKey + ": expected " +
                                            (is_bpe ? "" : "first or ") + "always, found '" + *source.space_prefix +
                                            "'"};
}

Status Tokenizer::Impl::choose_model(const TokenizerSource& source, const TokenizerOptions& options) {
  model = source.model;
  is_bpe = model == "gpt2";
  if (!is_bpe && model != "llama" && model != kGemma4) {
    return Error{ErrorCode::kUnsupported,
                 source.name + ": tokenizer.ggml.model: expected gpt2, llama or gemma4, found '" + model + "'"};
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
  add_eos = source.add_eos.value_or(false);
  if (add_eos && eos < 0) {
    return corrupt(source, "tokenizer.ggml.add_eos_token is true, but tokenizer.ggml.eos_token_id is missing");
  }
  if (add_eos) notices.push_back("tokenizer.ggml.add_eos_token: EOS is put behind texts to embed, not behind prompts");
  add_bos = source.add_bos.value_or(is_bpe ? pre->default_add_bos : true);
  if (!add_bos || bos >= 0) return {};
  if (source.add_bos) {
    return corrupt(source, "tokenizer.ggml.add_bos_token is true, but tokenizer.ggml.bos_token_id is missing");
  }
  add_bos = false;
  notices.push_back("tokenizer.ggml.bos_token_id is missing: no BOS is added");
  return {};
}

// One call of encode: a cache of the words seen and the scratch of the merging.
struct Tokenizer::Impl::Encoder final : AddedTokens::Listener {
  const Impl& impl;
  std::vector<TokenId>& out;
  WordCache cache;
  std::deque<std::string> buffers;  // texts that were changed; the cache's words lie in them
  BpeMerges::Scratch bpe_scratch;
  SpmMerges::Scratch spm_scratch;
  bool text_start = true;  // no special token came before

  Encoder(const Impl& owner, std::size_t text_bytes, std::vector<TokenId>& ids)
      : impl(owner), out(ids), cache(text_bytes) {}

  // The parts are one text: words and merges reach over their borders, special tokens do not, so that none can be put
  // together from the end of one part and the beginning of another.
  void run(std::string_view text, std::span<const TextPart> parts) { impl.added.split(text, parts, buffers, *this); }

  void on_token(TokenId id) override {
    out.push_back(id);
    text_start = false;
  }

  void on_text(std::string_view text, bool prefixed) override {
    const bool spaced = impl.prefix_unless_space && (text[0] == ' ' || (!impl.is_bpe && text.starts_with(kSpaceMark)));
    const bool prefix = !prefixed && impl.space_prefix && !spaced && (text_start || !impl.prefix_first_only);
    if (impl.is_bpe) {
      byte_level(prefix ? std::string_view(buffers.emplace_back(" ").append(text)) : text);
    } else {
      sentence_piece(text, prefix);
    }
  }

  void byte_level(std::string_view text) {
    split_words(impl.pre->passes, text, [this](std::string_view word) {
      cached(word, [&] { impl.bpe.encode(word, impl.vocabulary, bpe_scratch, out); });
    });
  }

  void sentence_piece(std::string_view text, bool prefix) {
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
    case TokenKind::kUserDefined:
      if (is_bpe && !vocabulary.also_merged(id)) return std::string(text);
      break;
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
  bool first = space_prefix && !is_bpe;  // a byte-level decoder shows what it has put in front
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
std::vector<std::string_view> Tokenizer::pre_tokenizer_names() {
  std::vector<std::string_view> names;
  for (const PreTokenizer& entry : pre_tokenizers()) names.push_back(entry.name);
  return names;
}

bool Tokenizer::add_bos() const noexcept { return impl_->add_bos; }
bool Tokenizer::add_eos() const noexcept { return impl_->add_eos; }
std::span<const TokenId> Tokenizer::end_of_generation() const noexcept { return impl_->end_of_generation; }
bool Tokenizer::is_end_of_generation(TokenId id) const noexcept {
  return std::binary_search(impl_->end_of_generation.begin(), impl_->end_of_generation.end(), id);
}
std::span<const std::string> Tokenizer::notices() const noexcept { return impl_->notices; }
std::span<const std::string> Tokenizer::remarks() const noexcept { return impl_->remarks; }

}  // namespace rowmax::engine

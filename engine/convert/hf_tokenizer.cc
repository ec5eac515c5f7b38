#include "engine/convert/hf_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "engine/convert/json_reader.h"
#include "engine/convert/spm_scores.h"
#include "engine/io/mapped_file.h"
#include "engine/io/text.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/rowmax_keys.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kMaxTokenizerBytes = std::size_t{128} << 20;  // the largest known: 33 MB, a vocabulary of 262144
constexpr std::size_t kMaxTokenizerConfigBytes = std::size_t{16} << 20;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// As GGUF numbers them.
enum TokenType : std::int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// One entry of added_tokens; flags: AddedTokenFlags.
struct AddedToken {
  std::string text;
  std::int64_t id = 0;
  std::int32_t flags = 0;
  bool special = false, normalized = false;
};

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// "<0x0A>"
bool is_byte_token(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>') &&
         text.find_first_not_of("0123456789ABCDEFabcdef", 3) == 5;
}

std::string_view type_of(const Json& step) { return step.find("type").as_string(); }
std::string_view text_of(const Json& object, std::string_view key) { return object.find(key).as_string(); }

// {"String": " "}: what a step of a SentencePiece tokenizer looks for.
bool is_space_pattern(const Json& pattern) { return pattern.size() == 1 && pattern.find("String").is(" "); }

JsonReader reader_of(const Json& root, const std::string& path) {
  return root.is_null() ? JsonReader::empty(path) : JsonReader(root, path);
}

class TokenizerConverter {
 public:
  TokenizerConverter(const HfTokenizerFiles& files, const Json& model_config, std::int64_t vocab_size,
                     const std::string& pre, GgufWriter& keys)
      : files_(files),
        root_(files.tokenizer.root(), files.folder + "/tokenizer.json"),
        config_(reader_of(files.config.root(), files.folder + "/tokenizer_config.json")),
        generation_(reader_of(files.generation.root(), files.folder + "/generation_config.json")),
        special_(reader_of(files.special_tokens.root(), files.folder + "/special_tokens_map.json")),
        model_config_(model_config, files.folder + "/config.json"),
        vocab_size_(vocab_size),
        pre_(pre),
        keys_(keys) {}

  Result<std::vector<std::string>> run() {
    ROWMAX_RETURN_IF_ERROR(read_model());
    ROWMAX_RETURN_IF_ERROR(read_merges());
    ROWMAX_RETURN_IF_ERROR(read_tokens());
    ROWMAX_RETURN_IF_ERROR(byte_level_ ? write_byte_level() : write_sentence_piece());
    ROWMAX_RETURN_IF_ERROR(write_ids());
    write_flags();
    write_added_flags();
    ROWMAX_RETURN_IF_ERROR(write_template());
    for (const JsonReader* reader : {&root_, &config_, &generation_, &special_, &model_config_}) {
      ROWMAX_RETURN_IF_ERROR(reader->status());
    }
    return std::move(notices_);
  }

 private:
  Error corrupt(const std::string& text) const { return Error{ErrorCode::kCorrupt, concat(root_.where(), ": ", text)}; }
  Error unsupported(const std::string& text) const {
    return Error{ErrorCode::kUnsupported, concat(root_.where(), ": ", text)};
  }

  Status read_model() {
    model_ = root_.find("model");
    if (!model_.is_object()) return corrupt("model: expected an object");
    const std::string_view type = type_of(model_);
    if (!type.empty() && type != "BPE") return unsupported(concat("model.type: expected BPE, found ", quote(type)));
    JsonReader reader(model_, root_.where() + ": model");
    ignore_merges_ = reader.bool_or("ignore_merges", false);
    byte_fallback_ = reader.bool_or("byte_fallback", false);
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!reader.string_or(key, "").empty()) reader.fail(ErrorCode::kUnsupported, key, "expected none");
    }
    if (reader.has("dropout") && reader.number_or("dropout", 0, 0, 1) > 0) {
      reader.fail(ErrorCode::kUnsupported, "dropout", "expected none");
    }
    unknown_ = reader.string_or("unk_token", "");
    ROWMAX_RETURN_IF_ERROR(reader.status());
    byte_level_ =
        has_byte_level(root_.find("pre_tokenizer")) || (!byte_fallback_ && has_byte_level(root_.find("decoder")));
    return {};
  }

  static bool has_byte_level(const Json& step) {
    if (type_of(step) == "ByteLevel") return true;
    if (type_of(step) != "Sequence") return false;
    for (const char* list : {"pretokenizers", "decoders"}) {
      for (const Json& part : step.find(list).elements()) {
        if (type_of(part) == "ByteLevel") return true;
      }
    }
    return false;
  }

  Status put_token(std::int64_t id, const std::string& text, std::int32_t type) {
    const auto i = static_cast<std::size_t>(id);
    if (types_[i] != 0 && tokens_[i] != text) {
      return corrupt(concat("id ", id, " stands for two tokens, ", quote(tokens_[i]), " and ", quote(text)));
    }
    tokens_[i] = text;
    types_[i] = type;
    ids_[text] = id;
    return {};
  }

  bool is_id(const Json& id) const {
    const std::int64_t number = id.as_int().value_or(-1);
    return number >= 0 && number < vocab_size_;
  }
  Status check_id(const Json& id, const std::string& text) const {
    if (is_id(id)) return {};
    return corrupt(concat("token ", quote(text), ": expected an id below the embedding's ", vocab_size_,
                          " rows, found ", id.text()));
  }

  Status read_tokens() {
    const Json vocab = model_.find("vocab");
    if (!vocab.is_object()) return corrupt("model.vocab: expected an object");
    tokens_.resize(static_cast<std::size_t>(vocab_size_));
    types_.resize(static_cast<std::size_t>(vocab_size_));
    for (const auto& [key, id] : vocab.members()) {
      const std::string text(key);
      ROWMAX_RETURN_IF_ERROR(check_id(id, text));
      const bool byte = !byte_level_ && is_byte_token(text);
      ROWMAX_RETURN_IF_ERROR(put_token(*id.as_int(), text, byte ? kByte : kNormal));
    }
    ROWMAX_RETURN_IF_ERROR(read_added_tokens());
    const auto unknown = ids_.find(unknown_);
    if (!byte_level_ && unknown != ids_.end()) types_[static_cast<std::size_t>(unknown->second)] = kUnknown;
    std::int64_t holes = 0;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (types_[i] != 0) continue;
      tokens_[i] = concat("[PAD", i, "]");
      types_[i] = kUnused;
      ++holes;
    }
    if (holes > 0) notices_.push_back(concat(holes, " rows of the embedding belong to no token: filled up as unused"));
    return {};
  }

  Status read_added_tokens() {
    const Json added = root_.find("added_tokens");
    if (!added) return {};
    if (!added.is_array()) return corrupt("added_tokens: expected a list");
    std::vector<AddedToken> list;
    for (const Json& token : added.elements()) {
      JsonReader reader(token, root_.where() + ": added_tokens");
      AddedToken one;
      one.text = reader.string_or("content", "");
      one.special = reader.bool_or("special", false);
      one.normalized = reader.bool_or("normalized", !one.special);
      one.flags = (reader.bool_or("lstrip", false) ? kStripLeft : 0) |
                  (reader.bool_or("rstrip", false) ? kStripRight : 0) |
                  (reader.bool_or("single_word", false) ? kSingleWord : 0);
      ROWMAX_RETURN_IF_ERROR(reader.status());
      if (one.text.empty()) continue;  // as `tokenizers` does
      ROWMAX_RETURN_IF_ERROR(check_id(reader.find("id"), one.text));
      one.id = *reader.find("id").as_int();
      ROWMAX_RETURN_IF_ERROR(check_number(one));
      list.push_back(std::move(one));
    }
    const bool all_normalized = std::ranges::all_of(list, &AddedToken::normalized);
    const bool any_single = std::ranges::any_of(list, [](const AddedToken& t) { return (t.flags & kSingleWord) != 0; });
    const std::set<std::string> pieces = pieces_among(list);
    std::map<std::string, std::int64_t> in_normal;
    for (AddedToken& token : list) {
      ROWMAX_RETURN_IF_ERROR(add_flags(token, all_normalized, any_single, pieces.contains(token.text)));
      const auto place = static_cast<std::size_t>(token.id);
      if (types_[place] == kNormal || types_[place] == kByte) types_[place] = 0;  // said again, now with what it is
      ROWMAX_RETURN_IF_ERROR(put_token(token.id, token.text, token.special ? kControl : kUserDefined));
      if ((token.flags & kInNormalText) != 0) {
        std::string text = token.text;
        if (!byte_level_) replace_marks(text);
        const auto [first, is_new] = in_normal.emplace(text, token.id);
        if (!is_new && first->second != token.id) {  // which of them `tokenizers` finds is chance
          return unsupported(concat("added_tokens: expected texts that differ once normalised, found ids ",
                                    first->second, " and ", token.id));
        }
      }
      if (token.flags == 0) continue;
      flagged_ids_.push_back(static_cast<std::int32_t>(place));
      flags_.push_back(token.flags);
    }
    return {};
  }

  // `tokenizers` does not go by the ids in the list: a text of the model's vocabulary has its id, the others follow it
  // in order.
  Status check_number(const AddedToken& token) {
    const auto known = ids_.find(token.text);
    const bool is_new = known == ids_.end();
    if (is_new && next_id_ < 0) next_id_ = static_cast<std::int64_t>(model_.find("vocab").size());
    const std::int64_t expected = is_new ? next_id_++ : known->second;
    ids_[token.text] = expected;
    if (token.id == expected) return {};
    return corrupt(concat("added_tokens: ", quote(token.text), ": expected id ", expected, " (",
                          is_new ? "the next that is free" : "as in model.vocab",
                          ", which is what `tokenizers` gives it), found ", token.id));
  }

  // Those added tokens that are pieces of the model too: symbols, or made by merges.
  std::set<std::string> pieces_among(const std::vector<AddedToken>& list) const {
    const Json vocab = model_.find("vocab");
    std::set<std::string> named, pieces;
    for (const AddedToken& token : list) {
      if (!vocab.find(token.text)) continue;
      named.insert(token.text);
      if (n_characters(token.text) == 1) pieces.insert(token.text);
    }
    if (named.empty()) return pieces;
    for (const MergePair& merge : merges_) {
      if (auto found = named.find(merge.left + merge.right); found != named.end()) pieces.insert(*found);
    }
    return pieces;
  }
  static std::size_t n_characters(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  }

  Status add_flags(AddedToken& token, bool all_normalized, bool any_single, bool is_piece) const {
    const bool has_mark = token.text.find(kSpaceMark) != std::string::npos;
    const bool marks = root_.has("normalizer") && !byte_level_;
    if (token.normalized && (marks || nfc() || !all_normalized)) {
      token.flags |= kSecondPass | (marks || nfc() ? kInNormalText : 0);
    }
    if (!token.special && has_mark && marks) {
      token.flags |= kSpacesAreMarks;
      if (token.text.find(' ') != std::string::npos) {
        return unsupported(concat("added_tokens: ", quote(token.text), ": expected spaces or U+2581, found both"));
      }
    }
    // Whether the text can come to the model all the same, which then makes the token by merging: where spaces become
    // marks or bytes characters the model sees another text than the one that the token is looked for in, and a place
    // where a single word was found and was none is not looked at again.
    const bool in_marks = !byte_level_ && has_mark;
    const bool ascii = std::ranges::all_of(token.text, [](char c) { return c > ' ' && c < 0x7F; });
    const bool passes =
        any_single || in_marks || (byte_level_ && !ascii) || ((token.flags & kInNormalText) != 0 && prepends());
    if (!is_piece || !passes) return {};
    if (token.special) {
      return unsupported(concat("added_tokens: ", quote(token.text),
                                " is special, and the model makes it by merging "
                                "too: GGUF's control tokens are never made"));
    }
    token.flags |= kAlsoMerged;
    return {};
  }

  // Whether the normalizer puts a mark in front of every stretch of text.
  bool prepends() const {
    const Json normalizer = root_.find("normalizer");
    if (type_of(normalizer) == "Prepend") return true;
    return std::ranges::any_of(normalizer.find("normalizers").elements(),
                               [](const Json& step) { return type_of(step) == "Prepend"; });
  }
  // What GGUF has no place for: keys of our own, which other readers pass over.
  void write_added_flags() {
    if (flags_.empty()) return;
    keys_.set_int32s(kAddedTokensKey, flagged_ids_);
    keys_.set_int32s(kAddedTokenFlagsKey, flags_);
    notices_.push_back(concat(root_.where(), ": added_tokens: lstrip, rstrip, single_word or normalized of ",
                              flags_.size(), " tokens is kept under ", kAddedTokenFlagsKey,
                              "; other readers of GGUF do without it"));
  }

  // "a b", or ["a", "b"].
  Status read_merges() {
    const Json list = model_.find("merges");
    if (!list.is_array()) return corrupt("model.merges: expected a list");
    merges_.reserve(list.size());
    for (const Json& merge : list.elements()) {
      if (merge.is_array() && merge.size() == 2 && merge.at(0).is_string() && merge.at(1).is_string()) {
        merges_.push_back({std::string(merge.at(0).as_string()), std::string(merge.at(1).as_string())});
        continue;
      }
      const std::string_view text = merge.as_string();
      const std::size_t space = text.find(' ');
      if (space == std::string_view::npos || space == 0 || space + 1 == text.size() ||
          text.find(' ', space + 1) != std::string_view::npos) {
        return corrupt(concat("model.merges: expected two texts, found ", merge.text()));
      }
      merges_.push_back({std::string(text.substr(0, space)), std::string(text.substr(space + 1))});
    }
    return {};
  }

  // Whether a byte-level tokenizer's normalizer does anything (what it may do is NFC alone).
  bool nfc() const {
    const Json normalizer = root_.find("normalizer");
    return byte_level_ && normalizer &&
           (type_of(normalizer) != "Sequence" || normalizer.find("normalizers").size() > 0);
  }

  Status write_byte_level() {
    const Json normalizer = root_.find("normalizer");
    std::vector<Json> steps = {normalizer};
    if (type_of(normalizer) == "Sequence") {
      const auto list = normalizer.find("normalizers").elements();
      steps.assign(list.begin(), list.end());
    }
    for (const Json& step : steps) {
      if (!step || type_of(step) == "NFC") continue;
      return unsupported(concat("normalizer: expected none or NFC, found ", normalizer.text()));
    }
    if (nfc()) {
      keys_.set_string(kNormalizerKey, "NFC");
      notices_.push_back(concat(root_.where(), ": normalizer: NFC is kept under ", kNormalizerKey,
                                "; other readers of GGUF take a text as it is"));
    }
    std::string pre = pre_;
    if (pre.empty()) {
      const Json rule = root_.find("pre_tokenizer");
      const RecognisedPre known = recognise_pre_tokenizer(rule, ignore_merges_);
      pre = known.name;
      if (pre.empty()) {
        return unsupported(concat("pre_tokenizer: no known one splits like ", rule ? rule.text() : "none",
                                  ignore_merges_ ? " with ignore_merges" : "", "; --pre NAME chooses one"));
      }
      if (known.add_prefix_space) write_prefix("always", "add_prefix_space", "put no space in front of a text");
    }
    std::vector<std::string> texts;
    texts.reserve(merges_.size());
    for (const MergePair& merge : merges_) {
      for (const std::string& part : {merge.left, merge.right, merge.left + merge.right}) {
        if (!ids_.contains(part)) return corrupt(concat("model.merges: ", quote(part), " is no token"));
        if (part.find(' ') != std::string::npos) {
          return unsupported(concat("model.merges: ", quote(part), " holds a space"));
        }
      }
      texts.push_back(merge.left + " " + merge.right);
    }
    keys_.set_string("tokenizer.ggml.model", "gpt2");
    keys_.set_string("tokenizer.ggml.pre", pre);
    keys_.set_strings("tokenizer.ggml.tokens", tokens_);
    keys_.set_int32s("tokenizer.ggml.token_type", types_);
    keys_.set_strings("tokenizer.ggml.merges", texts);
    return {};
  }

  // Where a space is put that is not in the text.
  enum class Prefix {
    kNever,
    kStretch,  // in front of every stretch between special tokens (GGUF's add_space_prefix)
    kAlways,   // the same, but not where the stretch starts with a space
    kFirst,    // as kAlways, at the start of the text alone
  };

  // Whether the normalizer only writes marks for spaces; nullopt where it does something else. prefix: and one in
  // front.
  std::optional<bool> normalizer_marks(Prefix& prefix) const {
    const Json normalizer = root_.find("normalizer");
    bool marks = false;
    const auto read = [&](const Json& step) {
      if (type_of(step) == "Prepend" && text_of(step, "prepend") == kSpaceMark) {
        prefix = Prefix::kStretch;
        return true;
      }
      marks = true;
      return type_of(step) == "Replace" && text_of(step, "content") == kSpaceMark &&
             is_space_pattern(step.find("pattern"));
    };
    if (type_of(normalizer) == "Sequence") {
      if (!std::ranges::all_of(normalizer.find("normalizers").elements(), read)) return std::nullopt;
    } else if (normalizer && !read(normalizer)) {
      return std::nullopt;
    }
    return marks;
  }

  // nullopt where the tokenizer does something else.
  std::optional<Prefix> space_prefix() const {
    Prefix prefix = Prefix::kNever;
    const std::optional<bool> marks = normalizer_marks(prefix);
    if (!marks) return std::nullopt;
    const Json pre = root_.find("pre_tokenizer");
    if (!pre) return *marks ? std::optional(prefix) : std::nullopt;
    // Gemma's: spaces are marks already, so that it never splits.
    if (type_of(pre) == "Split" && *marks && is_space_pattern(pre.find("pattern"))) return prefix;
    if (type_of(pre) != "Metaspace" || text_of(pre, "replacement") != kSpaceMark) return std::nullopt;
    std::string_view scheme = text_of(pre, "prepend_scheme");
    if (scheme.empty()) {
      const Json old = pre.find("add_prefix_space");
      scheme = old.is_bool() && !old.as_bool() ? "never" : "always";
    }
    // What the normalizer has put in front is a mark, and no second one comes before it.
    if (prefix == Prefix::kStretch || scheme == "never") return prefix;
    if (scheme == "always") return Prefix::kAlways;
    return scheme == "first" ? std::optional(Prefix::kFirst) : std::nullopt;
  }

  // Metaspace cuts before every mark unless told not to: then no token may reach over one.
  Status check_metaspace_split() const {
    const Json pre = root_.find("pre_tokenizer");
    const Json split = pre.find("split");
    if (type_of(pre) != "Metaspace" || (split.is_bool() && !split.as_bool())) return {};
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (types_[i] != kNormal || tokens_[i].find(kSpaceMark, 1) == std::string::npos) continue;
      return unsupported(concat("pre_tokenizer.split: expected false, found true (it cuts before every U+2581, which ",
                                quote(tokens_[i]), " reaches over)"));
    }
    return {};
  }

  // Tokens that are looked for in marked text want it as the normalizer alone leaves it, and what lies between them as it
  // is.
  Status check_marked_text() const {
    const auto found = std::ranges::find_if(flags_, [](std::int32_t flags) { return (flags & kInNormalText) != 0; });
    const bool metaspace = type_of(root_.find("pre_tokenizer")) == "Metaspace";
    if (found == flags_.end() || !metaspace) return {};
    const std::int32_t id = flagged_ids_[static_cast<std::size_t>(found - flags_.begin())];
    return unsupported(
        concat("added_tokens: ", quote(tokens_[static_cast<std::size_t>(id)]),
               ": expected normalized false beside a normalizer and a Metaspace pre_tokenizer, found true"));
  }

  Status write_sentence_piece() {
    const std::optional<Prefix> prefix = space_prefix();
    if (!prefix) {
      return unsupported(
          "normalizer, pre_tokenizer: expected byte-level BPE, or spaces written as U+2581 and nothing else");
    }
    const std::int64_t n_bytes = std::ranges::count(types_, kByte);
    if (!byte_fallback_ || n_bytes != 256) {
      return unsupported(concat("model.byte_fallback: expected true and tokens for 256 bytes, found ",
                                byte_fallback_ ? "true" : "false", " and ", n_bytes));
    }
    ROWMAX_RETURN_IF_ERROR(check_metaspace_split());
    ROWMAX_RETURN_IF_ERROR(check_marked_text());
    std::vector<bool> mergeable(types_.size());
    for (std::size_t i = 0; i < types_.size(); ++i) mergeable[i] = types_[i] == kNormal;
    for (std::size_t i = 0; i < flags_.size(); ++i) {
      if ((flags_[i] & kAlsoMerged) != 0) mergeable[static_cast<std::size_t>(flagged_ids_[i])] = true;
    }
    auto scores = scores_from_merges(tokens_, mergeable, merges_);
    if (!scores.ok()) return Error{scores.error().code, concat(root_.where(), ": ", scores.error().message)};
    // Other readers look for user-defined tokens in the text before its spaces become marks.
    for (std::size_t i = 0; i < flags_.size(); ++i) {
      if ((flags_[i] & kSpacesAreMarks) != 0) replace_marks(tokens_[static_cast<std::size_t>(flagged_ids_[i])]);
    }
    keys_.set_string("tokenizer.ggml.model", "llama");
    keys_.set_string("tokenizer.ggml.pre", "default");
    keys_.set_strings("tokenizer.ggml.tokens", tokens_);
    keys_.set_float32s("tokenizer.ggml.scores", *scores);
    keys_.set_int32s("tokenizer.ggml.token_type", types_);
    keys_.set_bool("tokenizer.ggml.add_space_prefix", *prefix != Prefix::kNever);
    if (*prefix == Prefix::kAlways || *prefix == Prefix::kFirst) {
      const bool first = *prefix == Prefix::kFirst;
      write_prefix(first ? "first" : "always", first ? "prepend_scheme first" : "prepend_scheme always",
                   "put a space in front of every stretch between special tokens");
    }
    return {};
  }
  static void replace_marks(std::string& text) {
    for (std::size_t at = text.find(kSpaceMark); at != std::string::npos; at = text.find(kSpaceMark, at + 1)) {
      text.replace(at, kSpaceMark.size(), " ");
    }
  }
  void write_prefix(const char* value, const char* what, const char* others) {
    keys_.set_string(kSpacePrefixKey, value);
    notices_.push_back(concat(root_.where(), ": pre_tokenizer: ", what, " is kept under ", kSpacePrefixKey,
                              "; other readers of GGUF ", others));
  }

  // The id that tokenizer_config.json names by its text, or config.json by its number; -1: neither.
  Result<std::int64_t> find_id(const std::string& name) {
    // Older folders name them in special_tokens_map.json, which counts where tokenizer_config.json has no list of tokens.
    const bool legacy = !config_.has("added_tokens_decoder") && !config_.names(name + "_token");
    for (const JsonReader* reader : {&config_, &special_}) {
      const Json token = reader->find(name + "_token");
      if (!token || (reader == &special_ && !legacy)) continue;
      const Json text = token.is_object() ? token.find("content") : token;
      if (!text.is_string()) {
        return Error{ErrorCode::kCorrupt, concat(reader->where(), ": ", name, "_token: expected a text")};
      }
      const auto found = ids_.find(text.as_string());
      if (found != ids_.end()) return found->second;
      return Error{ErrorCode::kCorrupt,
                   concat(reader->where(), ": ", name, "_token: ", quote(text.as_string()), " is no token")};
    }
    for (const JsonReader* reader : {&model_config_, &generation_}) {
      const Json id = reader->find(name + "_token_id");
      if (!id) continue;
      const Json first = id.is_array() && id.size() > 0 ? id.at(0) : id;
      if (is_id(first)) return *first.as_int();
      return Error{ErrorCode::kCorrupt, concat(reader->where(), ": ", name, "_token_id: expected an id below ",
                                               vocab_size_, ", found ", id.text())};
    }
    return std::int64_t{-1};
  }

  Status write_ids() {
    const std::pair<const char*, const char*> kNames[] = {
        {"bos", "bos"}, {"eos", "eos"}, {"unk", "unknown"}, {"pad", "padding"}};
    std::set<std::int64_t> ends;
    for (const auto& [name, key] : kNames) {
      ROWMAX_TRY(id, find_id(name));
      if (id < 0) continue;
      if (std::string_view(name) == "bos") bos_ = id;
      if (std::string_view(name) == "eos") ends.insert(eos_ = id);
      keys_.set_uint32(concat("tokenizer.ggml.", key, "_token_id"), static_cast<std::uint32_t>(id));
    }
    return write_more_ends(ends);
  }

  // generation_config.json may end on several; without it the list of config.json is what transformers goes by.
  Status write_more_ends(std::set<std::int64_t>& ends) {
    const JsonReader& source = generation_.has("eos_token_id") ? generation_ : model_config_;
    const Json more = source.find("eos_token_id");
    std::vector<Json> list = {more};
    if (more.is_array()) list.assign(more.elements().begin(), more.elements().end());
    const char* const kMore[] = {"eot", "eom"};
    std::size_t next = 0;
    for (const Json& id : list) {
      if (!more) break;
      if (!is_id(id)) {
        return Error{ErrorCode::kCorrupt, concat(source.where(), ": eos_token_id: expected ids below ", vocab_size_,
                                                 ", found ", more.text())};
      }
      if (!ends.insert(*id.as_int()).second || next == std::size(kMore)) continue;
      keys_.set_uint32(concat("tokenizer.ggml.", kMore[next++], "_token_id"), static_cast<std::uint32_t>(*id.as_int()));
    }
    if (ends.size() <= 1 + std::size(kMore)) return {};
    keys_.set_int32s(kEndTokensKey, std::vector<std::int32_t>(ends.begin(), ends.end()));
    notices_.push_back(concat(source.where(), ": eos_token_id: ", ends.size(), " tokens end a text; GGUF has room for ",
                              "three, all are kept under ", kEndTokensKey));
    return {};
  }

  // Whether the post-processor puts the BOS token in front.
  std::int64_t id_of_part(const Json& part) const {
    const auto found = ids_.find(text_of(part.find("SpecialToken"), "id"));
    return found == ids_.end() ? -1 : found->second;
  }

  struct Around {
    bool bos = false;
    std::int64_t behind = -1;  // the token behind a text
  };

  // Whether a text gets BOS in front, and EOS behind. What else a post-processor puts around a text no GGUF file can say.
  Around tokens_around(const Json& step) {
    const std::string_view type = type_of(step);
    if (step.is_null() || type == "ByteLevel") return {};  // the latter moves offsets alone
    Around out;
    if (type == "Sequence") {
      for (const Json& part : step.find("processors").elements()) {
        const Around inner = tokens_around(part);
        out = {out.bos || inner.bos, std::max(out.behind, inner.behind)};
      }
      return out;
    }
    const Json single = step.find("single");
    const auto is_text = [](const Json& part) { return !part.find("Sequence").is_null(); };
    // The name is the template's own, the ids beside it are what is put there.
    const auto token_of = [&](const Json& part) {
      const std::int64_t id = id_of_part(part);
      const Json ids = step.find("special_tokens").find(text_of(part.find("SpecialToken"), "id")).find("ids");
      return !ids || (ids.size() == 1 && ids.at(0).as_int() == id) ? id : -1;
    };
    const std::size_t text = single.size() > 0 && is_text(single.at(0)) ? 0 : 1;
    bool known =
        type == "TemplateProcessing" && single.size() > text && single.size() <= text + 2 && is_text(single.at(text));
    if (known && text == 1) {
      out.bos = bos_ >= 0 && token_of(single.at(0)) == bos_;
      known = out.bos;
    }
    if (known && single.size() == text + 2) {
      out.behind = token_of(single.at(text + 1));
      // Embedding models end on a token of their own, which is EOS to a file's readers.
      known = out.behind >= 0 && (out.behind == eos_ || is_trunk());
    }
    if (!known) {
      root_.fail(ErrorCode::kUnsupported, "post_processor",
                 concat("expected nothing around a text but one BOS token in front and EOS behind, found ", quote(type),
                        " with another rule"));
    }
    return out;
  }
  bool is_trunk() const { return model_config_.find("architectures").at(0).as_string().ends_with("Model"); }

  void write_flags() {
    const Around around = tokens_around(root_.find("post_processor"));
    keys_.set_bool("tokenizer.ggml.add_bos_token", config_.bool_or("add_bos_token", around.bos));
    if (config_.bool_or("add_eos_token", around.behind >= 0)) keys_.set_bool("tokenizer.ggml.add_eos_token", true);
    if (around.behind < 0 || around.behind == eos_) return;
    keys_.remove("tokenizer.ggml.eos_token_id");
    keys_.set_uint32("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(around.behind));
    notices_.push_back(concat(root_.where(), ": post_processor: texts end in ",
                              quote(tokens_[static_cast<std::size_t>(around.behind)]), ", which becomes EOS"));
  }

  Status write_template() {
    std::string text = files_.chat_template;
    const Json found = config_.find("chat_template");
    if (text.empty()) text = found.as_string();
    if (text.empty() && found.is_array()) {
      for (const Json& each : found.elements()) {
        if (text_of(each, "name") == "default") text = text_of(each, "template");
      }
      if (text.empty()) notices_.push_back(concat(config_.where(), ": chat_template: none of the list is the default"));
    }
    if (!text.empty()) {
      keys_.set_string("tokenizer.chat_template", text);
    } else if (files_.processor_template) {
      notices_.push_back(concat(files_.folder,
                                "/chat_template.json: is a processor's, which transformers does not read for "
                                "a tokenizer: the file has no chat template"));
    }
    return {};
  }

  const HfTokenizerFiles& files_;
  JsonReader root_, config_, generation_, special_, model_config_;
  std::int64_t vocab_size_;
  const std::string& pre_;
  GgufWriter& keys_;
  Json model_;
  bool byte_level_ = false, ignore_merges_ = false, byte_fallback_ = false;
  std::string unknown_;
  std::vector<std::string> tokens_;
  std::vector<std::int32_t> types_;  // 0: no token yet
  std::map<std::string, std::int64_t, std::less<>> ids_;
  std::int64_t bos_ = -1, eos_ = -1;
  std::vector<std::int32_t> flagged_ids_, flags_;  // of added tokens
  std::vector<MergePair> merges_;
  std::int64_t next_id_ = -1;  // of an added token that the model does not have; -1: not yet known
  std::vector<std::string> notices_;
};

Result<JsonDocument> read_optional(const std::string& path) {
  if (!exists(path)) return JsonDocument();
  return read_json_file(path, kMaxTokenizerConfigBytes);
}

}  // namespace

Result<HfTokenizerFiles> read_tokenizer_files(const std::string& folder) {
  HfTokenizerFiles files;
  files.folder = folder;
  if (!exists(folder + "/tokenizer.json")) {
    return Error{ErrorCode::kNotFound, concat(folder,
                                              ": tokenizer.json is missing (transformers' AutoTokenizer writes one: "
                                              "from_pretrained, then save_pretrained)")};
  }
  ROWMAX_TRY(tokenizer, read_json_file(folder + "/tokenizer.json", kMaxTokenizerBytes));
  ROWMAX_TRY(config, read_optional(folder + "/tokenizer_config.json"));
  ROWMAX_TRY(generation, read_optional(folder + "/generation_config.json"));
  files.tokenizer = std::move(tokenizer);
  files.config = std::move(config);
  files.generation = std::move(generation);
  ROWMAX_TRY(special, read_optional(folder + "/special_tokens_map.json"));
  files.special_tokens = std::move(special);
  files.processor_template = exists(folder + "/chat_template.json");
  const std::string path = folder + "/chat_template.jinja";
  if (!exists(path)) return files;
  ROWMAX_TRY(text, MappedFile::open(path));
  if (text.bytes().size() > kMaxTokenizerConfigBytes) {
    return Error{ErrorCode::kLimit,
                 concat(path, ": ", text.bytes().size(), " bytes, at most ", kMaxTokenizerConfigBytes)};
  }
  files.chat_template.assign(reinterpret_cast<const char*>(text.bytes().data()), text.bytes().size());
  return files;
}

Result<std::vector<std::string>> write_tokenizer(const HfTokenizerFiles& files, const Json& model_config,
                                                 std::int64_t vocab_size, const std::string& pre, GgufWriter& keys) {
  if (!pre.empty() && find_pre_tokenizer(pre) == nullptr) {
    return Error{ErrorCode::kInvalidArgument, concat("--pre: unknown pre-tokenizer ", quote(pre))};
  }
  return TokenizerConverter(files, model_config, vocab_size, pre, keys).run();
}

}  // namespace rowmax::engine

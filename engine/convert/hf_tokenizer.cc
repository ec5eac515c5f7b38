#include "engine/convert/hf_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "base/try.h"
#include "engine/convert/json_reader.h"
#include "engine/convert/spm_scores.h"
#include "engine/io/mapped_file.h"
#include "engine/io/text.h"
#include "engine/tokenizer/pre_tokenizer.h"

namespace rowmax::engine {
namespace {

constexpr std::size_t kMaxTokenizerBytes = std::size_t{256} << 20;
constexpr std::size_t kMaxConfigBytes = std::size_t{16} << 20;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// As GGUF numbers them.
enum TokenType : std::int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

// "<0x0A>"
bool is_byte_token(std::string_view text) {
  return text.size() == 6 && text.starts_with("<0x") && text.ends_with('>') &&
         text.find_first_not_of("0123456789ABCDEFabcdef", 3) == 5;
}

// The list at a key; empty where there is none.
Json list_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : Json::array();
}

// The text at a key; empty where there is none.
std::string text_of(const Json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string type_of(const Json* object) {
  if (object == nullptr || !object->is_object()) return {};
  return text_of(*object, "type");
}

class TokenizerConverter {
 public:
  TokenizerConverter(const HfTokenizerFiles& files, const Json& model_config, std::int64_t vocab_size,
                     const std::string& pre, GgufWriter& keys)
      : files_(files),
        root_(files.tokenizer, files.folder + "/tokenizer.json"),
        config_(files.config.is_null() ? empty_ : files.config, files.folder + "/tokenizer_config.json"),
        generation_(files.generation.is_null() ? empty_ : files.generation, files.folder + "/generation_config.json"),
        model_config_(model_config, files.folder + "/config.json"),
        vocab_size_(vocab_size),
        pre_(pre),
        keys_(keys) {}

  Result<std::vector<std::string>> run() {
    ROWMAX_RETURN_IF_ERROR(read_model());
    ROWMAX_RETURN_IF_ERROR(read_tokens());
    ROWMAX_RETURN_IF_ERROR(byte_level_ ? write_byte_level() : write_sentence_piece());
    ROWMAX_RETURN_IF_ERROR(write_ids());
    write_flags();
    ROWMAX_RETURN_IF_ERROR(write_template());
    for (const JsonReader* reader : {&root_, &config_, &generation_, &model_config_}) {
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
    if (model_ == nullptr || !model_->is_object()) return corrupt("model: expected an object");
    const std::string type = type_of(model_);
    if (!type.empty() && type != "BPE") return unsupported(concat("model.type: expected BPE, found ", quote(type)));
    JsonReader reader(*model_, root_.where() + ": model");
    ignore_merges_ = reader.bool_or("ignore_merges", false);
    const bool byte_fallback = reader.bool_or("byte_fallback", false);
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!reader.string_or(key, "").empty()) reader.fail(ErrorCode::kUnsupported, key, "expected none");
    }
    if (reader.has("dropout") && reader.number_or("dropout", 0, 0, 1) > 0) {
      reader.fail(ErrorCode::kUnsupported, "dropout", "expected none");
    }
    unknown_ = reader.string_or("unk_token", "");
    ROWMAX_RETURN_IF_ERROR(reader.status());
    byte_level_ =
        has_byte_level(root_.find("pre_tokenizer")) || (!byte_fallback && has_byte_level(root_.find("decoder")));
    return {};
  }

  static bool has_byte_level(const Json* step) {
    if (type_of(step) == "ByteLevel") return true;
    if (type_of(step) != "Sequence") return false;
    for (const char* list : {"pretokenizers", "decoders"}) {
      const auto parts = step->find(list);
      if (parts == step->end() || !parts->is_array()) continue;
      if (std::ranges::any_of(*parts, [](const Json& part) { return type_of(&part) == "ByteLevel"; })) return true;
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

  Status check_id(const Json& id, const std::string& text) const {
    if (id.is_number_unsigned() && id.get<std::uint64_t>() < static_cast<std::uint64_t>(vocab_size_)) return {};
    return corrupt(concat("token ", quote(text), ": expected an id below the embedding's ", vocab_size_,
                          " rows, found ", json_text(id)));
  }

  Status read_tokens() {
    const auto vocab = model_->find("vocab");
    if (vocab == model_->end() || !vocab->is_object()) return corrupt("model.vocab: expected an object");
    tokens_.resize(static_cast<std::size_t>(vocab_size_));
    types_.resize(static_cast<std::size_t>(vocab_size_));
    for (const auto& [text, id] : vocab->items()) {
      ROWMAX_RETURN_IF_ERROR(check_id(id, text));
      const bool byte = !byte_level_ && is_byte_token(text);
      ROWMAX_RETURN_IF_ERROR(put_token(id.get<std::int64_t>(), text, byte ? kByte : kNormal));
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
    const Json* added = root_.find("added_tokens");
    if (added == nullptr) return {};
    if (!added->is_array()) return corrupt("added_tokens: expected a list");
    for (const Json& token : *added) {
      JsonReader reader(token, root_.where() + ": added_tokens");
      std::string text = reader.string_or("content", "");
      const bool special = reader.bool_or("special", false);
      ROWMAX_RETURN_IF_ERROR(reader.status());
      const Json* id = reader.find("id");
      ROWMAX_RETURN_IF_ERROR(check_id(id != nullptr ? *id : Json(), text));
      const auto place = static_cast<std::size_t>(id->get<std::int64_t>());
      ids_[text] = static_cast<std::int64_t>(place);
      // Added tokens are found in the text before its spaces become marks.
      if (!special) replace_marks(text);
      if (types_[place] == kNormal || types_[place] == kByte) types_[place] = 0;  // said again, now with what it is
      ROWMAX_RETURN_IF_ERROR(put_token(static_cast<std::int64_t>(place), text, special ? kControl : kUserDefined));
    }
    return {};
  }
  void replace_marks(std::string& text) const {
    if (byte_level_) return;
    for (std::size_t at = text.find(kSpaceMark); at != std::string::npos; at = text.find(kSpaceMark, at + 1)) {
      text.replace(at, kSpaceMark.size(), " ");
    }
  }

  // "a b", or ["a", "b"].
  Result<std::vector<MergePair>> read_merges() const {
    const auto list = model_->find("merges");
    if (list == model_->end() || !list->is_array()) return corrupt("model.merges: expected a list");
    std::vector<MergePair> merges;
    merges.reserve(list->size());
    for (const Json& merge : *list) {
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        merges.push_back({merge[0].get<std::string>(), merge[1].get<std::string>()});
        continue;
      }
      const std::string text = merge.is_string() ? merge.get<std::string>() : std::string();
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || space == 0 || space + 1 == text.size() ||
          text.find(' ', space + 1) != std::string::npos) {
        return corrupt(concat("model.merges: expected two texts, found ", json_text(merge)));
      }
      merges.push_back({text.substr(0, space), text.substr(space + 1)});
    }
    return merges;
  }

  Status write_byte_level() {
    const Json* normalizer = root_.find("normalizer");
    if (normalizer != nullptr && type_of(normalizer) != "NFC" &&
        !(type_of(normalizer) == "Sequence" && list_of(*normalizer, "normalizers").empty())) {
      return unsupported(concat("normalizer: expected none or NFC, found ", json_text(*normalizer)));
    }
    if (normalizer != nullptr && type_of(normalizer) == "NFC") {
      notices_.push_back("the tokenizer brings text into Unicode's form NFC first; GGUF readers take it as it is");
    }
    std::string pre = pre_;
    if (pre.empty()) {
      const Json* rule = root_.find("pre_tokenizer");
      pre = rule != nullptr ? recognise_pre_tokenizer(*rule, ignore_merges_) : std::string();
      if (pre.empty()) {
        return unsupported(concat("pre_tokenizer: no known one splits like ",
                                  rule != nullptr ? json_text(*rule) : "none",
                                  ignore_merges_ ? " with ignore_merges" : "", "; --pre NAME chooses one"));
      }
    }
    ROWMAX_TRY(merges, read_merges());
    std::vector<std::string> texts;
    texts.reserve(merges.size());
    for (const MergePair& merge : merges) {
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

  // Whether a text starts with a space that is not there; nullopt where the tokenizer does something else.
  std::optional<bool> space_prefix() const {
    const Json* normalizer = root_.find("normalizer");
    const Json* pre = root_.find("pre_tokenizer");
    bool prefix = false, marks = false;
    std::vector<Json> steps;
    if (type_of(normalizer) == "Sequence") {
      for (const Json& step : list_of(*normalizer, "normalizers")) steps.push_back(step);
    } else if (normalizer != nullptr) {
      steps.push_back(*normalizer);
    }
    for (const Json& step : steps) {
      if (type_of(&step) == "Prepend" && text_of(step, "prepend") == kSpaceMark) {
        prefix = true;
      } else if (type_of(&step) == "Replace" && text_of(step, "content") == kSpaceMark && step.contains("pattern") &&
                 step["pattern"] == Json{{"String", " "}}) {
        marks = true;
      } else {
        return std::nullopt;
      }
    }
    if (pre == nullptr) return marks ? std::optional(prefix) : std::nullopt;
    // Gemma's: spaces are marks already, so that it never splits.
    if (type_of(pre) == "Split" && marks && pre->contains("pattern") && (*pre)["pattern"] == Json{{"String", " "}}) {
      return prefix;
    }
    if (type_of(pre) != "Metaspace" || text_of(*pre, "replacement") != kSpaceMark) return std::nullopt;
    std::string scheme = text_of(*pre, "prepend_scheme");
    if (scheme.empty())
      scheme = pre->contains("add_prefix_space") && (*pre)["add_prefix_space"] == false ? "never" : "always";
    return prefix || scheme != "never";
  }

  Status write_sentence_piece() {
    const std::optional<bool> prefix = space_prefix();
    if (!prefix) {
      return unsupported(
          "normalizer, pre_tokenizer: expected byte-level BPE, or spaces written as U+2581 and nothing else");
    }
    ROWMAX_TRY(merges, read_merges());
    std::vector<bool> mergeable(types_.size());
    for (std::size_t i = 0; i < types_.size(); ++i) mergeable[i] = types_[i] == kNormal;
    auto scores = scores_from_merges(tokens_, mergeable, merges);
    if (!scores.ok()) return Error{scores.error().code, concat(root_.where(), ": ", scores.error().message)};
    keys_.set_string("tokenizer.ggml.model", "llama");
    keys_.set_string("tokenizer.ggml.pre", "default");
    keys_.set_strings("tokenizer.ggml.tokens", tokens_);
    keys_.set_float32s("tokenizer.ggml.scores", *scores);
    keys_.set_int32s("tokenizer.ggml.token_type", types_);
    keys_.set_bool("tokenizer.ggml.add_space_prefix", *prefix);
    return {};
  }

  // The id that tokenizer_config.json names by its text, or config.json by its number; -1: neither.
  Result<std::int64_t> find_id(const std::string& name) {
    if (const Json* token = config_.find(name + "_token")) {
      const Json* text = token->is_object() ? JsonReader(*token, config_.where()).find("content") : token;
      if (text == nullptr || !text->is_string()) {
        return Error{ErrorCode::kCorrupt, concat(config_.where(), ": ", name, "_token: expected a text")};
      }
      const auto found = ids_.find(text->get<std::string>());
      if (found != ids_.end()) return found->second;
      return Error{ErrorCode::kCorrupt,
                   concat(config_.where(), ": ", name, "_token: ", quote(text->get<std::string>()), " is no token")};
    }
    for (JsonReader* reader : {&model_config_, &generation_}) {
      const Json* id = reader->find(name + "_token_id");
      if (id == nullptr) continue;
      const Json& first = id->is_array() && !id->empty() ? (*id)[0] : *id;
      if (first.is_number_unsigned() && first.get<std::uint64_t>() < static_cast<std::uint64_t>(vocab_size_)) {
        return first.get<std::int64_t>();
      }
      return Error{ErrorCode::kCorrupt, concat(reader->where(), ": ", name, "_token_id: expected an id below ",
                                               vocab_size_, ", found ", json_text(*id))};
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
      if (std::string_view(name) == "eos") ends.insert(id);
      keys_.set_uint32(concat("tokenizer.ggml.", key, "_token_id"), static_cast<std::uint32_t>(id));
    }
    // generation_config.json may end on several.
    const Json* more = generation_.find("eos_token_id");
    if (more == nullptr) return {};
    const char* const kMore[] = {"eot", "eom"};
    std::size_t next = 0;
    for (const Json& id : more->is_array() ? *more : Json::array({*more})) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= static_cast<std::uint64_t>(vocab_size_)) {
        return Error{ErrorCode::kCorrupt, concat(generation_.where(), ": eos_token_id: expected ids below ",
                                                 vocab_size_, ", found ", json_text(*more))};
      }
      if (!ends.insert(id.get<std::int64_t>()).second) continue;
      if (next == std::size(kMore)) {
        notices_.push_back(concat(generation_.where(), ": eos_token_id: GGUF has room for three, the others are lost"));
        break;
      }
      keys_.set_uint32(concat("tokenizer.ggml.", kMore[next++], "_token_id"), id.get<std::uint32_t>());
    }
    return {};
  }

  // Whether the post-processor puts the BOS token in front.
  bool template_adds_bos(const Json* step) const {
    if (type_of(step) == "Sequence") {
      const auto parts = step->find("processors");
      return parts != step->end() && parts->is_array() &&
             std::ranges::any_of(*parts, [&](const Json& part) { return template_adds_bos(&part); });
    }
    if (type_of(step) != "TemplateProcessing") return false;
    const auto single = step->find("single");
    if (single == step->end() || !single->is_array() || single->empty()) return false;
    const Json& first = (*single)[0];
    if (!first.is_object() || !first.contains("SpecialToken") || !first["SpecialToken"].is_object()) return false;
    const auto found = ids_.find(text_of(first["SpecialToken"], "id"));
    return found != ids_.end() && found->second == bos_;
  }

  void write_flags() {
    const bool by_template = template_adds_bos(root_.find("post_processor"));
    keys_.set_bool("tokenizer.ggml.add_bos_token", config_.bool_or("add_bos_token", by_template));
    if (config_.bool_or("add_eos_token", false)) keys_.set_bool("tokenizer.ggml.add_eos_token", true);
  }

  Status write_template() {
    std::string text = files_.chat_template;
    const Json* found = config_.find("chat_template");
    if (text.empty() && found != nullptr && found->is_string()) text = found->get<std::string>();
    if (text.empty() && found != nullptr && found->is_array()) {
      for (const Json& each : *found) {
        if (!each.is_object() || text_of(each, "name") != "default") continue;
        text = text_of(each, "template");
      }
      if (text.empty()) notices_.push_back(concat(config_.where(), ": chat_template: none of the list is the default"));
    }
    if (!text.empty()) keys_.set_string("tokenizer.chat_template", text);
    return {};
  }

  const Json empty_ = Json::object();
  const HfTokenizerFiles& files_;
  JsonReader root_, config_, generation_, model_config_;
  std::int64_t vocab_size_;
  const std::string& pre_;
  GgufWriter& keys_;
  const Json* model_ = nullptr;
  bool byte_level_ = false, ignore_merges_ = false;
  std::string unknown_;
  std::vector<std::string> tokens_;
  std::vector<std::int32_t> types_;  // 0: no token yet
  std::map<std::string, std::int64_t, std::less<>> ids_;
  std::int64_t bos_ = -1;
  std::vector<std::string> notices_;
};

Result<Json> read_optional(const std::string& path) {
  if (!exists(path)) return Json();
  return read_json_file(path, kMaxConfigBytes);
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
  const std::string path = folder + "/chat_template.jinja";
  if (!exists(path)) return files;
  ROWMAX_TRY(text, MappedFile::open(path));
  if (text.bytes().size() > kMaxConfigBytes) {
    return Error{ErrorCode::kLimit, concat(path, ": ", text.bytes().size(), " bytes, at most ", kMaxConfigBytes)};
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

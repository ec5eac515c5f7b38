#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/guarded.h"
#include "engine/tokenizer/key_rules.h"
#include "engine/tokenizer/rowmax_keys.h"
#include "engine/tokenizer/source.h"
#include "rowmax/engine/tokenizer.h"
#include "rowmax/try.h"

namespace rowmax::engine {
namespace {

constexpr const char* kIdKeys[] = {"bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id"};

Error wrong_elements(const GgufFile& file, const std::string& key, const char* expected, GgufType found) {
  return Error{ErrorCode::kCorrupt, file.name() + ": " + key + ": expected an array of " + expected +
                                        ", found one of " + gguf_type_name(found)};
}

// The array at the key, nullptr when the key is absent.
Result<const GgufArray*> optional_array(const GgufFile& file, const std::string& key) {
  const GgufValue* value = file.find(key);
  if (value == nullptr) return static_cast<const GgufArray*>(nullptr);
  if (value->type != GgufType::kArray) {
    return Error{ErrorCode::kCorrupt,
                 file.name() + ": " + key + ": expected an array, found " + gguf_type_name(value->type)};
  }
  return &std::get<GgufArray>(value->value);
}

bool is_integer(GgufType type) {
  return type != GgufType::kF32 && type != GgufType::kF64 && type != GgufType::kString && type != GgufType::kBool &&
         type != GgufType::kArray;
}

Status read_lists(const GgufFile& file, TokenizerSource& out) {
  if (file.find("tokenizer.ggml.tokens") == nullptr) {  // the file is there and lacks what it needs
    return Error{ErrorCode::kCorrupt, file.name() + ": key 'tokenizer.ggml.tokens' is missing"};
  }
  ROWMAX_TRY(tokens, file.get_array("tokenizer.ggml.tokens", GgufType::kString));
  out.tokens = tokens->strings;
  ROWMAX_TRY(scores, optional_array(file, "tokenizer.ggml.scores"));
  if (scores != nullptr) {
    if (!is_integer(scores->element_type) && scores->element_type != GgufType::kF32) {
      return wrong_elements(file, "tokenizer.ggml.scores", "f32", scores->element_type);
    }
    out.scores.emplace();
    out.scores->reserve(scores->size);
    for (std::size_t i = 0; i < scores->size; ++i) out.scores->push_back(static_cast<float>(scores->as_double(i)));
  }
  ROWMAX_TRY(types, optional_array(file, "tokenizer.ggml.token_type"));
  if (types != nullptr) {
    if (!is_integer(types->element_type)) {
      return wrong_elements(file, "tokenizer.ggml.token_type", "i32", types->element_type);
    }
    out.token_types.emplace();
    out.token_types->reserve(types->size);
    for (std::size_t i = 0; i < types->size; ++i) out.token_types->push_back(types->as_int(i));
  }
  ROWMAX_TRY(merges, optional_array(file, "tokenizer.ggml.merges"));
  if (merges != nullptr) {
    if (merges->element_type != GgufType::kString) {
      return wrong_elements(file, "tokenizer.ggml.merges", "string", merges->element_type);
    }
    out.merges = merges->strings;
  }
  return {};
}

// Scalar keys, or what TokenizerOptions::overrides put in their place.
class Scalars {
 public:
  Scalars(const GgufFile& file, const TokenizerOptions& options)
      : file_(file), overrides_(options.overrides), used_(overrides_.size(), false) {}

  Result<std::optional<std::string>> text(const std::string& key) {
    if (const std::string* given = override_for(key)) return std::optional<std::string>(*given);
    if (file_.find(key) == nullptr) return std::optional<std::string>();
    ROWMAX_TRY(value, file_.get_string(key));
    return std::optional<std::string>(value);
  }
  Result<std::optional<bool>> boolean(const std::string& key) {
    if (const std::string* given = override_for(key)) {
      if (*given == "true" || *given == "1") return std::optional<bool>(true);
      if (*given == "false" || *given == "0") return std::optional<bool>(false);
      return wrong(key, "true or false", *given);
    }
    if (file_.find(key) == nullptr) return std::optional<bool>();
    ROWMAX_TRY(value, file_.get_bool(key));
    return std::optional<bool>(value);
  }
  Result<std::optional<std::uint64_t>> id(const std::string& key) {
    if (const std::string* given = override_for(key)) {
      std::uint64_t value = 0;
      const auto [end, code] = std::from_chars(given->data(), given->data() + given->size(), value);
      if (code != std::errc() || end != given->data() + given->size()) return wrong(key, "a token id", *given);
      return std::optional<std::uint64_t>(value);
    }
    if (file_.find(key) == nullptr) return std::optional<std::uint64_t>();
    ROWMAX_TRY(value, file_.get_uint(key));
    return std::optional<std::uint64_t>(value);
  }
  // An override that nobody has asked for is a typing error of the user.
  Status check_used() const {
    for (std::size_t i = 0; i < overrides_.size(); ++i) {
      const std::string& key = overrides_[i].first;
      if (used_[i] || !key.starts_with("tokenizer.")) continue;
      if (key == "tokenizer.chat_template") {
        return Error{ErrorCode::kInvalidArgument,
                     file_.name() + ": override of key '" + key +
                         "': expected another key; --chat-template FILE of `run` and `chat` takes another template"};
      }
      const auto read = read_tokenizer_keys();
      const bool list = std::find(read.begin(), read.end(), key) != read.end();
      return Error{ErrorCode::kInvalidArgument,
                   file_.name() + ": override of key '" + key + "': " +
                       (list ? "only a single value can be given" : "the tokenizer does not read a key of that name")};
    }
    return {};
  }

 private:
  const GgufFile& file_;
  const std::vector<std::pair<std::string, std::string>>& overrides_;
  std::vector<bool> used_;

  const std::string* override_for(const std::string& key) {
    const std::string* value = nullptr;
    for (std::size_t i = 0; i < overrides_.size(); ++i) {  // the last one counts
      if (overrides_[i].first != key) continue;
      used_[i] = true;
      value = &overrides_[i].second;
    }
    return value;
  }
  Error wrong(const std::string& key, const char* expected, const std::string& found) const {
    return Error{ErrorCode::kInvalidArgument,
                 file_.name() + ": override of key '" + key + "': expected " + expected + ", found '" + found + "'"};
  }
};

Status check_all_read(const GgufFile& file, const TokenizerOptions& options) {
  const auto read = read_tokenizer_keys();
  for (const std::string& key : options.ignored_keys) {
    if (std::find(read.begin(), read.end(), key) != read.end()) {
      return Error{ErrorCode::kInvalidArgument,
                   file.name() + ": --ignore-key " + key + ": the tokenizer or the chat acts on this key"};
    }
    if (file.find(key) != nullptr) continue;
    return Error{ErrorCode::kInvalidArgument, file.name() + ": --ignore-key " + key + ": the file has no such key"};
  }
  ROWMAX_TRY(reports, Tokenizer::report_keys(file, options.ignored_keys));
  std::vector<RefusedKey> refused;
  for (const KeyReport& entry : reports) {
    if (entry.use == KeyUse::kRefused) refused.push_back(refused_key(entry, *file.find(entry.key), "the tokenizer"));
  }
  if (refused.empty()) return {};
  return Error{ErrorCode::kUnsupported, file.name() + ": " + refusal(refused)};
}

Result<std::vector<std::int64_t>> optional_integers(const GgufFile& file, const char* key) {
  std::vector<std::int64_t> values;
  if (file.find(key) == nullptr) return values;
  ROWMAX_TRY(array, file.get_int_array(key));
  for (std::size_t i = 0; i < array->size; ++i) values.push_back(array->as_int(i));
  return values;
}

Status read_own_keys(const GgufFile& file, TokenizerSource& out) {
  if (file.find(kSpacePrefixKey) != nullptr) {
    ROWMAX_TRY(prefix, file.get_string(kSpacePrefixKey));
    out.space_prefix = std::string(prefix);
  }
  if (file.find(kNormalizerKey) != nullptr) {
    ROWMAX_TRY(normalizer, file.get_string(kNormalizerKey));
    out.normalizer = std::string(normalizer);
  }
  for (const char* key : {kEndTokensKey, kOllamaEndTokensKey}) {
    ROWMAX_TRY(ends, optional_integers(file, key));
    for (const std::int64_t id : ends) out.end_ids.emplace_back(key, id);
  }
  ROWMAX_TRY(ids, optional_integers(file, kAddedTokensKey));
  ROWMAX_TRY(flags, optional_integers(file, kAddedTokenFlagsKey));
  if (ids.size() != flags.size()) {
    return Error{ErrorCode::kCorrupt, file.name() + ": " + kAddedTokenFlagsKey + ": expected " +
                                          std::to_string(ids.size()) + " elements as " + kAddedTokensKey +
                                          " has, found " + std::to_string(flags.size())};
  }
  for (std::size_t i = 0; i < ids.size(); ++i) out.added_token_flags.emplace_back(ids[i], flags[i]);
  return {};
}

Result<TokenizerSource> read_source(const GgufFile& file, const TokenizerOptions& options) {
  TokenizerSource out;
  out.name = file.name();
  Scalars scalars(file, options);
  ROWMAX_TRY(model, scalars.text("tokenizer.ggml.model"));
  if (!model) {
    return Error{ErrorCode::kCorrupt, file.name() + ": key 'tokenizer.ggml.model' is missing, expected a string"};
  }
  out.model = *model;
  ROWMAX_TRY(pre, scalars.text("tokenizer.ggml.pre"));
  out.pre = pre;
  const auto model_name = file.find_string("general.name");
  if (model_name) out.model_name = *model_name;
  ROWMAX_TRY(add_bos, scalars.boolean("tokenizer.ggml.add_bos_token"));
  ROWMAX_TRY(add_space_prefix, scalars.boolean("tokenizer.ggml.add_space_prefix"));
  out.add_bos = add_bos;
  ROWMAX_TRY(add_eos, scalars.boolean("tokenizer.ggml.add_eos_token"));
  out.add_eos = add_eos;
  out.add_space_prefix = add_space_prefix;
  for (const char* name : kIdKeys) {
    ROWMAX_TRY(id, scalars.id(std::string("tokenizer.ggml.") + name));
    if (id) out.ids.emplace_back(name, *id);
  }
  ROWMAX_RETURN_IF_ERROR(scalars.check_used());
  ROWMAX_RETURN_IF_ERROR(read_lists(file, out));
  ROWMAX_RETURN_IF_ERROR(read_own_keys(file, out));
  ROWMAX_RETURN_IF_ERROR(check_all_read(file, options));
  return out;
}

}  // namespace

Result<std::vector<KeyReport>> Tokenizer::report_keys(const GgufFile& file, const std::vector<std::string>& ignored) {
  return base::guarded([&]() -> Result<std::vector<KeyReport>> {
    std::vector<KeyReport> out;
    const auto read = read_tokenizer_keys();
    for (const auto& [key, value] : file.metadata()) {
      if (!key.starts_with("tokenizer.")) continue;
      const bool asked = std::find(read.begin(), read.end(), key) != read.end();
      out.push_back(asked ? KeyReport{key, KeyUse::kRead, ""}
                          : report_unread(key, value, find_rule(unread_tokenizer_rules(), key), ignored));
    }
    return out;
  });
}

Result<Tokenizer> Tokenizer::from_gguf(const GgufFile& file, const TokenizerOptions& options) {
  return base::guarded([&]() -> Result<Tokenizer> {
    ROWMAX_TRY(source, read_source(file, options));
    return from_source(source, options);
  });
}

}  // namespace rowmax::engine

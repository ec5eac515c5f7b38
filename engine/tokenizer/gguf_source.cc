#include <new>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/try.h"
#include "engine/tokenizer/rowmax_keys.h"
#include "engine/tokenizer/source.h"
#include "rowmax/engine/tokenizer.h"

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

Result<std::optional<bool>> optional_bool(const GgufFile& file, const char* key) {
  if (file.find(key) == nullptr) return std::optional<bool>();
  ROWMAX_TRY(value, file.get_bool(key));
  return std::optional<bool>(value);
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
  ROWMAX_TRY(ends, optional_integers(file, kEndTokensKey));
  out.end_ids = std::move(ends);
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

Result<TokenizerSource> read_source(const GgufFile& file) {
  TokenizerSource out;
  out.name = file.name();
  ROWMAX_TRY(model, file.get_string("tokenizer.ggml.model"));
  out.model = model;
  if (file.find("tokenizer.ggml.pre") != nullptr) {
    ROWMAX_TRY(pre, file.get_string("tokenizer.ggml.pre"));
    out.pre = std::string(pre);
  }
  const auto model_name = file.get_string("general.name");
  if (model_name.ok()) out.model_name = *model_name;
  ROWMAX_TRY(add_bos, optional_bool(file, "tokenizer.ggml.add_bos_token"));
  ROWMAX_TRY(add_space_prefix, optional_bool(file, "tokenizer.ggml.add_space_prefix"));
  out.add_bos = add_bos;
  out.add_space_prefix = add_space_prefix;
  for (const char* name : kIdKeys) {
    const std::string key = std::string("tokenizer.ggml.") + name;
    if (file.find(key) == nullptr) continue;
    ROWMAX_TRY(id, file.get_uint(key));
    out.ids.emplace_back(name, id);
  }
  ROWMAX_RETURN_IF_ERROR(read_lists(file, out));
  ROWMAX_RETURN_IF_ERROR(read_own_keys(file, out));
  return out;
}

}  // namespace

Result<Tokenizer> Tokenizer::from_gguf(const GgufFile& file, const TokenizerOptions& options) {
  try {
    ROWMAX_TRY(source, read_source(file));
    return from_source(source, options);
  } catch (const std::bad_alloc&) {
    return Error::out_of_memory();
  }
}

}  // namespace rowmax::engine

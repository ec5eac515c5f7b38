#include "apps/cli/token_ids.h"

#include <algorithm>

#include "apps/cli/engine_setup.h"
#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

using engine::Json;

constexpr std::size_t kMaxIds = std::size_t{1} << 24;  // days of scoring
constexpr int kMaxDepth = 8;                           // of what stands beside the list in an object

const char* kind_of(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  if (value.is_string()) return "a string";
  if (value.is_number()) return "a number";
  return value.is_bool() ? "a boolean" : "null";
}

}  // namespace

Result<std::vector<engine::TokenId>> parse_token_ids(std::string_view text, const std::string& name,
                                                     std::int64_t n_vocab) {
  const auto bad = [&](const std::string& found) {
    return Error{ErrorCode::kCorrupt, name + ": expected a JSON list of token ids, found " + found};
  };
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  // A list of ids holds nothing that nests; values stand apart, so there are no more than half as many as bytes.
  const bool is_list = begin != std::string_view::npos && text[begin] == '[';
  const engine::JsonLimits limits{.depth = is_list ? 1 : kMaxDepth, .values = std::min(kMaxIds, text.size() / 2 + 2)};
  auto document = engine::parse_json(text, name, limits);
  if (!document.ok()) {
    Error error = std::move(document).error();
    if (error.code == ErrorCode::kCorrupt) error.message += "; expected a list of token ids";
    return error;
  }
  Json list = document->root();
  if (list.is_object()) {
    list = list.find("tokens");
    if (!list.is_array()) return bad(std::string(kind_of(list)) + " as \"tokens\" of an object");
  }
  if (!list.is_array()) return bad(kind_of(list));
  std::vector<engine::TokenId> ids;
  ids.reserve(list.size());
  for (const Json& item : list.elements()) {
    const std::int64_t id = item.as_int().value_or(-1);
    if (id < 0 || id >= n_vocab) {
      return bad(item.text() + " as element " + std::to_string(ids.size()) + " (ids are 0 to " +
                 std::to_string(n_vocab - 1) + ")");
    }
    ids.push_back(static_cast<engine::TokenId>(id));
  }
  return ids;
}

Result<std::vector<engine::TokenId>> read_token_ids(const std::string& path, std::int64_t n_vocab) {
  ROWMAX_TRY(text, read_text(path));
  return parse_token_ids(text, path, n_vocab);
}

}  // namespace rowmax::cli

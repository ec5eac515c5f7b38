#include "apps/cli/token_ids.h"

#include <nlohmann/json.hpp>

#include "apps/cli/engine_setup.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

using Parsed = nlohmann::json;

Error bad_ids(const std::string& path, const std::string& what) {
  return {ErrorCode::kCorrupt, path + ": expected a JSON list of token ids, found " + what};
}

}  // namespace

Result<std::vector<engine::TokenId>> read_token_ids(const std::string& path, std::int64_t n_vocab) {
  ROWMAX_TRY(text, read_text(path));
  // The parser takes a NUL byte for the end of the text.
  if (text.find('\0') != std::string::npos) return bad_ids(path, "a NUL byte");
  constexpr int kMaxDepth = 8;
  bool too_deep = false;
  const Parsed parsed = Parsed::parse(
      text,
      [&](int depth, Parsed::parse_event_t, Parsed&) {
        too_deep = too_deep || depth > kMaxDepth;
        return !too_deep;
      },
      false);
  if (parsed.is_discarded() || too_deep) return bad_ids(path, "text that is not JSON, or nested too deeply");
  const Parsed* list = parsed.is_object() && parsed.contains("tokens") ? &parsed["tokens"] : &parsed;
  if (!list->is_array()) return bad_ids(path, std::string("a ") + list->type_name());
  std::vector<engine::TokenId> ids;
  ids.reserve(list->size());
  for (const Parsed& item : *list) {
    const bool whole = item.is_number_integer() && !(item.is_number_unsigned() && item.get<std::uint64_t>() >> 31 != 0);
    const std::int64_t id = whole ? item.get<std::int64_t>() : -1;
    if (id < 0 || id >= n_vocab) {
      return bad_ids(path, item.dump(-1, ' ', false, Parsed::error_handler_t::replace).substr(0, 40) + " as element " +
                               std::to_string(ids.size()) + " (ids are 0 to " + std::to_string(n_vocab - 1) + ")");
    }
    ids.push_back(static_cast<engine::TokenId>(id));
  }
  return ids;
}

}  // namespace rowmax::cli

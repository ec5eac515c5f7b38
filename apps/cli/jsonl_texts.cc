#include "apps/cli/jsonl_texts.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "apps/cli/engine_setup.h"
#include "apps/cli/token_ids.h"
#include "engine/io/json.h"
#include "rowmax/try.h"

namespace rowmax::cli {
namespace {

Result<std::vector<engine::TokenId>> read_line(const engine::Model& model, std::string_view line,
                                               const std::string& name, const EncodeText& encode) {
  ROWMAX_TRY(document, engine::parse_json(line, name));
  const engine::Json root = document.root(), text = root.find("text");
  if (text && root.find("tokens")) {
    return Error{ErrorCode::kCorrupt, name + R"(: both "text" and "tokens"; give one of them)"};
  }
  if (text.is_string()) return encode(text.as_string());
  if (root.find("tokens").is_array()) return parse_token_ids(line, name, model.shape().n_vocab);
  return Error{ErrorCode::kCorrupt, name + R"(: expected {"text": "..."} or {"tokens": [1, 2]}, found )" + root.text()};
}

}  // namespace

Result<std::vector<TokenText>> read_jsonl_texts(const std::string& path, const engine::Model& model,
                                                const EncodeText& encode) {
  ROWMAX_TRY(content, read_text(path));
  std::vector<TokenText> texts;
  std::string_view rest = content;
  for (std::int64_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    TokenText text{path + ":" + std::to_string(number), {}};
    ROWMAX_TRY(tokens, read_line(model, line, text.name, encode));
    text.tokens = std::move(tokens);
    texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace rowmax::cli

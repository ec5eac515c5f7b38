// Template source -> tokens, with the white-space control of trim_blocks, lstrip_blocks, {%- -%} and {%+ +%}.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/chat_template.h"
#include "rowmax/result.h"

namespace rowmax::engine::jinja {

enum class TokenKind : std::uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,  // text is the operator itself
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  int column = 1;
  std::string text;  // data, name, operator, or the unescaped string
  std::int64_t integer = 0;
  double number = 0;
};

// "line L, column C: what" with the given code.
Error source_error(ErrorCode code, int line, int column, std::string_view what);

// The result ends with one kEnd. kCorrupt for source that is not a template, kLimit past limits.max_source_bytes,
// kUnsupported for a literal this interpreter does not hold (an integer beyond 64 bits).
Result<std::vector<Token>> tokenize(std::string_view source, const TemplateLimits& limits);

}  // namespace rowmax::engine::jinja

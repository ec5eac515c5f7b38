// Tokens -> syntax tree.
#pragma once

#include <string_view>

#include "engine/template/ast.h"
#include "rowmax/engine/chat_template.h"
#include "rowmax/result.h"

namespace rowmax::engine::jinja {

// A kBody. kCorrupt for bad syntax, kUnsupported for constructs outside the subset (include, import, extends, block,
// autoescape, recursive loops, unknown filters and tests, names with two leading underscores), kLimit for nesting
// beyond limits.max_depth.
Result<NodePtr> parse_template(std::string_view source, const TemplateLimits& limits);

}  // namespace rowmax::engine::jinja

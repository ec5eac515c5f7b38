// The text of answers.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "apps/server/http.h"

namespace rowmax::server {

struct AnswerFraming {
  std::optional<std::size_t> length;  // of the body, where it is known
  bool chunked = false, keep_alive = false;
};

// An answer up to its body, with headers besides its own.
std::string answer_head(const HttpAnswer& answer, const AnswerFraming& framing, std::span<const HttpHeader> headers);
// A piece of a body that comes in chunks.
std::string chunk_of(std::string_view piece);

}  // namespace rowmax::server

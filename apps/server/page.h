// The web page in the program: apps/server/page as it is (page.S).
#pragma once

#include <optional>
#include <string_view>

#include "apps/server/http.h"

namespace rowmax::server {

// "/", and what the page loads below "/page/".
bool is_page_path(std::string_view path) noexcept;
// The file under this path, with headers that let it load from its own server alone, run no other script than its files
// and be framed by nobody. nullopt: there is none.
std::optional<HttpAnswer> page_answer(std::string_view path);

}  // namespace rowmax::server

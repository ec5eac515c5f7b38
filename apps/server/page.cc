#include "apps/server/page.h"

#include <algorithm>
#include <iterator>
#include <string>

#define ROWMAX_PAGE_FILE(name)                    \
  extern "C" {                                    \
  extern const char rowmax_page_##name##_begin[]; \
  extern const char rowmax_page_##name##_end[];   \
  }                                               \
  static_assert(sizeof(rowmax_page_##name##_begin[0]) == 1)

ROWMAX_PAGE_FILE(html);
ROWMAX_PAGE_FILE(css);
ROWMAX_PAGE_FILE(icon);
ROWMAX_PAGE_FILE(page);
ROWMAX_PAGE_FILE(api);
ROWMAX_PAGE_FILE(chat);
ROWMAX_PAGE_FILE(markdown);
ROWMAX_PAGE_FILE(tokens);
ROWMAX_PAGE_FILE(attention);
#undef ROWMAX_PAGE_FILE

namespace rowmax::server {
namespace {

struct PageFile {
  std::string_view path, type;
  const char *begin, *end;
};

constexpr std::string_view kScript = "text/javascript; charset=utf-8";

const PageFile kFiles[] = {
    {"/", "text/html; charset=utf-8", rowmax_page_html_begin, rowmax_page_html_end},
    {"/page/page.css", "text/css; charset=utf-8", rowmax_page_css_begin, rowmax_page_css_end},
    {"/page/icon.svg", "image/svg+xml", rowmax_page_icon_begin, rowmax_page_icon_end},
    {"/page/page.js", kScript, rowmax_page_page_begin, rowmax_page_page_end},
    {"/page/api.js", kScript, rowmax_page_api_begin, rowmax_page_api_end},
    {"/page/chat.js", kScript, rowmax_page_chat_begin, rowmax_page_chat_end},
    {"/page/markdown.js", kScript, rowmax_page_markdown_begin, rowmax_page_markdown_end},
    {"/page/tokens.js", kScript, rowmax_page_tokens_begin, rowmax_page_tokens_end},
    {"/page/attention.js", kScript, rowmax_page_attention_begin, rowmax_page_attention_end},
};

const PageFile* find_file(std::string_view path) noexcept {
  const auto* found = std::ranges::find(kFiles, path, &PageFile::path);
  return found == std::end(kFiles) ? nullptr : found;
}

// What a model writes is hostile: besides making no markup of it, the page may not run, load or send anything that is not
// its own server's. Trusted Types make a script that writes markup from text fail at once.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

}  // namespace

bool is_page_path(std::string_view path) noexcept { return find_file(path) != nullptr; }

std::optional<HttpAnswer> page_answer(std::string_view path) {
  const PageFile* file = find_file(path);
  if (file == nullptr) return std::nullopt;
  HttpAnswer answer{.body = std::string(file->begin, file->end), .content_type = std::string(file->type)};
  answer.headers = {{"Content-Security-Policy", kPolicy},
                    {"X-Content-Type-Options", "nosniff"},
                    {"X-Frame-Options", "DENY"},
                    {"Referrer-Policy", "no-referrer"},
                    {"Cross-Origin-Opener-Policy", "same-origin"},
                    {"Cross-Origin-Resource-Policy", "same-origin"},
                    {"Cache-Control", "no-cache"}};
  return answer;
}

}  // namespace rowmax::server

#include "apps/server/access.h"

#include <algorithm>

namespace rowmax::server {
namespace {

// "example.org:8080" -> "example.org"; "[::1]:80" -> "[::1]".
std::string_view name_of(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') == std::string_view::npos ? 0 : host.find(']') + 1);
  return host.substr(0, std::min(host.find(':'), host.size()));
}

// "https://example.org" -> "example.org", with the port where there is one.
std::string_view authority_of(std::string_view origin) {
  const std::size_t begin = origin.find("://");
  return begin == std::string_view::npos ? std::string_view() : origin.substr(begin + 3);
}

bool is_same_origin(const HttpRequest& request, std::string_view origin) {
  const std::string_view host = request.header("host");
  return !host.empty() && equal_ignoring_case(authority_of(origin), host);
}

bool is_allowed_origin(std::string_view origin, const AccessRules& rules) {
  return std::ranges::any_of(rules.allowed_origins, [&](const std::string& allowed) {
    return allowed == "*" || equal_ignoring_case(allowed, origin);
  });
}

bool has_twice(const HttpRequest& request, std::string_view name) {
  return std::ranges::count_if(request.headers,
                               [name](const HttpHeader& header) { return equal_ignoring_case(header.name, name); }) > 1;
}

bool is_own_host(std::string_view host, const AccessRules& rules) {
  const std::string_view name = name_of(host);
  if (name.empty() || name.starts_with('[')) return !name.empty();
  if (name.find('.') == std::string_view::npos) return true;
  if (name.find_first_not_of("0123456789.") == std::string_view::npos) return true;
  if (name.size() > 10 && equal_ignoring_case(name.substr(name.size() - 10), ".localhost")) return true;
  if (equal_ignoring_case(name, rules.host)) return true;
  return std::ranges::any_of(rules.allowed_origins, [&](const std::string& allowed) {
    return allowed == "*" || equal_ignoring_case(name, name_of(authority_of(allowed)));
  });
}

}  // namespace

bool is_key(std::string_view given, const std::vector<std::string>& keys) noexcept {
  return key_number(given, keys) != 0;
}

std::size_t key_number(std::string_view given, const std::vector<std::string>& keys) noexcept {
  std::size_t found = 0, number = 0;
  for (const std::string& key : keys) {
    ++number;
    if (key.empty()) continue;
    std::size_t difference = given.size() ^ key.size();
    for (std::size_t i = 0; i < given.size(); ++i) {
      difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(key[i % key.size()]);
    }
    found = difference == 0 ? number : found;
  }
  return found;
}

std::string_view key_of(const HttpRequest& request) noexcept {
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view value = request.header("authorization");
  if (value.size() > kBearer.size() && equal_ignoring_case(value.substr(0, kBearer.size()), kBearer)) {
    return value.substr(kBearer.size());
  }
  return request.header("x-api-key");
}

AccessVerdict check_access(const HttpRequest& request, const AccessRules& rules, bool key_needed) {
  if (has_twice(request, "authorization") || has_twice(request, "x-api-key")) return AccessVerdict::kSeveralKeys;
  const std::string_view origin = request.header("origin");
  if (!origin.empty() && !is_allowed_origin(origin, rules) && !is_same_origin(request, origin)) {
    return AccessVerdict::kForeignOrigin;
  }
  if (rules.keys.empty()) {
    const std::string_view host = request.header("host");
    const bool named = !request.from_unix_socket && !rules.any_host && !host.empty();
    return named && !is_own_host(host, rules) ? AccessVerdict::kForeignHost : AccessVerdict::kAllowed;
  }
  return key_needed && !is_key(key_of(request), rules.keys) ? AccessVerdict::kWrongKey : AccessVerdict::kAllowed;
}

std::string_view shared_origin(const HttpRequest& request, const AccessRules& rules) {
  const std::string_view origin = request.header("origin");
  return !origin.empty() && is_allowed_origin(origin, rules) ? origin : std::string_view();
}

}  // namespace rowmax::server

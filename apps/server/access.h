// Who may ask: keys, and which web pages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apps/server/http.h"

namespace rowmax::server {

struct AccessRules {
  std::vector<std::string> keys = {};             // any of them; none: nobody is asked for one
  std::vector<std::string> allowed_origins = {};  // "https://example.org"; "*": every page
  std::string host = {};                          // the name that the server listens under
  bool any_host = false;                          // Host headers are not looked at
  bool strangers = false;                         // without keys: who asks may be anybody
};

enum class AccessVerdict : std::uint8_t { kAllowed, kSeveralKeys, kWrongKey, kForeignOrigin, kForeignHost };

// Time depends on the length of `given` and on the keys, not on what they have in common.
bool is_key(std::string_view given, const std::vector<std::string>& keys) noexcept;
// The same: the key's number, from 1 on; 0 where it is none.
std::size_t key_number(std::string_view given, const std::vector<std::string>& keys) noexcept;
// What stands behind `Authorization: Bearer`, else in `X-Api-Key`; check_access lets nothing through that has one of them
// twice.
std::string_view key_of(const HttpRequest& request) noexcept;

// A page of another site must not use a server on this machine: its Origin is refused unless it is allowed, and so is a
// name in the Host header that could be made to point here (DNS rebinding) where no key protects: one with a dot in
// it that is no address, not the server's own and not that of an allowed origin.
AccessVerdict check_access(const HttpRequest& request, const AccessRules& rules, bool key_needed);
// The Origin that the answer may name as allowed; empty: none.
std::string_view shared_origin(const HttpRequest& request, const AccessRules& rules);

}  // namespace rowmax::server

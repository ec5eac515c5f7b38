#include "apps/server/access.h"

#include <gtest/gtest.h>

namespace rowmax::server {
namespace {

HttpRequest request(std::vector<HttpHeader> headers) {
  HttpRequest made;
  made.headers = std::move(headers);
  return made;
}

TEST(Access, Keys) {
  const std::vector<std::string> keys = {"first-key", "second-key-longer"};
  EXPECT_TRUE(is_key("first-key", keys));
  EXPECT_TRUE(is_key("second-key-longer", keys));
  for (const char* wrong : {"", "first-kez", "first-ke", "first-keyf", "first-keyfirst-key", "Second-key-longer"}) {
    EXPECT_FALSE(is_key(wrong, keys)) << wrong;
  }
  EXPECT_FALSE(is_key("", {""}));
  EXPECT_FALSE(is_key("a", {}));
}

TEST(Access, WhereKeysStand) {
  EXPECT_EQ(key_of(request({{"Authorization", "Bearer k"}})), "k");
  EXPECT_EQ(key_of(request({{"authorization", "bearer k"}, {"X-Api-Key", "other"}})), "k");
  EXPECT_EQ(key_of(request({{"x-api-key", "k"}})), "k");
  EXPECT_EQ(key_of(request({{"Authorization", "Basic k"}})), "");
}

TEST(Access, KeysAreAskedFor) {
  const AccessRules rules{.keys = {"12345678"}};
  EXPECT_EQ(check_access(request({}), rules, true), AccessVerdict::kWrongKey);
  EXPECT_EQ(check_access(request({}), rules, false), AccessVerdict::kAllowed);
  EXPECT_EQ(check_access(request({{"X-Api-Key", "12345678"}}), rules, true), AccessVerdict::kAllowed);
}

TEST(Access, OneKeyIsGiven) {
  for (const AccessRules& rules : {AccessRules{.keys = {"12345678"}}, AccessRules{}}) {
    EXPECT_EQ(check_access(request({{"X-Api-Key", "12345678"}, {"x-api-key", "12345678"}}), rules, true),
              AccessVerdict::kSeveralKeys);
    EXPECT_EQ(
        check_access(request({{"Authorization", "Bearer 12345678"}, {"authorization", "Bearer other"}}), rules, true),
        AccessVerdict::kSeveralKeys);
    EXPECT_EQ(check_access(request({{"Authorization", "Bearer 12345678"}, {"X-Api-Key", "12345678"}}), rules, true),
              AccessVerdict::kAllowed);
  }
}

TEST(Access, Origins) {
  AccessRules rules{.allowed_origins = {"https://good.example"}};
  const auto verdict = [&](std::string origin, std::string host) {
    return check_access(request({{"Origin", std::move(origin)}, {"Host", std::move(host)}}), rules, true);
  };
  EXPECT_EQ(verdict("http://127.0.0.1:8080", "127.0.0.1:8080"), AccessVerdict::kAllowed);
  EXPECT_EQ(verdict("https://good.example", "127.0.0.1:8080"), AccessVerdict::kAllowed);
  EXPECT_EQ(verdict("https://good.example.evil.org", "127.0.0.1:8080"), AccessVerdict::kForeignOrigin);
  EXPECT_EQ(verdict("http://good.example", "127.0.0.1:8080"), AccessVerdict::kForeignOrigin);
  EXPECT_EQ(verdict("http://127.0.0.1:3000", "127.0.0.1:8080"), AccessVerdict::kForeignOrigin);
  EXPECT_EQ(verdict("null", "127.0.0.1:8080"), AccessVerdict::kForeignOrigin);
  // A name that was made to point here: the page and the request agree.
  EXPECT_EQ(verdict("http://evil.org:8080", "evil.org:8080"), AccessVerdict::kForeignHost);
  rules.allowed_origins = {"*"};
  EXPECT_EQ(verdict("https://any.example", "127.0.0.1:8080"), AccessVerdict::kAllowed);
}

TEST(Access, Hosts) {
  AccessRules rules{.allowed_origins = {"https://front.example:8443"}, .host = "box.example"};
  const auto allowed = [&](std::string host) {
    return check_access(request({{"Host", std::move(host)}}), rules, true) == AccessVerdict::kAllowed;
  };
  for (const char* host : {"127.0.0.1", "127.0.0.1:80", "[::1]:8080", "localhost", "localhost:1", "rowmax:8080",
                           "a.localhost", "box.example:8080", "BOX.example", "front.example"}) {
    EXPECT_TRUE(allowed(host)) << host;
  }
  for (const char* host :
       {"evil.org", "evil.org:8080", "127.0.0.1.evil.org", "localhost.evil.org", "[", "evil.localhost.org"}) {
    EXPECT_FALSE(allowed(host)) << host;
  }
  rules.keys = {"12345678"};
  EXPECT_EQ(check_access(request({{"Host", "proxy.org"}, {"X-Api-Key", "12345678"}}), rules, true),
            AccessVerdict::kAllowed);
  rules.keys = {};
  rules.any_host = true;
  EXPECT_TRUE(allowed("evil.org"));
}

TEST(Access, OnlyAllowedOriginsAreNamed) {
  const AccessRules rules{.allowed_origins = {"https://good.example"}};
  EXPECT_EQ(shared_origin(request({{"Origin", "https://good.example"}}), rules), "https://good.example");
  EXPECT_EQ(shared_origin(request({{"Origin", "http://127.0.0.1:8080"}, {"Host", "127.0.0.1:8080"}}), rules), "");
  EXPECT_EQ(shared_origin(request({}), rules), "");
}

}  // namespace
}  // namespace rowmax::server

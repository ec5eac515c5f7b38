#include "apps/text/json.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

namespace rowmax::text {
namespace {

TEST(Json, MembersKeepTheirOrder) {
  const std::vector<std::int32_t> ids = {3, -1};
  const std::string name = "n";
  Json json = {{"z", 1}, {"a", {{"b", true}, {"c", Json()}}}, {"ids", std::span(ids)}, {"name", name}};
  json["z"] = 2u;
  json["last"] = Json::array();
  json.update({{"a", "text"}, {"new", Json::object()}});
  EXPECT_EQ(json.dump(), R"({"z":2,"a":"text","ids":[3,-1],"name":"n","last":[],"new":{}})");
  EXPECT_EQ((Json{{"a", {{"b", true}, {"c", Json()}}}}.dump()), R"({"a":{"b":true,"c":null}})");
}

TEST(Json, NumbersReadBackAsTheSame) {
  for (const double value : {0.0, -0.0, 1.0, 0.1, 1e-5, 1e300, 5e-324, 123456789012345680.0, 2.0 / 3}) {
    const std::string text = Json(value).dump();
    EXPECT_EQ(std::bit_cast<std::uint64_t>(std::strtod(text.c_str(), nullptr)), std::bit_cast<std::uint64_t>(value))
        << text;
    EXPECT_TRUE(nlohmann::json::parse(text).is_number_float()) << text;
  }
  EXPECT_EQ(Json(std::numeric_limits<std::uint64_t>::max()).dump(), "18446744073709551615");
  EXPECT_EQ(Json(std::numeric_limits<std::int64_t>::min()).dump(), "-9223372036854775808");
  EXPECT_EQ(Json(std::nan("")).dump(), "null");
  EXPECT_EQ(Json(-HUGE_VAL).dump(), "null");
}

// Beside another library's reader and printer.
TEST(Json, StringsOfAnyBytes) {
  for (int first = 0; first < 256; ++first) {
    for (const int second : {0x00, 0x22, 0x41, 0x80, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF}) {
      for (const char* rest : {"", "\x80", "\x80\x80", "z"}) {
        const std::string text = std::string{static_cast<char>(first), static_cast<char>(second)} + rest;
        const std::string printed = Json(text).dump();
        const nlohmann::json back = nlohmann::json::parse(printed, nullptr, false);
        ASSERT_TRUE(back.is_string()) << first << " " << second;
        const std::string other = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        EXPECT_EQ(back, nlohmann::json::parse(other)) << first << " " << second;
      }
    }
  }
  EXPECT_EQ(Json("\"\\\b\f\n\r\t\x01/\x7Fü😀").dump(), "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001/\\u007fü😀\"");
  // What would steer a terminal is spelled out; to a reader it is the same.
  const std::string hidden = "\u009B31m \u202Egpj \u2028 \U000E0041";
  EXPECT_EQ(Json(hidden).dump(), R"("\u009b31m \u202egpj \u2028 \udb40\udc41")");
  EXPECT_EQ(nlohmann::json::parse(Json(hidden).dump()), nlohmann::json(hidden));
}

}  // namespace
}  // namespace rowmax::text

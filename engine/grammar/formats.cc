#include "engine/grammar/formats.h"

#include <cstdint>
#include <limits>

namespace rowmax::engine::grammar {
namespace {

// RFC 3339. Years from 0001 on; February 29th in leap years alone.
#define ROWMAX_DATE                                                                                                    \
  "(?:(?:[1-9][0-9]{3}|0(?:[1-9][0-9]{2}|0(?:[1-9][0-9]|0[1-9])))-"                                                    \
  "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8])" \
  ")|"                                                                                                                 \
  "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)"
#define ROWMAX_TIME \
  "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
#define ROWMAX_OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define ROWMAX_LABEL "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,31}"  // nothing that could be punycode

// RFC 4291, without the form that ends in an IPv4 address.
#define ROWMAX_HEX4 "[0-9A-Fa-f]{1,4}"
#define ROWMAX_IPV6                                                                                          \
  "(?:" ROWMAX_HEX4 ":){7}" ROWMAX_HEX4 "|(?:" ROWMAX_HEX4 ":){1,7}:|(?:" ROWMAX_HEX4 ":){1,6}:" ROWMAX_HEX4 \
  "|(?:" ROWMAX_HEX4 ":){1,5}(?::" ROWMAX_HEX4 "){2}|(?:" ROWMAX_HEX4 ":){1,4}(?::" ROWMAX_HEX4              \
  "){3}"                                                                                                     \
  "|(?:" ROWMAX_HEX4 ":){1,3}(?::" ROWMAX_HEX4 "){4}|(?:" ROWMAX_HEX4 ":){1,2}(?::" ROWMAX_HEX4              \
  "){5}"                                                                                                     \
  "|" ROWMAX_HEX4 ":(?::" ROWMAX_HEX4 "){6}|:(?::" ROWMAX_HEX4 "){1,7}|::"
// RFC 3986: an authority that is a name or an IPv4 address, or a path without a slash in front (urn:a:b, mailto:a@b).
#define ROWMAX_PCHAR "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
#define ROWMAX_URI                                                                                                  \
  "[A-Za-z][A-Za-z0-9+.-]{0,31}:(?://" ROWMAX_LABEL "(?:\\." ROWMAX_LABEL "){0,9}(?::[0-9]{1,5})?(?:/" ROWMAX_PCHAR \
  "*)*"                                                                                                             \
  "|" ROWMAX_PCHAR "+(?:/" ROWMAX_PCHAR "*)*)(?:\\?(?:" ROWMAX_PCHAR "|[/?])*)?(?:#(?:" ROWMAX_PCHAR "|[/?])*)?"

struct Format {
  std::string_view name, regex;
};
constexpr Format kFormats[] = {
    {"date", ROWMAX_DATE},
    {"time", ROWMAX_TIME},
    {"date-time", ROWMAX_DATE "T" ROWMAX_TIME},
    {"duration",
     "P(?:[0-9]{1,9}W|(?:[0-9]{1,9}Y(?:[0-9]{1,9}M(?:[0-9]{1,9}D)?)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|[0-9]{1,9}D)"
     "(?:T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S))?|"
     "T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S))"},
    {"uuid", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"},
    {"ipv4", ROWMAX_OCTET "\\." ROWMAX_OCTET "\\." ROWMAX_OCTET "\\." ROWMAX_OCTET},
    {"ipv6", ROWMAX_IPV6},
    {"uri", ROWMAX_URI},
    {"byte", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"},  // OpenAPI's base64, RFC 4648
    {"hostname", ROWMAX_LABEL "(?:\\." ROWMAX_LABEL "){0,2}"},
    {"email", "[A-Za-z0-9_+-]{1,30}(?:\\.[A-Za-z0-9_+-]{1,30})?@" ROWMAX_LABEL "(?:\\." ROWMAX_LABEL "){1,2}"},
};

}  // namespace

std::string_view format_regex(std::string_view format) {
  for (const Format& known : kFormats) {
    if (known.name == format) return known.regex;
  }
  return {};
}

std::string_view format_names() {
  return "date, time, date-time, duration, uuid, ipv4, ipv6, uri, hostname, email, byte; for numbers int32, int64, "
         "float, "
         "double";
}

std::optional<NumberFormat> number_format(std::string_view format) {
  if (format == "float" || format == "double") return NumberFormat();
  const auto between = [](std::int64_t low, std::int64_t high) {
    return NumberFormat{decimal_bound(low), decimal_bound(high)};
  };
  using Int32 = std::numeric_limits<std::int32_t>;
  using Int64 = std::numeric_limits<std::int64_t>;
  if (format == "int32") return between(Int32::min(), Int32::max());
  if (format == "int64") return between(Int64::min(), Int64::max());
  return std::nullopt;
}

}  // namespace rowmax::engine::grammar

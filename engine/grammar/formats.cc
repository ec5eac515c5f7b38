#include "engine/grammar/formats.h"

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

std::string_view format_names() { return "date, time, date-time, duration, uuid, ipv4, hostname, email"; }

}  // namespace rowmax::engine::grammar

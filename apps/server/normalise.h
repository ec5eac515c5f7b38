// What an operator declares to be volatile in system messages (--normalise): it is replaced by a fixed text before the
// template sees it, so that prompts which differ in nothing else begin alike.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "apps/server/pattern.h"
#include "apps/text/json.h"
#include "rowmax/engine/chat.h"

namespace rowmax::server {

struct NormaliseRule {
  std::string name;
  Pattern pattern;
  std::string text;  // in place of each match
  std::string source;

  // One of date, time, timestamp, uuid; or NAME:/PATTERN/TEXT/, with any sign in place of the slashes that is in neither.
  // kInvalidArgument.
  static Result<NormaliseRule> parse(std::string_view rule);
};

// How often a rule matched in a message.
struct Normalised {
  std::string rule;
  std::int64_t message = 0;
  std::int64_t count = 0;
};

// Changes the contents of messages of the role "system", rule after rule. kInvalidArgument that names the rule which would
// take more than 64 steps (pattern.h) a byte of those contents and 10 million, or make more than 64 MiB of them.
Result<std::vector<Normalised>> normalise(const std::vector<NormaliseRule>& rules, engine::ChatInput& input);
text::Json normalised_json(const std::vector<Normalised>& all);

}  // namespace rowmax::server

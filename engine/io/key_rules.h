// What a metadata key that nobody read means: nothing, or that the file says something which would be silently ignored.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rowmax/engine/gguf.h"

namespace rowmax::engine {

// A key that may stand in a file without being read.
struct KeyRule {
  std::string_view key;  // without the prefix; a '*' at the end stands for anything
  // Harmless whatever it holds where empty; else only at one of these values (numbers, "true", "false" or a text). An
  // array is at a value when all of its elements are; the empty array is at every one.
  std::initializer_list<std::string_view> neutral;
  std::string_view why;  // what it would do, or why it does nothing
};

// The value as text, as messages show it: "0.5", "true", the string, "[4, 4, ...]".
std::string key_value_text(const GgufValue& value);

// Whether the value is at one of those (see KeyRule::neutral).
bool has_value_of(const GgufValue& value, std::span<const std::string_view> neutral);

// The rule for a key, nullptr where there is none.
const KeyRule* find_rule(std::span<const KeyRule> rules, std::string_view key);

// What becomes of a key that was not read; why is kNotKnown where there is no rule for it.
inline constexpr std::string_view kNotKnown = "it is not known what it does";
KeyReport report_unread(std::string_view key, const GgufValue& value, const KeyRule* rule,
                        const std::vector<std::string>& ignored);

// A refused key, as an error says it: "key 'llama.x' = 7: architecture 'llama' does not know this key".
struct RefusedKey {
  std::string key, text;
};
RefusedKey refused_key(const KeyReport& report, const GgufValue& value, std::string_view who);
// All of them in one sentence, with the flags that compute without them; not empty.
std::string refusal(std::span<const RefusedKey> refused);

}  // namespace rowmax::engine
